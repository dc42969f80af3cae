"""A corpus out of nothing (``--synthetic``): sentences of a made-up language, the same bytes on every machine.

Words have a frequency like Zipf's, each follows few others, and every paragraph comes back to its own names, so that
there is something to learn within a sentence and within a context. For trying out a machine, never for figures.
"""

import os
import tempfile
from pathlib import Path

import numpy as np

BYTES = 400_000
_WORDS, _FOLLOWERS = 600, 4


def synthetic_text(n_bytes: int = BYTES, seed: int = 0) -> bytes:
    """About ``n_bytes`` of ASCII text; a function of its arguments alone."""
    draw = np.random.Generator(np.random.PCG64(seed))  # PCG64's stream is fixed; integers() and random() are plain
    syllables = [c + v for c in "bdfgklmnprst" for v in "aeiou"]

    def word(most: int) -> str:
        return "".join(syllables[int(i)] for i in draw.integers(len(syllables), size=1 + int(draw.integers(most))))

    words = [word(3) for _ in range(_WORDS)]
    followers = [[int(i) for i in draw.integers(_WORDS, size=_FOLLOWERS)] for _ in words]
    names = [word(2).capitalize() for _ in range(64)]
    parts: list[str] = []
    size = 0
    while size < n_bytes:
        cast = [names[int(i)] for i in draw.integers(len(names), size=2)]
        sentences = []
        for _ in range(6):
            at = int(_WORDS * draw.random() ** 3)
            line = [cast[int(draw.integers(2))]]
            for _ in range(4 + int(draw.integers(6))):
                line.append(words[at])
                at = followers[at][int(_FOLLOWERS * draw.random() ** 2)]
            sentences.append(" ".join(line) + ".")
        parts.append(" ".join(sentences) + "\n\n")
        size += len(parts[-1])
    return "".join(parts).encode("ascii")


def synthetic_file(folder: Path) -> Path:
    """The file of the corpus ``synthetic`` in ``folder``, written at the first call; whole or not there."""
    path = Path(folder) / "synthetic.txt"
    if not path.is_file() or path.stat().st_size < BYTES:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temp = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(synthetic_text())
        os.replace(temp, path)
    return path

"""Override phrases that a chunk border of the actual tokenizer cuts. Torch-free."""

import random
from collections.abc import Callable

from fastweights.redteam.evasions import EVASIONS
from fastweights.redteam.payloads import prose

Pieces = Callable[[str], list[str]]
"""A text cut into the texts of its chunks."""

_SENTENCES = 40
_TRIES = 50


def over_border(pieces: Pieces, phrase: str, rng: random.Random) -> str | None:
    """Prose and then ``phrase``, with a chunk border in its middle half; None where no border falls there."""
    words, after = prose(rng, _SENTENCES).split(), prose(rng, 1)
    for count in range(1, len(words)):
        before = " ".join(words[:count]) + " "
        text, at = f"{before}{phrase}. {after}", 0
        for piece in pieces(text):
            at += len(piece)
            if len(phrase) / 4 <= at - len(before) <= len(phrase) * 3 / 4:
                return text
    return None


def border_phrases(pieces: Pieces, rng: random.Random, n: int, *, spellings: bool) -> list[str]:
    """``n`` texts with a plain phrase over a border, or (``spellings``) one in any spelling of the evasions.

    Raises ValueError where chunks are so long that no border can fall into a phrase.
    """
    found: list[str] = []
    names = sorted(EVASIONS) if spellings else ["plain"]
    for _ in range(_TRIES * n):
        if len(found) == n:
            break
        text = over_border(pieces, EVASIONS[rng.choice(names)](rng), rng)
        found += [] if text is None else [text]
    if len(found) < n:
        raise ValueError("no chunk border falls into a phrase: use smaller chunks")
    return found

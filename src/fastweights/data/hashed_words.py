"""The toy model's tokens: words and punctuation marks, hashed to 8,192 ids. There is no way back from an id to a word.

Token: ``\\w+|[^\\w\\s]``; id: 64-bit blake2b of its UTF-8 (little endian) modulo 8192; 8191 is ``[MASK]``.
A run of word characters beyond 32 is cut into tokens of 32, so that 100 kB without a space, or a page of Chinese, is
many tokens rather than one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

VOCAB = 8192
MASK = 8191
MAX_WORD = 32
_LONGEST_GAP = 4096  # characters of white space between two tokens that are kept
_TOKEN = re.compile(r"\w{1,32}|[^\w\s]")


@lru_cache(maxsize=8192)
def word_id(token: str) -> int:
    """The id of one token."""
    digest = hashlib.blake2b(token.encode("utf-8", errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % VOCAB


def words(text: str) -> list[str]:
    """The tokens of a text; white space is between tokens and is none."""
    return _TOKEN.findall(text)


def stream_words(pieces: Iterable[str]) -> Iterator[tuple[str, str]]:
    """``(token, source)`` over a stream in pieces of any size; ``source`` is the token with the white space before it.

    The same tokens as :func:`words` of the whole, wherever the pieces are cut; memory for one piece (of white space
    without end only the last part is kept).
    """
    rest = ""
    for piece in pieces:
        text, before = rest + piece, 0
        for match in _TOKEN.finditer(text):
            token, end = match[0], match.end()
            if end == len(text) and len(token) < MAX_WORD:
                break  # it may go on in the next piece
            yield token, text[before:end]
            before = end
        rest = text[before:][-_LONGEST_GAP:]
    last = 0
    for match in _TOKEN.finditer(rest):
        yield match.group(), rest[last : match.end()]
        last = match.end()

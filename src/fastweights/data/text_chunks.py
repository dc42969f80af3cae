"""Any stream of bytes as chunks of tokens with their text, in constant memory. Torch-free.

Bytes that are not UTF-8 become U+FFFD. The chunks are those of the whole text, however the stream arrives.
"""

import codecs
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from fastweights.data.hashed_words import stream_words, word_id
from fastweights.data.tokenizer import Tokenizer, text_bytes

_LONGEST_RUN = 1 << 16  # bytes without a line break or a blank that a BPE tokenizer waits for


class TextChunk(NamedTuple):
    """``ids`` and the part of the text that they stand for; ``tokens`` are the words, where there are words."""

    ids: list[int]
    text: str
    tokens: list[str] | None


def decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    """The text of a stream of bytes, whole characters in each piece."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for block in blocks:
        if text := decoder.decode(block):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


def word_chunks(pieces: Iterable[str], size: int) -> Iterator[TextChunk]:
    """Hashed words, ``size`` a chunk, the last one with what is left."""
    words = stream_words(pieces)
    while found := list(islice(words, size)):
        tokens, sources = zip(*found, strict=True)
        yield TextChunk(list(map(word_id, tokens)), "".join(sources), list(tokens))


def token_chunks(pieces: Iterable[str], tokenizer: Tokenizer, size: int) -> Iterator[TextChunk]:
    """A tokenizer's tokens, ``size`` a chunk, the last one with what is left.

    A character whose bytes fall into two chunks belongs to the text of the second. BPE reads up to a line break or a
    blank, where two words part for sure; a run of 64 KiB without one is cut there.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    ids: list[int] = []
    parts = (text_bytes(piece) for piece in pieces)
    for part in parts if tokenizer.kind == "byte" else _between_words(parts):
        ids += tokenizer.encode_bytes(part)
        whole = len(ids) // size * size
        for start in range(0, whole, size):
            chunk = ids[start : start + size]
            yield TextChunk(chunk, decoder.decode(tokenizer.decode_bytes(chunk)), None)
        ids = ids[whole:]
    if ids:
        yield TextChunk(ids, decoder.decode(tokenizer.decode_bytes(ids), final=True), None)


def _between_words(parts: Iterable[bytes]) -> Iterator[bytes]:
    from fastweights.data.bpe import cut  # brings a library that the toy's words do not need

    rest = b""
    for part in parts:
        rest += part
        while len(rest) > _LONGEST_RUN:
            end = cut(rest, _LONGEST_RUN)
            yield rest[:end]
            rest = rest[end:]
        at = rest.rfind(b"\n", 0, -1)
        while at >= 0 and rest[at + 1] == 10:
            at = rest.rfind(b"\n", 0, at)
        if at >= 0:
            yield rest[: at + 1]
            rest = rest[at + 1 :]
    if rest:
        yield rest

"""Any bytes through a tokenizer that reads text only: what is no text is read byte by byte, by the pieces for bytes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from fastweights.data.bpe import cut
from fastweights.data.tokenizer import check_ids, id_dtype

_REPLACED = re.compile("[\udc80-\udcff]+")  # how surrogateescape writes the bytes that are not UTF-8


class BytePieces:
    """``pieces``: the bytes of every id. ``fallback``: byte -> id (empty: what is not UTF-8 becomes U+FFFD).

    ``apart``: characters that ``encode_text`` would not give back, so they go byte by byte too.
    """

    def __init__(
        self,
        pieces: Sequence[bytes],
        fallback: Mapping[int, int],
        encode_text: Callable[[str], list[int]],
        apart: str = "",
    ) -> None:
        self._pieces, self._encode_text = list(pieces), encode_text
        self._fallback = fallback if len(fallback) == 256 else {}
        # Where a space is put before every text, a newline before it takes that space, and is cut off with it.
        spaced = bool(self._fallback) and self.decode(encode_text("a")) == b" a"
        self._guard = encode_text("\n") if spaced else []
        self._apart = re.compile(f"[{re.escape(apart)}\udc80-\udcff]+") if apart else _REPLACED

    def encode(self, data: bytes) -> list[int]:
        ids: list[int] = []
        view = memoryview(data)
        while view:
            end = cut(view)
            for text, is_text in self._parts(bytes(view[:end])):
                ids += self._encode(text) if is_text else [self._fallback[b] for b in _bytes(text)]
            view = view[end:]
        return ids

    def _encode(self, text: str) -> list[int]:
        n = len(self._guard)
        if n and (ids := self._encode_text("\n" + text))[:n] == self._guard:
            return ids[n:]
        return self._encode_text(text)

    def _parts(self, data: bytes) -> Iterator[tuple[str, bool]]:
        if not self._fallback:
            yield data.decode("utf-8", errors="replace"), True
            return
        text, at = data.decode("utf-8", errors="surrogateescape"), 0
        for found in self._apart.finditer(text):
            if at < found.start():
                yield text[at : found.start()], True
            yield found.group(), False
            at = found.end()
        if at < len(text):
            yield text[at:], True

    def decode(self, ids: Iterable[int]) -> bytes:
        ids = [int(i) for i in ids]
        check_ids(ids, len(self._pieces))
        return b"".join([self._pieces[i] for i in ids])

    def array(self, ids: list[int]) -> np.ndarray:
        return np.asarray(ids, dtype=id_dtype(len(self._pieces)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")

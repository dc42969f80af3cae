"""Byte-level BPE on HF ``tokenizers``. Reads any bytes: each byte is first written as one printable character.

The usual byte-level tokenizers split *text* into words and only then look at bytes, so they cannot read bytes that are
not UTF-8. Here the 256 bytes become 256 characters before anything else, and words are found among those: a run of
letters (or of bytes >= 0x80), of digits, of signs, each with the space before it; newlines apart. Decoding joins the
tokens' bytes, so it always gives back what went in.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HFTokenizer

from fastweights.data.tokenizer import check_ids, save_json, text_bytes
from fastweights.errors import Corrupt, FastweightsError

BLOCK = 1 << 18  # bytes encoded at once; the encoder takes about 170 times as much
SAMPLE = 16 << 20  # bytes a tokenizer is trained on, at most
MIN_VOCAB = 258
MAX_VOCAB = 65536


def _alphabet() -> list[str]:
    """Byte -> character: printable ASCII stands for itself, the rest moves up (as in GPT-2, so files look familiar)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(moved)) for b in range(256)]


CHARS = _alphabet()
_BLANKS = b"\t\v\f\r "
_TO_CHARS = dict(enumerate(CHARS))
_TO_BYTE = {char: byte for byte, char in enumerate(CHARS)}


def _pattern() -> str:
    def of(chars: Iterable[int]) -> str:
        return "".join(f"\\x{{{ord(CHARS[b]):04x}}}" for b in chars)

    letters = [b for b in range(256) if (chr(b).isascii() and chr(b).isalpha()) or b >= 128]
    digits = list(range(48, 58))
    blanks = list(_BLANKS)
    signs = sorted(set(range(128)) - {*letters, *digits, *blanks, 10})
    space, newline = of([32]), of([10])
    words = "|".join(f"{space}?[{of(group)}]+" for group in (letters, digits, signs))
    return f"{words}|{newline}+|[{of(blanks)}]+(?![^{of([*blanks, 10])}])|[{of(blanks)}]"


def cut(data: bytes | memoryview, limit: int = BLOCK) -> int:
    """Where to end the first block of ``data``: a place where two words part for sure, within ``limit`` bytes.

    Depends on the bytes before ``limit + 1`` only, so a stream is cut the same however it is buffered.
    """
    if len(data) <= limit:
        return len(data)
    head = bytes(data[: limit + 1])
    at = limit
    while (at := head.rfind(b"\n", 0, at)) >= 0:  # after the last newline of a run
        if head[at + 1] != 10:
            return at + 1
    for at in range(limit, 0, -1):  # before a blank that follows a word
        if head[at] in _BLANKS and head[at - 1] not in _BLANKS:
            return at
    return limit


def blocks(file: IO[bytes], length: int | None = None, limit: int = BLOCK) -> Iterator[bytes]:
    """The next ``length`` bytes of ``file`` (none: all) in blocks that end at :func:`cut`; holds about two of them."""
    left = length if length is not None else 1 << 62
    rest = b""
    while True:
        more = file.read(min(limit + 1 - len(rest), left)) if left else b""
        left -= len(more)
        rest += more
        if not rest:
            return
        if more and left and len(rest) <= limit:
            continue  # a short read
        end = cut(rest, limit)
        yield rest[:end]
        rest = rest[end:]


class BPETokenizer:
    """Byte-level BPE; the last two ids are bos and eos."""

    kind = "bpe"

    def __init__(self, hf: HFTokenizer) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread: the CPU time of a run stays honest
        self._hf = hf
        size = hf.get_vocab_size(with_added_tokens=False)
        self.bos_id, self.eos_id, self.vocab_size = size, size + 1, size + 2
        tokens = [hf.id_to_token(i) or "" for i in range(size)]
        if not all(tokens):
            raise FastweightsError("ids have holes")
        self._bytes = [bytes(_TO_BYTE[c] for c in token) for token in tokens] + [b"", b""]
        if not set(range(256)) <= {token[0] for token in self._bytes if len(token) == 1}:
            raise FastweightsError("not every byte has a token")

    @classmethod
    def train(cls, texts: Iterable[bytes], vocab_size: int = 4096) -> "BPETokenizer":
        """Learn at most ``vocab_size`` tokens (bytes and specials included); equal texts give equal tokens."""
        if not MIN_VOCAB <= vocab_size <= MAX_VOCAB:
            raise FastweightsError(
                f"vocabulary {vocab_size}: choose from {MIN_VOCAB} to {MAX_VOCAB}, since ids are stored in 16 bits"
            )
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        hf = HFTokenizer(models.BPE())
        hf.pre_tokenizer = pre_tokenizers.Split(Regex(_pattern()), behavior="isolated")
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 2, initial_alphabet=CHARS, show_progress=False, max_token_length=64
        )
        hf.train_from_iterator((_chars(text) for text in texts), trainer)
        return cls(hf)

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str = "tokenizer") -> "BPETokenizer":
        """From the parsed file; ``Corrupt`` names ``source`` if it does not hold together."""
        try:
            tokenizer = cls(HFTokenizer.from_str(json.dumps(data["hf"])))
        except Exception as error:  # tokenizers raises bare Exception
            raise Corrupt(f"{source}: not a BPE tokenizer ({type(error).__name__}: {error})") from None
        if tokenizer.vocab_size > MAX_VOCAB:
            raise FastweightsError(
                f"{source}: vocabulary of {tokenizer.vocab_size} is over {MAX_VOCAB}, since ids are stored in 16 bits"
            )
        return tokenizer

    def encode(self, text: str) -> list[int]:
        return self.encode_bytes(text_bytes(text))

    def encode_bytes(self, data: bytes) -> list[int]:
        ids: list[int] = []
        view = memoryview(data)
        while view:
            end = cut(view)
            ids += self._hf.encode(_chars(bytes(view[:end])), add_special_tokens=False).ids
            view = view[end:]
        return ids

    def encode_array(self, data: bytes) -> np.ndarray:
        return np.asarray(self.encode_bytes(data), dtype=np.uint16)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        ids = [int(i) for i in ids]
        check_ids(ids, self.vocab_size)
        return b"".join([self._bytes[i] for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def fingerprint(self) -> str:
        return "bpe-" + hashlib.sha256(self._hf.to_str().encode()).hexdigest()

    def save(self, path: Path) -> None:
        save_json(path, {"kind": self.kind, "hf": json.loads(self._hf.to_str())})


def _chars(data: bytes) -> str:
    return data.decode("latin-1").translate(_TO_CHARS)

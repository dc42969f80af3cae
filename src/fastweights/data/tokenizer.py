"""Tokenizers: bytes in, ids out, and back without a loss. Every tokenizer reads any bytes whatever; none has an UNK.

Ids of ``bos`` and ``eos`` are never produced by ``encode``: only a reader of documents puts them in.
"""

import codecs
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.hints import near_miss

TRAINED = ("bpe", "spm_train")
KINDS = ("byte", "bpe", "spm", "hf", "ids")
NAMED = "byte, bpe, spm_train, hf:PATH (a tokenizer.json of Hugging Face), a SentencePiece .model, or a saved tokenizer"


@runtime_checkable
class Tokenizer(Protocol):
    """What every tokenizer offers. ``vocab_size`` counts the two specials."""

    kind: str
    vocab_size: int
    bos_id: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """Ids of the text's UTF-8 bytes."""
        ...

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes; ``decode_bytes`` gives them back exactly."""
        ...

    def encode_array(self, data: bytes) -> np.ndarray:
        """As ``encode_bytes``, but an array of :func:`id_dtype`: 2 bytes a token instead of a list's 8 and more."""
        ...

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes behind the ids; specials are nothing. An id outside of the vocabulary is an error."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text behind the ids; bytes that are not UTF-8 become U+FFFD."""
        ...

    def fingerprint(self) -> str:
        """Equal for two tokenizers exactly if they encode alike; names caches."""
        ...

    def save(self, path: Path) -> None:
        """Write one JSON file that :func:`load_tokenizer` reads."""
        ...


class ByteTokenizer:
    """Ids 0..255 are the bytes; 256 is bos, 257 is eos. Nothing to train."""

    kind = "byte"
    vocab_size = 258
    bos_id = 256
    eos_id = 257

    def encode(self, text: str) -> list[int]:
        return self.encode_bytes(text_bytes(text))

    def encode_bytes(self, data: bytes) -> list[int]:
        return list(data)

    def encode_array(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, dtype=np.uint8).astype(np.uint16)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        ids = [int(i) for i in ids]
        check_ids(ids, self.vocab_size)
        return bytes(i for i in ids if i < 256)

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def fingerprint(self) -> str:
        return "byte"

    def save(self, path: Path) -> None:
        save_json(path, {"kind": self.kind})


class StreamDecoder:
    """Ids to text one at a time: a character comes out when its last byte is in, never half of one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that ``token`` completes, perhaps none."""
        return self._decoder.decode(self._tokenizer.decode_bytes([token]))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for an unfinished character, else nothing."""
        return self._decoder.decode(b"", final=True)


def text_bytes(text: str) -> bytes:
    """UTF-8 of the text; lone surrogates keep their three bytes, so that no string fails."""
    return text.encode("utf-8", errors="surrogatepass")


def check_ids(ids: list[int], vocab_size: int) -> None:
    """``FastweightsError`` if an id lies outside of ``[0, vocab_size)``."""
    if ids and not (min(ids) >= 0 and max(ids) < vocab_size):
        bad = next(i for i in ids if not 0 <= i < vocab_size)
        raise FastweightsError(f"token id {bad} is outside of the vocabulary of {vocab_size}")


def id_dtype(vocab_size: int) -> np.dtype:
    """``uint16`` for a vocabulary of up to 65,536 tokens, else ``uint32``: how ids are kept in arrays and on disk."""
    return np.dtype(np.uint16 if vocab_size <= 65536 else np.uint32)


def save_json(path: Path, data: dict[str, Any]) -> None:
    """One line of ASCII JSON: how every tokenizer is saved."""
    Path(path).write_text(json.dumps(data, ensure_ascii=True) + "\n", encoding="utf-8")


def open_tokenizer(name: str) -> Tokenizer:
    """One that exists already: ``byte``, ``hf:PATH``, a SentencePiece ``FILE.model``, or the path of a saved one."""
    if name == "byte":
        return ByteTokenizer()
    if name.startswith("hf:"):
        from fastweights.data.hf_tokenizer import HFTokenizerFile

        return HFTokenizerFile.open(name.removeprefix("hf:"))
    if name.endswith(".model") and Path(name).is_file():
        from fastweights.data.spm import SPMTokenizer

        return SPMTokenizer.from_model(Path(name).read_bytes(), f"tokenizer {name}")
    return load_tokenizer(name)


def train_tokenizer(name: str, texts: Iterable[bytes], *, bpe_vocab: int, spm_vocab: int) -> Tokenizer:
    """``bpe`` or ``spm_train``, learned from ``texts``."""
    if name == "bpe":
        from fastweights.data.bpe import BPETokenizer

        return BPETokenizer.train(texts, bpe_vocab)
    from fastweights.data.spm import SPMTokenizer

    return SPMTokenizer.train(texts, spm_vocab)


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Read a saved tokenizer. ``NotFound`` for a missing file, ``Corrupt`` for one that is not a tokenizer of ours."""
    path = Path(path)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise NotFound(f"tokenizer {path} does not exist{near_miss(path.name, names, listing=False)}")
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        raise Corrupt(f"tokenizer {path}: not JSON ({error}); train it anew or copy it again") from None
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in KINDS:
        raise Corrupt(
            f"tokenizer {path}: kind is {kind!r}, not one of {', '.join(KINDS)}; was it saved by fastweights?"
        )
    if kind == "byte":
        return ByteTokenizer()
    if kind == "bpe":
        from fastweights.data.bpe import BPETokenizer

        return BPETokenizer.from_json(data, str(path))
    if kind == "spm":
        from fastweights.data.spm import SPMTokenizer

        return SPMTokenizer.from_json(data, str(path))
    if kind == "ids":
        from fastweights.data.ids_tokenizer import IdsTokenizer

        return IdsTokenizer.from_json(data, str(path))
    from fastweights.data.hf_tokenizer import HFTokenizerFile

    return HFTokenizerFile.from_json(data, str(path))

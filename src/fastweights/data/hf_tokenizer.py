"""A Hugging Face ``tokenizer.json`` behind our protocol (``hf:PATH``). Nothing but ``tokenizers`` is needed.

Byte-level vocabularies (GPT-2, Llama 3, Qwen) and those with byte fallback (Llama 2) read any bytes and give them back,
unless the file normalises. Others read text only: an unknown word decodes to what its token says.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as HFTokenizer

from fastweights.data.bpe import CHARS
from fastweights.data.byte_pieces import BytePieces
from fastweights.data.tokenizer import save_json, text_bytes
from fastweights.errors import Corrupt, FastweightsError, NotFound

_BOS = ("<|begin_of_text|>", "<s>", "<bos>", "[BOS]", "[CLS]")
_EOS = ("<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<|endoftext|>", "[SEP]")
_TO_BYTE = {char: byte for byte, char in enumerate(CHARS)}


class HFTokenizerFile:
    """A ``tokenizer.json``. Its own bos and eos count where they are found by their usual names; else ids are added.

    Specials in a text are read as text: no text can put an end of document into a stream.
    """

    kind = "hf"

    def __init__(self, hf: HFTokenizer) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._json = hf.to_str()
        self._hf = hf
        hf.encode_special_tokens = True
        hf.no_padding()
        hf.no_truncation()
        vocab = hf.get_vocab(with_added_tokens=True)
        size = max(vocab.values(), default=-1) + 1
        if not size:
            raise FastweightsError("its vocabulary is empty")
        self.bos_id = next((vocab[name] for name in _BOS if name in vocab), size)
        self.eos_id = next((vocab[name] for name in _EOS if name in vocab), max(size, self.bos_id + 1))
        self.vocab_size = max(size, self.bos_id + 1, self.eos_id + 1)
        special = {i for i, token in hf.get_added_tokens_decoder().items() if token.special}
        silent = special | {self.bos_id, self.eos_id}
        byte_level = all(char in vocab for char in CHARS)
        fallback = (
            {byte: vocab[char] for byte, char in enumerate(CHARS)}
            if byte_level
            else {b: vocab[name] for b in range(256) if (name := f"<0x{b:02X}>") in vocab}
        )
        added = set(hf.get_added_tokens_decoder())
        spaced = "Metaspace" in self._json or "\u2581" in self._json
        names = {i: name for name, i in vocab.items()}
        pieces = [b""] * self.vocab_size
        for i, name in names.items():
            if i not in silent:
                pieces[i] = name.encode() if i in added else _piece(name, byte_level, spaced, bool(fallback))
        self._pieces = BytePieces(pieces, fallback, self._encode_text, apart="" if byte_level else "\u2581")

    @classmethod
    def open(cls, path: str) -> "HFTokenizerFile":
        """``path``: a ``tokenizer.json``, or a folder that holds one."""
        file = Path(path).expanduser()
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise NotFound(f"tokenizer hf:{path}: {file} does not exist; give a folder or a tokenizer.json")
        try:
            return cls(HFTokenizer.from_file(str(file)))
        except Exception as error:  # tokenizers raises bare Exception
            raise Corrupt(f"tokenizer hf:{path}: {' '.join(str(error).split())[:200]}") from None

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str = "tokenizer") -> "HFTokenizerFile":
        """From the parsed file; ``Corrupt`` names ``source`` if it does not hold together."""
        try:
            return cls(HFTokenizer.from_str(json.dumps(data["hf"])))
        except Exception as error:
            raise Corrupt(f"{source}: not a tokenizer of Hugging Face ({type(error).__name__}: {error})") from None

    def encode(self, text: str) -> list[int]:
        return self.encode_bytes(text_bytes(text))

    def encode_bytes(self, data: bytes) -> list[int]:
        return self._pieces.encode(data)

    def encode_array(self, data: bytes) -> np.ndarray:
        return self._pieces.array(self.encode_bytes(data))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return self._pieces.decode(ids)

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def fingerprint(self) -> str:
        return "hf-" + hashlib.sha256(self._json.encode()).hexdigest()

    def save(self, path: Path) -> None:
        save_json(path, {"kind": self.kind, "hf": json.loads(self._json)})

    def _encode_text(self, text: str) -> list[int]:
        return self._hf.encode(text, add_special_tokens=False).ids


def _piece(name: str, byte_level: bool, spaced: bool, fallback: bool) -> bytes:
    """The bytes that a token stands for."""
    if byte_level and all(char in _TO_BYTE for char in name):
        return bytes(_TO_BYTE[char] for char in name)
    if fallback and len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        return bytes([int(name[1:-1], 16)])
    if spaced:
        return name.replace("\u2581", " ").encode()
    return name[2:].encode() if name.startswith("##") else b" " + name.encode()  # words, as WordPiece joins them

"""SentencePiece behind our protocol (extra ``[spm]``): train a small one, or take a ``.model`` file as it is.

One that is trained here reads any bytes and gives them back: nothing is normalised, what is no character or has no
piece is read byte by byte. So is any model with byte fallback and without normalisation. A model without byte fallback
has an unknown piece, which decodes to U+FFFD; one that normalises (or drops spaces) gives back what it made of a text.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastweights.data.byte_pieces import BytePieces
from fastweights.data.tokenizer import save_json, text_bytes
from fastweights.errors import Corrupt, FastweightsError, Unsupported

MIN_VOCAB, MAX_VOCAB = 264, 65536
_LINE = 2048  # bytes of a training sentence at most; longer ones would be passed over in silence


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise Unsupported("tokenizer: SentencePiece is not installed; run: pip install 'fastweights[spm]'") from None
    return sentencepiece


class SPMTokenizer:
    """A SentencePiece model. Its own bos and eos count; one that lacks them gets two ids at the end."""

    kind = "spm"

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._sp = _sentencepiece().SentencePieceProcessor(model_proto=model)
        size = self._sp.get_piece_size()
        self.bos_id = self._sp.bos_id() if self._sp.bos_id() >= 0 else size
        self.eos_id = self._sp.eos_id() if self._sp.eos_id() >= 0 else max(size, self.bos_id + 1)
        self.vocab_size = max(size, self.bos_id + 1, self.eos_id + 1)
        fallback = {self._byte(i): i for i in range(size) if self._sp.is_byte(i)}
        silent = {self.bos_id, self.eos_id}
        pieces = [b"" if i in silent or i >= size else self._piece(i) for i in range(self.vocab_size)]
        # U+2581 stands for the space inside of SentencePiece, so the character itself is read byte by byte.
        self._pieces = BytePieces(pieces, fallback, self._sp.encode, apart="\u2581")

    @classmethod
    def train(cls, texts: Iterable[bytes], vocab_size: int = 1024) -> "SPMTokenizer":
        """Learn at most ``vocab_size`` pieces (256 bytes and specials included; fewer where the text is small)."""
        if not MIN_VOCAB <= vocab_size <= MAX_VOCAB:
            raise FastweightsError(f"spm_vocab {vocab_size}: choose from {MIN_VOCAB} to {MAX_VOCAB}")
        out = io.BytesIO()
        try:
            _sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=_lines(texts),
                model_writer=out,
                vocab_size=vocab_size - 2,
                model_type="unigram",
                character_coverage=1.0,
                byte_fallback=True,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                hard_vocab_limit=False,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise FastweightsError(
                f"spm_vocab {vocab_size}: {' '.join(str(error).split())[:200]}; add text, or change it"
            ) from None
        return cls(out.getvalue())

    @classmethod
    def from_model(cls, model: bytes, source: str) -> "SPMTokenizer":
        """From the bytes of a ``.model`` file; ``Corrupt`` names ``source`` if they are none."""
        try:
            return cls(model)
        except (RuntimeError, OSError, IndexError) as error:
            raise Corrupt(f"{source}: not a SentencePiece model ({' '.join(str(error).split())[:120]})") from None

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str = "tokenizer") -> "SPMTokenizer":
        """From the parsed file; ``Corrupt`` names ``source`` if it does not hold together."""
        try:
            model = base64.b64decode(data["model"], validate=True)
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"{source}: not a SentencePiece tokenizer ({type(error).__name__}: {error})") from None
        return cls.from_model(model, source)

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
        return "spm-" + hashlib.sha256(self._model).hexdigest()

    def save(self, path: Path) -> None:
        save_json(path, {"kind": self.kind, "model": base64.b64encode(self._model).decode()})

    # ------------------------------------------------------------ inside

    def _byte(self, i: int) -> int:
        return int(self._sp.id_to_piece(i)[1:-1], 16)  # <0x41>

    def _piece(self, i: int) -> bytes:
        if self._sp.is_byte(i):
            return bytes([self._byte(i)])
        if self._sp.is_control(i):
            return b""
        return "\ufffd".encode() if self._sp.is_unknown(i) else self._sp.id_to_piece(i).replace("\u2581", " ").encode()


def _lines(texts: Iterable[bytes]) -> Iterator[str]:
    for text in texts:
        for line in text.decode("utf-8", errors="ignore").replace("\0", "").split("\n"):
            for at in range(0, len(line), _LINE // 4):
                yield line[at : at + _LINE // 4]

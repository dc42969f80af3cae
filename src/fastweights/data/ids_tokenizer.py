"""Stands where a model has no tokenizer: token ids go in and come out, text is refused with a clear error."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fastweights.data.tokenizer import check_ids, save_json
from fastweights.errors import Corrupt, FastweightsError


class IdsTokenizer:
    """``vocab_size`` ids without a text of their own; read, they are written out as numbers."""

    kind = "ids"

    def __init__(self, vocab_size: int, bos_id: int, eos_id: int) -> None:
        check_ids([bos_id, eos_id], vocab_size)
        self.vocab_size, self.bos_id, self.eos_id = vocab_size, bos_id, eos_id

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str = "tokenizer") -> "IdsTokenizer":
        """From the parsed file; ``Corrupt`` names ``source`` if it does not hold together."""
        try:
            return cls(*(int(data[name]) for name in ("vocab_size", "bos_id", "eos_id")))
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"{source}: not the ids of a vocabulary ({type(error).__name__}: {error})") from None

    def encode(self, text: str) -> list[int]:
        return self._refuse()

    def encode_bytes(self, data: bytes) -> list[int]:
        return self._refuse()

    def encode_array(self, data: bytes) -> np.ndarray:
        return self._refuse()

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Decimal numbers, a space after each."""
        ids = [int(i) for i in ids]
        check_ids(ids, self.vocab_size)
        return "".join(f"{i} " for i in ids).encode()

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode()

    def fingerprint(self) -> str:
        return f"ids-{self.vocab_size}"

    def save(self, path: Path) -> None:
        save_json(
            path, {"kind": self.kind, "vocab_size": self.vocab_size, "bos_id": self.bos_id, "eos_id": self.eos_id}
        )

    def _refuse(self) -> NoReturn:
        raise FastweightsError(
            "this model has no tokenizer, so it reads no text: give token ids (generate --prompt-tokens 1,2,3), or "
            "import it again with --tokenizer"
        )

"""One sequence as it is drawn: a token at a time, its text as it becomes certain, and why it ended. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastweights.data.tokenizer import StreamDecoder, Tokenizer
from fastweights.models.sampling import Sampler
from fastweights.services.records import Sampling

Stopped = Literal["length", "stop", "eos", "cancelled"]
OnText = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Reply:
    """What was drawn. ``carry`` (B = 1) has read all of it but the last token, which is ``last``."""

    text: str
    ids: list[int]
    stopped: Stopped
    carry: Any
    last: int

    @property
    def tokens(self) -> int:
        """How many were drawn."""
        return len(self.ids)


class Drawing:
    """Draws with one seed until length, stop string or eos. ``on_text`` gets each piece of text as it becomes certain
    (whole characters; nothing that a stop string may still swallow)."""

    def __init__(self, tokenizer: Tokenizer, sampling: Sampling, on_text: OnText | None = None) -> None:
        self._sampler = Sampler(sampling.temperature, sampling.top_p, sampling.seed, forbidden=(tokenizer.bos_id,))
        self._text = _StoppedText([s for s in sampling.stop if s], on_text)
        self._stream = StreamDecoder(tokenizer)
        self._eos, self._limit = tokenizer.eos_id, sampling.max_new_tokens
        self.ids: list[int] = []
        self.stopped: Stopped | None = None

    def draw(self, logits_V: NDArray[np.floating]) -> int:
        """The next token; ``stopped`` is set once it is the last."""
        token = self._sampler.draw(logits_V)
        self.ids.append(token)
        if token == self._eos:
            self.stopped = "eos"
        elif self._text.push(self._stream.push(token)):
            self.stopped = "stop"
        elif len(self.ids) == self._limit:
            self._text.push(self._stream.flush())
            self.stopped = "length"
        return token

    def finish(self) -> str:
        """All of the text; what was held back is sent."""
        self._text.flush()
        return self._text.text


class _StoppedText:
    """Text that ends before the first stop string; what may be the start of one is held back from ``on_text``."""

    def __init__(self, stops: list[str], on_text: OnText | None) -> None:
        self.stops, self.on_text = stops, on_text
        self.text, self.sent, self.done = "", 0, False

    def push(self, piece: str) -> bool:
        """Append; True once a stop string has appeared."""
        if not piece or self.done:
            return self.done
        start = max(0, len(self.text) - max(map(len, self.stops), default=0))
        self.text += piece
        found = [at for at in (self.text.find(s, start) for s in self.stops) if at >= 0]
        if found:
            self.text, self.done = self.text[: min(found)], True
        held = 0
        if not self.done:
            held = max((n for s in self.stops for n in range(1, len(s)) if self.text.endswith(s[:n])), default=0)
        self._send(len(self.text) - held)
        return self.done

    def flush(self) -> None:
        self._send(len(self.text))

    def _send(self, until: int) -> None:
        if self.on_text is not None and until > self.sent:
            self.on_text(self.text[self.sent : until])
        self.sent = max(self.sent, until)

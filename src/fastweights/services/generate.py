"""Drawing text from a model, one token at a time. Torch loads with the first model, not with this module.

The backbone runs in numpy (lean decode, one sequence), on the CPU whatever the device of training: a token of a small
model costs less there than the launch of its kernels elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from fastweights.errors import FastweightsError
from fastweights.services.records import GenerateRequest, Generation, Sampling
from fastweights.store.models import Models
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.core.state import Weights
    from fastweights.models.decoding import AnyDecoder
    from fastweights.models.memory.context_nets import Memory
    from fastweights.models.registry import LoadedModel

MAX_PROMPT_CHARACTERS = 65_536
_PREFILL_TOKENS = 1024
Stopped = Literal["length", "stop", "eos", "cancelled"]


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


class OpenModel:
    """A loaded model with a pool of decoders, shared by the sessions of a process; safe to use from many threads."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._decoders: list[AnyDecoder] = []

    @contextmanager
    def decoder(self) -> Iterator[AnyDecoder]:
        """A decoder of one's own for a while."""
        from fastweights.models.decoding import decoder_for

        try:
            decoder = self._decoders.pop()
        except IndexError:
            decoder = decoder_for(self.loaded.lm)
        try:
            yield decoder
        finally:
            self._decoders.append(decoder)

    def reply(
        self,
        carry: Any,
        last: int,
        sampling: Sampling,
        *,
        memory: tuple[Memory, Weights] | None = None,
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Reply:
        """Continue a stream whose backbone stands at ``carry`` with ``last`` not yet read.

        ``memory`` gives the fast weights between backbone and head; None answers as the frozen model. ``on_text`` gets
        each piece of text as it becomes certain (whole characters; nothing that a stop string may still swallow).
        """
        from fastweights.data.tokenizer import StreamDecoder
        from fastweights.models.sampling import Sampler

        tokenizer = self.loaded.tokenizer
        sampler = Sampler(sampling.temperature, sampling.top_p, sampling.seed, forbidden=(tokenizer.bos_id,))
        text = _StoppedText([s for s in sampling.stop if s], on_text)
        stream = StreamDecoder(tokenizer)
        read = None if memory is None else memory[0].reader(memory[1])
        stopped: Stopped = "length"
        ids: list[int] = []
        with self.decoder() as decoder:
            decoder.load(carry)
            for _ in range(sampling.max_new_tokens):
                if cancelled is not None and cancelled():
                    stopped = "cancelled"
                    break
                h_D = decoder.step(last)
                last = sampler.draw(decoder.logits(h_D if read is None else read(h_D)))
                ids.append(last)
                if last == tokenizer.eos_id:
                    stopped = "eos"
                    break
                if text.push(stream.push(last)):
                    stopped = "stop"
                    break
            else:
                text.push(stream.flush())
            text.flush()
            return Reply(text.text, ids, stopped, decoder.carry(), last)


class _StoppedText:
    """Text that ends before the first stop string; what may be the start of one is held back from ``on_text``."""

    def __init__(self, stops: list[str], on_text: Callable[[str], None] | None) -> None:
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


class ModelPool:
    """Models of a store, loaded once a process and dropped for a newer checkpoint of the same id."""

    def __init__(self, store: Store, device: str | None = None) -> None:
        self.models = Models(store)
        self.device = device
        self._open: dict[str, OpenModel] = {}
        self._lock = Lock()

    def open(self, model_id: str | None) -> OpenModel:
        """By id, or the latest usable one; every file is checked on the way in."""
        from fastweights.models.device import pick_device, set_threads
        from fastweights.models.registry import load_model

        model_id = self.models.resolve(model_id)
        manifest = self.models.get(model_id)
        with self._lock:
            known = self._open.get(model_id)
            set_threads()
            if known is None or known.loaded.checkpoint_sha256 != manifest.get("checkpoint_sha256"):
                known = OpenModel(load_model(self.models.path(model_id), pick_device(self.device)))
                self._open[model_id] = known
            return known


class GenerateService:
    """Samples from a frozen model: no session, nothing is learned, nothing is stored."""

    def __init__(self, store: Store, device: str | None = None, pool: ModelPool | None = None) -> None:
        self.pool = pool or ModelPool(store, device)

    def generate(
        self,
        request: GenerateRequest,
        on_token: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generation:
        """Continue ``request.prompt``."""
        started = time.monotonic()
        prompt = check_text("prompt", request.prompt, allow_empty=True)
        model = self.pool.open(request.model_id)
        carry, last = prefill(model.loaded, model.loaded.tokenizer.encode(prompt))
        reply = model.reply(carry, last, request.sampling, on_text=on_token, cancelled=cancelled)
        return Generation(
            model_id=model.loaded.model_id,
            prompt=prompt,
            completion=reply.text,
            tokens=reply.tokens,
            stopped=reply.stopped,
            seconds=time.monotonic() - started,
        )


def prefill(loaded: LoadedModel, ids: list[int]) -> tuple[Any, int]:
    """The carry after ``bos`` and all ids but the last, and that last token; in pieces, so memory stays bounded."""
    import torch

    stream = [loaded.tokenizer.bos_id, *ids]
    carry = loaded.lm.init_carry(1)
    with torch.inference_mode():
        for start in range(0, len(stream) - 1, _PREFILL_TOKENS):
            piece = stream[start : min(start + _PREFILL_TOKENS, len(stream) - 1)]
            _, carry = loaded.lm.hidden(torch.tensor([piece], device=loaded.lm.head.weight.device), carry)
    return carry, stream[-1]


def check_text(field: str, text: str, *, allow_empty: bool = False) -> str:
    """The text, if it can be encoded and is not too long; a :class:`FastweightsError` names the field otherwise."""
    if not text and not allow_empty:
        raise FastweightsError(f"{field} is empty: write something")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise FastweightsError(
            f"{field} has {len(text)} characters: send it in parts of at most {MAX_PROMPT_CHARACTERS}"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FastweightsError(f"{field} has a lone surrogate at character {error.start}: send valid Unicode") from None
    return text

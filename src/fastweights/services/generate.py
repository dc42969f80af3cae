"""Drawing text from a model, one token at a time. Torch loads with the first model, not with this module.

The backbone runs in numpy (lean decode, one sequence), on the CPU whatever the device of training: a token of a small
model costs less there than the launch of its kernels elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from fastweights.data.tokenizer import check_ids
from fastweights.errors import FastweightsError
from fastweights.services.drawing import Drawing, OnText, Reply
from fastweights.services.records import GenerateRequest, Generation, Sampling
from fastweights.store.models import Models
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.core.state import Weights
    from fastweights.models.decoding import AnyDecoder, SequenceDecoder
    from fastweights.models.e2e_stream import E2EStream
    from fastweights.models.memory.context_nets import Memory
    from fastweights.models.registry import LoadedModel

MAX_PROMPT_CHARACTERS = 65_536
PREFILL_TOKENS = 1024


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
        decoder: SequenceDecoder | None = None,
        audit: Audit | None = None,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Reply:
        """Continue a stream whose backbone stands at ``carry`` with ``last`` not yet read.

        ``memory`` gives the fast weights between backbone and head; None answers as the frozen model. ``decoder``:
        instead of one from the pool. ``audit`` judges what the decoder itself has learned, every ``audit.every`` tokens
        and at the end. ``on_text`` gets the text as :class:`~fastweights.services.drawing.Drawing` says.
        """
        drawing = Drawing(self.loaded.tokenizer, sampling, on_text)
        read = None if memory is None else memory[0].reader(memory[1])
        with self.decoder() if decoder is None else nullcontext(decoder) as decoder:
            decoder.load(carry)
            judged = 0
            while drawing.stopped is None:
                if cancelled is not None and cancelled():
                    drawing.stopped = "cancelled"
                    break
                h_D = decoder.step(last)
                last = drawing.draw(decoder.logits(h_D if read is None else read(h_D)))
                if audit is not None and len(drawing.ids) - judged == audit.every:
                    decoder.load(audit(drawing.ids[judged:], decoder.carry()))
                    judged = len(drawing.ids)
            carry = decoder.carry()
            if audit is not None and judged < len(drawing.ids):
                carry = audit(drawing.ids[judged:], carry)
        return Reply(drawing.finish(), drawing.ids, drawing.stopped, carry, last)


class Audit(Protocol):
    """Judges what was learned while the last ``ids`` were drawn, and gives the carry to go on from."""

    every: int

    def __call__(self, ids: list[int], carry: Any, /) -> Any: ...


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
    """Samples from a model: no session, nothing is stored. A model that learns as it reads (TTT, TTT-E2E) does so, from
    the prompt and from its own words, and forgets it; others are frozen."""

    def __init__(self, store: Store, device: str | None = None, pool: ModelPool | None = None) -> None:
        self.pool = pool or ModelPool(store, device)

    def generate(
        self,
        request: GenerateRequest,
        on_token: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generation:
        """Continue ``request.prompt``, or ``request.prompt_tokens``."""
        return draw(self.pool.open(request.model_id), request, on_token, cancelled)


def draw(
    model: OpenModel,
    request: GenerateRequest,
    on_token: OnText | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Generation:
    """One sequence of an open model."""
    started = time.monotonic()
    ids, stream = prompt_ids(model.loaded, request), _stream(model.loaded)
    if stream is None:
        carry, last = prefill(model.loaded, ids)
    else:
        stream.read(ids[:-1])
        carry, last = stream.carry(), ids[-1]
    reply = model.reply(carry, last, request.sampling, decoder=stream, on_text=on_token, cancelled=cancelled)
    return Generation(
        model_id=model.loaded.model_id,
        prompt=request.prompt,
        completion=reply.text,
        tokens=reply.tokens,
        token_ids=reply.ids,
        stopped=reply.stopped,
        seconds=time.monotonic() - started,
    )


def _stream(loaded: LoadedModel) -> E2EStream | None:
    """Of a TTT-E2E model, what reads and learns."""
    from fastweights.models.e2e import E2ETransformer
    from fastweights.models.e2e_stream import E2EStream

    return E2EStream(loaded.lm, loaded.tokenizer.bos_id) if isinstance(loaded.lm, E2ETransformer) else None


def prompt_ids(loaded: LoadedModel, request: GenerateRequest) -> list[int]:
    """What the model reads: ``bos`` and the prompt's ids, or the ``prompt_tokens`` as they are (at least one)."""
    if request.prompt_tokens is not None:
        check_ids(request.prompt_tokens, loaded.lm.config.vocab_size)
        return request.prompt_tokens or [loaded.tokenizer.bos_id]
    prompt = check_text("prompt", request.prompt, allow_empty=True)
    return [loaded.tokenizer.bos_id, *(loaded.tokenizer.encode(prompt) if prompt else ())]


def prefill(loaded: LoadedModel, ids: list[int]) -> tuple[Any, int]:
    """The carry after all ids but the last, and that last one; in pieces, so memory stays bounded."""
    import torch

    carry = loaded.lm.init_carry(1)
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, PREFILL_TOKENS):
            piece = ids[start : min(start + PREFILL_TOKENS, len(ids) - 1)]
            _, carry = loaded.lm.hidden(torch.tensor([piece], device=loaded.lm.head.weight.device), carry)
    return carry, ids[-1]


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

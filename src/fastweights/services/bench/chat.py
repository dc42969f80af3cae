"""``bench chat``: one turn of a session (learn from 256 tokens, generate 64), against the same turn done naively.

The turn runs as a user's does (guard, canaries, snapshot, commit), on a store in a temporary folder; only ``fsync`` is
left out, since it measures the disk. The naive twin uses autograd, encodes every canary by itself and anew each time,
and decodes with torch one token at a time. Torch loads when a bench runs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services.chat import ChatService
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.records import Sampling, SessionOptions, Turn
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.core.state import Weights
    from fastweights.models.registry import LoadedModel

_TOLERANCE = 1e-4


def bench_chat(store: Store, model_id: str | None, *, learn: int, generate: int, repeats: int) -> dict[str, Any]:
    """CPU milliseconds of a turn (median of ``repeats``), and how many times the naive twin takes.

    ``model_id`` None: a random model of about 1M parameters. Raises :class:`FastweightsError` if the twin's losses or
    weights differ: then there is no speed to report.
    """
    from fastweights.models.device import set_threads

    set_threads()
    options = SessionOptions(model=model_id or "random", memory="linear")  # as its naive twin
    sampling = Sampling(max_new_tokens=generate, seed=0)
    with tempfile.TemporaryDirectory() as folder, _without_fsync():
        pool = _RandomPool(Store(folder)) if model_id is None else _BorrowedPool(Store(folder), store, model_id)
        loaded = pool.open(options.model).loaded
        chats = ChatService(Store(folder), pool=pool)
        message = _message(loaded, learn)
        session = chats.new(options).session_id
        turn = chats.send(session, message, sampling)  # warms up
        losses, naive_weights = _naive_turn(chats, chats.new(options).session_id, message, sampling)
        _check_parity(turn, losses, chats.open_session(session).value.fast.weights, naive_weights)

        fast, naive = [], []
        for _ in range(repeats):
            session = chats.new(options).session_id
            fast.append(_cpu_ms(lambda at=session: chats.send(at, message, sampling)))
            naive.append(_cpu_ms(lambda at=session: _naive_turn(chats, at, message, sampling)))
        decode = _cpu_ms(lambda: _decode_only(pool.open(options.model), sampling))
    cpu_ms = statistics.median(fast)
    return {
        "model": model_id,
        "params": sum(p.numel() for p in loaded.lm.parameters()),
        "learn_tokens": turn.prompt_tokens,
        "generated_tokens": turn.reply_tokens,
        "chunks": len(turn.events),
        "cpu_ms": cpu_ms,
        "cpu_ms_all": fast,
        "decode_cpu_ms": decode,
        "naive_cpu_ms": statistics.median(naive),
        "ratio": statistics.median(n / f for n, f in zip(naive, fast, strict=True)),
        "parity": f"losses and fast weights to {_TOLERANCE:g}",
        "threads": 1,
    }


class _RandomPool(ModelPool):
    """One model with random weights, about 1M parameters; it never ends a document by itself."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "cpu")
        self._random: OpenModel | None = None
        self.models.resolve = lambda model_id: "random"  # type: ignore[method-assign]

    def open(self, model_id: str | None) -> OpenModel:
        if self._random is None:
            self._random = OpenModel(_random_model())
        return self._random


class _BorrowedPool(ModelPool):
    """A model of the user's store, for sessions in a temporary one."""

    def __init__(self, store: Store, source: Store, model_id: str) -> None:
        super().__init__(store, "cpu")
        self._source = ModelPool(source, "cpu")
        self._model_id = self._source.models.resolve(model_id)
        self.models.resolve = lambda model_id: self._model_id  # type: ignore[method-assign]

    def open(self, model_id: str | None) -> OpenModel:
        return self._source.open(self._model_id)


def _random_model() -> LoadedModel:
    import torch

    from fastweights.data.tokenizer import ByteTokenizer
    from fastweights.models.registry import LoadedModel
    from fastweights.models.tiny_lm import TinyLM
    from fastweights.models.tiny_lm_config import TinyLMConfig

    tokenizer = ByteTokenizer()
    torch.manual_seed(0)
    lm = (
        TinyLM(TinyLMConfig(vocab_size=tokenizer.vocab_size, dim=320, layers=1, mlp_hidden=768))
        .eval()
        .requires_grad_(False)
    )
    torch.nn.init.normal_(lm.head.weight, std=0.05)
    lm.head.bias[tokenizer.eos_id] = -30.0
    return LoadedModel("random", lm, tokenizer, {"id": "random", "checkpoint_sha256": "random"})


def _message(loaded: LoadedModel, tokens: int) -> str:
    """Text of just so many tokens, the line break that closes a message included."""
    text = (files("fastweights.data") / "assets" / "tiny.txt").read_text(encoding="utf-8")[: 16 * tokens]
    text = " ".join(text.split())
    for end in range(tokens - 1, 0, -1) if loaded.tokenizer.kind == "byte" else range(len(text), 0, -1):
        if len(loaded.tokenizer.encode(text[:end] + "\n")) <= tokens:
            return text[:end]
    raise FastweightsError(f"learn is {tokens} tokens: give at least 2")


def _naive_turn(chats: ChatService, session_id: str, message: str, sampling: Sampling) -> tuple[list[float], Weights]:
    """The same turn with autograd, every canary by itself and encoded anew, and torch for each drawn token."""
    import torch

    from fastweights.core.chunks import next_token_chunks
    from fastweights.core.state import add
    from fastweights.data.canaries import CANARY_TEXTS, CANARY_TOKENS, canary_rows
    from fastweights.guard.canaries import token_rows
    from fastweights.guard.spfw import project
    from fastweights.models.sampling import Sampler

    parts = chats.open_session(session_id).parts
    loaded, learner, memory = parts.loaded, parts.learner, parts.model.memory
    tokenizer, state, losses = loaded.tokenizer, learner.init(), []
    rows = canary_rows(tokenizer.encode, CANARY_TEXTS.values(), CANARY_TOKENS)
    canaries = [token_rows([row], tokenizer.bos_id) for row in rows]
    for chunk in next_token_chunks(tokenizer.bos_id, tokenizer.encode(message + "\n"), parts.chunk_tokens):
        fresh = replace(learner.init(), weights=state.weights)
        grads = [learner.propose(fresh, canary, create_graph=True).grads or {} for canary in canaries]
        proposal = learner.propose(state, chunk, create_graph=True)
        stacked = {name: torch.cat([g[name].detach() for g in grads]) for name in state.weights}
        delta = project({name: d.detach() for name, d in proposal.delta.items()}, stacked)
        after = replace(state, weights=add(state.weights, delta), carry=proposal.after.carry)
        for canary in canaries:
            learner.score(replace(learner.init(), weights=after.weights), canary)
        learner.score(replace(after, carry=state.carry), chunk)
        losses.append(float(proposal.output.loss_B.detach()))
        state = after
    sampler = Sampler(sampling.temperature, sampling.top_p, sampling.seed, forbidden=(tokenizer.bos_id,))
    carry, last = state.carry["lm"], int(state.carry["last_B"][0])
    with torch.inference_mode():
        for _ in range(sampling.max_new_tokens):
            h_BTD, carry = loaded.lm.hidden(torch.tensor([[last]]), carry)
            last = sampler.draw(loaded.lm.logits(memory.read(state.weights, h_BTD))[0, -1].numpy())
            if last == tokenizer.eos_id:
                break
    return losses, state.weights


def _check_parity(turn: Turn, losses: list[float], weights: Weights, naive: Weights) -> None:
    if any(event.decision != "committed" for event in turn.events):
        raise FastweightsError("bench chat: the guard refused a chunk, so the two turns do not do the same work")
    gaps = [abs((event.loss or 0) - loss) for event, loss in zip(turn.events, losses, strict=True)]
    gaps += [float((weights[name] - w).abs().max()) for name, w in naive.items()]
    if not max(gaps) < _TOLERANCE:
        raise FastweightsError(f"bench chat: losses or weights differ from the naive twin's by {max(gaps):.1e}")


def _decode_only(model: OpenModel, sampling: Sampling) -> None:
    model.reply(model.loaded.lm.init_carry(1), model.loaded.tokenizer.bos_id, sampling)


def _cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


@contextmanager
def _without_fsync() -> Iterator[None]:
    real = os.fsync
    os.fsync = lambda fd: None
    try:
        yield
    finally:
        os.fsync = real

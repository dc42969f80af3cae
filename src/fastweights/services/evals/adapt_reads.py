"""Ways to read a text for the meter: frozen, with a memory, and the controls. Each gives a :class:`Read`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.models.memory.names import DEFAULT, MemoryName
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.records import MAX_CHUNK, SessionOptions
from fastweights.services.update_rules import has_own_rule

if TYPE_CHECKING:
    import numpy as np

    from fastweights.core.state import Chunk, FastState

_BLOCK = 1024  # bytes of a block of the bootstrap
_RESAMPLES = 1000


class Read:
    """What reading a text chunk by chunk gave."""

    def __init__(self) -> None:
        self.nats: list[float] = []
        self.bytes: list[int] = []
        self.seconds = self.guard_seconds = 0.0
        self.refusals: Counter[str] = Counter()
        self.guarded = False
        self.state_bytes = 0

    def chunk(self, chunk: Chunk, loss: float) -> None:
        self.nats.append(loss * chunk.targets_BT.shape[1])
        self.bytes.append(int(chunk.inputs["bytes"]))

    def figures(self, size: int, base: Read, seed: int) -> dict[str, Any]:
        import numpy as np

        nats, of_base = np.array(self.nats), np.array(base.nats)
        bits = nats.sum() / np.log(2) / size
        found: dict[str, Any] = {
            "bits_per_byte": float(bits),
            "cpu_ms_per_kb": self.seconds * 1e3 / size * 1024,
            "gain": float(of_base.sum() / np.log(2) / size - bits),
            "gain_ci95": _interval((of_base - nats) / np.log(2), np.array(self.bytes), seed),
        }
        if self.guarded:
            found |= {
                "guard_ms_per_kb": self.guard_seconds * 1e3 / size * 1024,
                "chunks": len(self.nats),
                "refused": int(sum(self.refusals.values())),
                "refusals": dict(self.refusals),
                "state_bytes": self.state_bytes,
            }
        return found


def _interval(bits: np.ndarray, sizes: np.ndarray, seed: int) -> list[float]:
    """95 % of the bits a byte, by resampling blocks of about 1 kB."""
    import numpy as np

    block = np.minimum(np.cumsum(sizes) - 1, sizes.sum() - 1) // _BLOCK
    total, size = np.bincount(block, weights=bits), np.bincount(block, weights=sizes)
    pick = np.random.default_rng(seed).integers(len(total), size=(_RESAMPLES, len(total)))
    means = total[pick].sum(1) / np.maximum(size[pick].sum(1), 1)
    return [float(q) for q in np.quantile(means, (0.025, 0.975))]


def check(chunk_tokens: int, seed: int) -> None:
    """FastweightsError names the one that cannot be."""
    if not 1 <= chunk_tokens <= MAX_CHUNK:
        raise FastweightsError(f"chunk_tokens {chunk_tokens}: give 1 to {MAX_CHUNK}")
    if not 0 <= seed < 2**63:
        raise FastweightsError(f"seed {seed}: give a whole number from 0 to 2^63 - 1")


def usual_memory(pool: ModelPool, model: OpenModel) -> MemoryName | None:
    """A new session's; None of a model that learns by a rule of its own (ttt_lm, e2e)."""
    return None if has_own_rule(pool.models, model.loaded.model_id) else DEFAULT


def options_of(model: OpenModel, memory: MemoryName | None, chunk_tokens: int) -> SessionOptions:
    """Of a session with that memory (None: with the model's own rule)."""
    options = SessionOptions(model=model.loaded.model_id, chunk_tokens=chunk_tokens)
    return options if memory is None else options.model_copy(update={"memory": memory})


def chunks_of(model: OpenModel, data: bytes, chunk_tokens: int) -> list[Chunk]:
    """Next-token chunks with their text, and in ``inputs`` how many bytes each stands for."""
    from fastweights.core.chunks import next_token_chunks

    tokenizer = model.loaded.tokenizer
    found = []
    for chunk in next_token_chunks(tokenizer.bos_id, tokenizer.encode_bytes(data), chunk_tokens):
        said = tokenizer.decode_bytes(chunk.targets_BT[0].tolist())
        found.append(chunk._replace(text=said.decode("utf-8", errors="replace"), inputs={"bytes": len(said)}))
    return found


def frozen(model: OpenModel, chunks: list[Chunk]) -> Read:
    """The model alone, its state carried."""
    import torch

    from fastweights.core.losses import cross_entropy_B

    lm, read, carry = model.loaded.lm, Read(), model.loaded.lm.init_carry(1)
    with torch.no_grad():
        lm(chunks[0].tokens_BT, carry)  # what is compiled on first use, is now
        for chunk in chunks:
            start = time.process_time()
            logits_BTV, carry = lm(chunk.tokens_BT, carry)
            loss = float(cross_entropy_B(logits_BTV, chunk.targets_BT, chunk.mask_BT))
            read.seconds += time.process_time() - start
            read.chunk(chunk, loss)
    return read


class _Timed:
    """A learner that counts the seconds of reading and learning, not those of canaries."""

    def __init__(self, learner: Any) -> None:
        self._learner, self.seconds = learner, 0.0
        self.init, self.score, self.score_and_grad = learner.init, learner.score, learner.score_and_grad

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        start = time.process_time()
        prepared = self._learner.prepare(chunk, carry)
        self.seconds += time.process_time() - start
        return prepared

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Any:
        start = time.process_time()
        proposal = self._learner.propose(state, chunk, create_graph=create_graph)
        self.seconds += time.process_time() - start
        return proposal


def adapted(model: OpenModel, chunks: list[Chunk], memory: MemoryName | None, chunk_tokens: int, guarded: bool) -> Read:
    """A session's memory, through the default guard; without ``guarded`` every write is made."""
    from fastweights.services.session_parts import build_parts

    parts = build_parts(model, options_of(model, memory, chunk_tokens))
    _warm(parts.learner, chunks)
    learner, read = _Timed(parts.learner), Read()
    read.guarded = guarded
    if not guarded:
        state = learner.init()
        for chunk in chunks:
            proposal = learner.propose(state, learner.prepare(chunk, state.carry))
            read.chunk(chunk, float(proposal.output.loss_B))
            state = proposal.after
        read.seconds = learner.seconds
        return read
    session = parts.guard.begin(learner, learner.init())
    start = time.process_time()
    for chunk in chunks:
        outcome = parts.guard.step(learner, session, chunk)
        session = outcome.session
        read.chunk(chunk, outcome.evidence.loss if outcome.evidence.loss is not None else float("nan"))
        if not outcome.committed:
            refused_by = [check.check for check in outcome.event.checks if not check.ok and check.mode == "enforce"]
            read.refusals[refused_by[0] if refused_by else outcome.event.decision] += 1
    read.seconds = learner.seconds
    read.guard_seconds = time.process_time() - start - learner.seconds
    read.state_bytes = state_bytes(session.fast)
    return read


def state_bytes(fast: Any) -> int:
    """Of the fast weights and the rule's memory, as they are held: constant, however little of it is used."""
    from fastweights.core.tree import leaves

    return sum(int(leaf.nbytes) for _, leaf in leaves({"weights": fast.weights, "rule": fast.rule}))


def bias(model: OpenModel, chunks: list[Chunk]) -> Read:
    """Control: a logit bias alone, by SGD."""
    from fastweights.core.learner import GradientLearner
    from fastweights.core.rules import SGD
    from fastweights.models.memory.logit_memories import LogitBias, LogitModel

    tokenizer = model.loaded.tokenizer
    learner = GradientLearner(LogitModel(model.loaded.lm, LogitBias(tokenizer.vocab_size), tokenizer.bos_id), SGD(1.0))
    return _unguarded(learner, chunks)


def random_updates(model: OpenModel, chunks: list[Chunk], chunk_tokens: int, seed: int) -> Read:
    """Control: the linear context net with updates of the same length in random directions."""
    import torch

    from fastweights.core.state import add, norm_B
    from fastweights.services.session_parts import build_parts

    parts = build_parts(model, options_of(model, "linear", chunk_tokens))
    generator = torch.Generator().manual_seed(seed)

    def turned(proposal: Any) -> FastState:
        noise = {name: torch.randn(d.shape, generator=generator) for name, d in proposal.delta.items()}
        scale = float(norm_B(proposal.delta) / norm_B(noise))
        weights = add(proposal.before.weights, {name: scale * n for name, n in noise.items()})
        return proposal.after.__class__(weights, proposal.after.rule, proposal.after.carry, proposal.after.step)

    return _unguarded(parts.learner, chunks, turned)


def _warm(learner: Any, chunks: list[Chunk]) -> None:
    """What is compiled on first use, is compiled before the time is taken."""
    state = learner.init()
    learner.propose(state, learner.prepare(chunks[0], state.carry))


def _unguarded(learner: Any, chunks: list[Chunk], after: Callable[[Any], FastState] = lambda p: p.after) -> Read:
    _warm(learner, chunks)
    timed, read = _Timed(learner), Read()
    state = timed.init()
    for chunk in chunks:
        proposal = timed.propose(state, timed.prepare(chunk, state.carry))
        read.chunk(chunk, float(proposal.output.loss_B))
        state = after(proposal)
    read.seconds = timed.seconds
    return read


def dynamic(model: OpenModel, chunks: list[Chunk], lr: float = 0.1, clip: float = 1.0) -> Read:
    """Control: dynamic evaluation (Krause et al., 2018) of all weights by clipped SGD, on a copy of the model."""
    import copy

    import torch

    from fastweights.core.losses import cross_entropy_B
    from fastweights.core.tree import map_tree

    lm, read = copy.deepcopy(model.loaded.lm).requires_grad_(True), Read()
    weights = list(lm.parameters())
    carry = lm.init_carry(1)
    torch.autograd.grad(lm(chunks[0].tokens_BT, carry)[0].sum(), weights, materialize_grads=True)  # compiles
    for chunk in chunks:
        start = time.process_time()
        logits_BTV, carry = lm(chunk.tokens_BT, carry)
        loss = cross_entropy_B(logits_BTV, chunk.targets_BT, chunk.mask_BT).sum()
        grads = torch.autograd.grad(loss, weights, materialize_grads=True)
        scale = lr * min(1.0, clip / (float(torch.nn.utils.get_total_norm(grads)) + 1e-12))
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight.add_(grad, alpha=-scale)
        carry = map_tree(lambda t: t.detach(), carry)
        read.seconds += time.process_time() - start
        read.chunk(chunk, float(loss.detach()))
    return read

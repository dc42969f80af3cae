"""``eval adapt``: does learning while reading help, what does it cost, and against which controls. Torch loads late.

Prequential: each chunk is scored under the weights before it, then learned from, through the guard.
"""

from __future__ import annotations

import lzma
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError, NotFound
from fastweights.models.memory.names import BEST, MEMORIES, MemoryName
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.records import SessionOptions
from fastweights.store.root import Store

if TYPE_CHECKING:
    import numpy as np

    from fastweights.core.state import Chunk, FastState

CONTROLS = ("bias", "random", "shuffled", "dynamic", "xz")
MAX_BYTES = 1 << 20
_BLOCK = 1024  # bytes of a block of the bootstrap
_RESAMPLES = 1000


def eval_adapt(
    store: Store,
    texts: Sequence[Path],
    *,
    model_id: str | None = None,
    memories: Sequence[MemoryName] = MEMORIES,
    chunk_tokens: int = 64,
    controls: bool = True,
    guard: bool = True,
    seed: int = 0,
    on_row: Callable[[str, str, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """The JSON that ``eval adapt`` prints; ``on_row(file, name, figures)`` gets each row as it is done.

    ``cpu_ms_per_kb``: of reading and learning, the model's own pass included, on one thread; the guard's cost is
    ``guard_ms_per_kb``. ``gain``: bits per byte below the frozen model, with a 95 % interval by block bootstrap.
    """
    import torch

    from fastweights.core.memory import keep_freed_memory

    if not texts:
        raise FastweightsError("text: name at least one file")
    contents = {str(path): _bytes(path) for path in texts}
    torch.set_num_threads(1)
    keep_freed_memory()
    pool = ModelPool(store)
    model = pool.open(pool.models.resolve(model_id))
    names = list(dict.fromkeys([*memories, BEST]))
    rows = []
    for file, data in contents.items():
        found = _one_text(
            model, data, names, chunk_tokens, controls, guard, seed, lambda n, r, f=file: _tell(on_row, f, n, r)
        )
        rows.append({"file": file, "bytes": len(data), **found})
    return {
        "model_id": model.loaded.model_id,
        "chunk_tokens": chunk_tokens,
        "guard": guard,
        "default_memory": BEST,
        "memories": names,
        "controls": list(CONTROLS) if controls else [],
        "threads": 1,
        "texts": rows,
        "cpu_seconds": cpu_seconds(),
    }


def _tell(on_row: Callable[[str, str, dict[str, Any]], None] | None, file: str, name: str, row: dict[str, Any]) -> None:
    if on_row is not None:
        on_row(file, name, row)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound(f"text {str(path)!r} does not exist: name a file")
    data = path.read_bytes()[:MAX_BYTES]
    if not data:
        raise FastweightsError(f"text {str(path)!r} is empty: there is nothing to predict")
    return data


def _one_text(
    model: OpenModel,
    data: bytes,
    names: list[MemoryName],
    chunk_tokens: int,
    controls: bool,
    guard: bool,
    seed: int,
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    import numpy as np

    chunks = chunks_of(model, data, chunk_tokens)
    base = frozen(model, chunks)
    found: dict[str, Any] = {}

    def add(name: str, read: Read, over: Read = base) -> None:
        found[name] = read.figures(len(data), over, seed)
        tell(name, found[name])

    add("frozen", base)
    for name in names:
        add(name, adapted(model, chunks, name, chunk_tokens, guard))
    found["default"] = {"memory": BEST, **found[BEST]}
    if not controls:
        return found
    add("bias", bias(model, chunks))
    add("random", random_updates(model, chunks, chunk_tokens, seed))
    mixed = np.random.default_rng(seed).permutation(np.frombuffer(data, np.uint8)).tobytes()
    again = chunks_of(model, mixed, chunk_tokens)
    add("shuffled", adapted(model, again, BEST, chunk_tokens, guard), frozen(model, again))
    add("dynamic", dynamic(model, chunks))
    start = time.process_time()
    size = len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    cost = (time.process_time() - start) * 1e3 / len(data) * 1024
    found["xz"] = {"bits_per_byte": 8 * size / len(data), "cpu_ms_per_kb": cost}
    tell("xz", found["xz"])
    return found


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


# ---------------------------------------------------------------------- ways to read


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


def adapted(model: OpenModel, chunks: list[Chunk], memory: MemoryName, chunk_tokens: int, guarded: bool) -> Read:
    """A session's memory, through the default guard; without ``guarded`` every write is made."""
    from fastweights.services.session_parts import build_parts
    from fastweights.services.text_turn import snapshot

    parts = build_parts(model, SessionOptions(model=model.loaded.model_id, memory=memory, chunk_tokens=chunk_tokens))
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
    read.state_bytes = len(snapshot(session))
    return read


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

    parts = build_parts(model, SessionOptions(model=model.loaded.model_id, memory="linear", chunk_tokens=chunk_tokens))
    generator = torch.Generator().manual_seed(seed)

    def turned(proposal: Any) -> FastState:
        noise = {name: torch.randn(d.shape, generator=generator) for name, d in proposal.delta.items()}
        scale = float(norm_B(proposal.delta) / norm_B(noise))
        weights = add(proposal.before.weights, {name: scale * n for name, n in noise.items()})
        return proposal.after.__class__(weights, proposal.after.rule, proposal.after.carry, proposal.after.step)

    return _unguarded(parts.learner, chunks, turned)


def _unguarded(learner: Any, chunks: list[Chunk], after: Callable[[Any], FastState] = lambda p: p.after) -> Read:
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
    for chunk in chunks:
        start = time.process_time()
        logits_BTV, carry = lm(chunk.tokens_BT, carry)
        loss = cross_entropy_B(logits_BTV, chunk.targets_BT, chunk.mask_BT).sum()
        grads = torch.autograd.grad(loss, weights)
        scale = lr * min(1.0, clip / (float(torch.nn.utils.get_total_norm(grads)) + 1e-12))
        with torch.no_grad():
            torch._foreach_add_(weights, grads, alpha=-scale)
        carry = map_tree(lambda t: t.detach(), carry)
        read.seconds += time.process_time() - start
        read.chunk(chunk, float(loss.detach()))
    return read

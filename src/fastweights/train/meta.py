"""Meta-learning of a TTT-E2E model: the training step whose loss has learned from every chunk before.

The prefix reads the whole sequence once; then the suffix reads chunk after chunk, and after each the inner rule steps
down that chunk's next-token loss, with a graph, through core's learner and ``unroll``. Each sequence has fast weights
of its own. Legend: B sequences, T tokens, C chunks.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.core.state import Chunk, FastState
from fastweights.core.unroll import unroll
from fastweights.data.corpus import Corpus
from fastweights.data.kv import KVBatch, KVConfig, Reach, draw, held_out
from fastweights.data.tokenizer import Tokenizer
from fastweights.errors import Unsupported
from fastweights.models.e2e import OUTER_WEIGHT, E2EReader, E2ETransformer, e2e_learner
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.scoring import Cancelled, corpus_score
from fastweights.train.config import TrainConfig
from fastweights.train.distributed import World
from fastweights.train.meta_config import MetaConfig, reach_of
from fastweights.train.trainer import Trainer


def fresh_chunks(
    reader: E2EReader, x_BT: Tensor, y_BT: Tensor, outer_BT: Tensor | None = None
) -> tuple[FastState, list[Chunk]]:
    """Whole sequences from their first token: the state before it, and the chunks, the stem read once for all of them.

    ``outer_BT``: the weight of each target in the outer loss. Differentiable in the stem where gradients are on.
    """
    lm = reader.lm
    size, batch = lm.config.inner.chunk, x_BT.shape[0]
    stem_BTD, _ = lm.stem(x_BT, None)
    position_B = x_BT.new_zeros(batch)
    chunks = []
    for start in range(0, x_BT.shape[1], size):
        part = slice(start, start + size)
        features = {"x_BTD": stem_BTD[:, part], "stem": {}, "position_B": position_B + start}
        inputs: dict[str, Any] = {"features": features}
        if outer_BT is not None:
            inputs[OUTER_WEIGHT] = outer_BT[:, part]
        chunks.append(
            Chunk(x_BT[:, part], y_BT[:, part], torch.ones_like(y_BT[:, part], dtype=torch.bool), inputs=inputs)
        )
    carry = {"stem": {}, "suffix": {}, "last_B": x_BT[:, 0]}
    return FastState(reader.init_weights(batch), {}, carry), chunks


def meta_loss(
    lm: E2ETransformer,
    x_BT: Tensor,
    y_BT: Tensor,
    meta: MetaConfig,
    *,
    outer_BT: Tensor | None = None,
    rate_factor: float = 1.0,
) -> Tensor:
    """The outer loss (nats): of every target, or with the weights ``outer_BT`` (summing to 1 a sequence).

    ``rate_factor`` 0: as without updates.
    """
    if not meta.updates or rate_factor == 0:
        logits_BTV, _ = lm(x_BT)
        if outer_BT is None:
            return F.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten())
        asked_BT = outer_BT > 0
        nats = F.cross_entropy(logits_BTV[asked_BT], y_BT[asked_BT], reduction="none")
        return (nats * outer_BT[asked_BT]).sum() / x_BT.shape[0]
    learner = e2e_learner(lm, 0, rate_factor=rate_factor, first_order=meta.first_order)
    assert isinstance(learner.model, E2EReader)
    state, chunks = fresh_chunks(learner.model, x_BT, y_BT, outer_BT)
    _, loss_BC = unroll(learner, state, chunks, create_graph=True, checkpoint=meta.remat)
    return loss_BC.mean() if outer_BT is None else loss_BC.sum(1).mean()


def read_adapting(
    lm: E2ETransformer,
    x_BT: Tensor,
    y_BT: Tensor,
    *,
    rates: Any = None,
    updates: bool = True,
    forget_every: int | None = None,
) -> tuple[Tensor, Tensor]:
    """``(logits_BTV, loss_BC)`` of whole sequences, each chunk read before it is learned; no graph.

    ``rates`` replaces the model's inner rates. Without ``updates`` nothing is learned. ``forget_every``: after so many
    chunks the fast weights return to their start; attention reads on.
    """
    learner = e2e_learner(lm, 0, rates=rates)
    assert isinstance(learner.model, E2EReader)
    with torch.no_grad():
        state, chunks = fresh_chunks(learner.model, x_BT, y_BT)
        start, logits, losses = state, [], []
        for number, chunk in enumerate(chunks):
            if forget_every is not None and number % forget_every == 0:
                state = replace(start, carry=state.carry)
            if updates:
                proposal = learner.propose(state, chunk)
                output, state = proposal.output, proposal.after
            else:
                output = learner.model.forward(state.weights, chunk.inputs["features"], chunk, state.carry)
                state = FastState(state.weights, state.rule, output.carry)
            assert output.logits_BTV is not None
            logits.append(output.logits_BTV)
            losses.append(output.loss_B)
    return torch.cat(logits, dim=1), torch.stack(losses, dim=1)


def kv_tensors(batch: KVBatch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """``x_BT``, ``y_BT`` and the outer weights: the mean over what is asked."""
    x_BT, y_BT, asked_BT = (torch.from_numpy(a).to(device) for a in (batch.x_BT, batch.y_BT, batch.asked_BT))
    outer_BT = asked_BT.float()
    return x_BT, y_BT, outer_BT / outer_BT.sum(1, keepdim=True)


@dataclass(frozen=True)
class KVScore:
    """Right answers among those asked, far and near; ``nats`` an answer; the inner loss a chunk."""

    far_right: int
    far_asked: int
    near_right: int
    near_asked: int
    nats: float
    curve_C: list[float]

    @property
    def far(self) -> float | None:
        return self.far_right / self.far_asked if self.far_asked else None

    @property
    def near(self) -> float | None:
        return self.near_right / self.near_asked if self.near_asked else None


def kv_score(
    lm: E2ETransformer,
    task: KVConfig,
    reach: Reach,
    *,
    sequences: int,
    seed: int,
    updates: bool = True,
    rates: Any = None,
    batch: int = 16,
    cancelled: Callable[[], bool] | None = None,
) -> KVScore:
    """Of held-out sequences. The best guess counts over the whole vocabulary."""
    far, near, nats, curves = [0, 0], [0, 0], 0.0, []
    device = lm.head.weight.device
    for number, start in enumerate(range(0, sequences, batch)):
        if cancelled is not None and cancelled():
            raise Cancelled
        drawn = held_out(task, reach, min(batch, sequences - start), seed, number)
        x_BT, y_BT, outer_BT = kv_tensors(drawn, device)
        logits_BTV, loss_BC = read_adapting(lm, x_BT, y_BT, rates=rates, updates=updates)
        right_BT = (logits_BTV.argmax(-1) == y_BT).cpu().numpy()
        for count, mask_BT in ((far, drawn.far_BT), (near, drawn.near_BT)):
            count[0] += int(right_BT[mask_BT].sum())
            count[1] += int(mask_BT.sum())
        nats_BT = F.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten(), reduction="none").view_as(outer_BT)
        nats += float((nats_BT * outer_BT).sum())
        curves.append(loss_BC)
    return KVScore(far[0], far[1], near[0], near[1], nats / sequences, torch.cat(curves).mean(0).tolist())


class MetaTrainer(Trainer):
    """As :class:`Trainer`, for runs whose config has ``meta``. One process."""

    first_look = True

    def __init__(
        self, config: TrainConfig, corpus: Corpus, tokenizer: Tokenizer, device: str = "cpu", world: World | None = None
    ) -> None:
        assert config.meta is not None
        self.meta = config.meta
        super().__init__(config, corpus, tokenizer, device, world)
        assert isinstance(self.model_config, E2EConfig)
        self.reach = reach_of(self.model_config)
        self._extras: dict[str, Any] = {}

    def _window_loss(self) -> Tensor:
        config, total = self.config, self.config.schedule_steps or self.config.steps
        outer_BT = None
        if self.meta.kv is None:
            x, y, _ = self.streams.window(self.position)
            x_BT, y_BT = (torch.from_numpy(a).to(self.device) for a in (x, y))
        else:
            task = self.meta.task(self.step)
            drawn = draw(task, self.reach, config.batch_size, config.seed, self.position)
            x_BT, y_BT, outer_BT = kv_tensors(drawn, self.device)
        self.position += self.streams.stride
        bf16 = config.precision == "bf16"
        factor = self.meta.inner_factor(self.step, total)
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
            return meta_loss(self.model, x_BT, y_BT, self.meta, outer_BT=outer_BT, rate_factor=factor)

    def evaluate(self, limit: int | None = None, cancelled: Callable[[], bool] | None = None) -> float:
        """Held-out bits per byte of text, read in windows of ``seq_len``; of ``kv``: bits an answer.

        With updates unless the run is without. Leaves what else was found for :meth:`extras`.
        """
        with self.averaged() as model:
            assert isinstance(model, E2ETransformer)
            model.eval()
            try:
                return self._kv_look(model, cancelled) if self.meta.kv else self._text_look(model, limit, cancelled)
            finally:
                model.train()

    def _kv_look(self, model: E2ETransformer, cancelled: Callable[[], bool] | None) -> float:
        assert self.meta.kv is not None
        on, off = (
            kv_score(
                model,
                self.meta.kv,
                self.reach,
                sequences=self.meta.eval_sequences,
                seed=self.config.seed,
                updates=updates,
                cancelled=cancelled,
            )
            for updates in (self.meta.updates, False)
        )
        found = {"far": on.far, "near": on.near, "inner_loss": on.curve_C, "inner_loss_off": off.curve_C}
        self._extras = found | self._rates(model)
        return on.nats / math.log(2)

    def _text_look(self, model: E2ETransformer, limit: int | None, cancelled: Callable[[], bool] | None) -> float:
        how: dict[str, Any] = {"limit": limit, "window": self.config.seq_len, "cancelled": cancelled}
        bits, curves = [], []
        for reader in (Adapting(model, self.meta.updates), model):
            along = Along(reader, self.config.seq_len, model.config.inner.chunk)
            score, n_bytes = corpus_score(along, self.corpus.val, self.tokenizer, inference=False, **how)
            bits.append(score.bits_per_byte(n_bytes))
            curves.append(along.curve_C())
        found = {"val_bpb_off": bits[1], "inner_loss": curves[0], "inner_loss_off": curves[1]}
        self._extras = found | self._rates(model)
        return bits[0]

    def _rates(self, model: E2ETransformer) -> dict[str, Any]:
        rates = model.rates()
        return (
            {"inner_rates": {name: float(r.detach()) for name, r in rates.items()}} if isinstance(rates, dict) else {}
        )

    def extras(self) -> dict[str, Any]:
        """What the last look found besides its figure; given once."""
        found, self._extras = self._extras, {}
        return found


class Adapting(torch.nn.Module):
    """The model as it reads whole windows from a fresh state and learns from them, for scoring: no carry."""

    def __init__(self, lm: E2ETransformer, updates: bool = True) -> None:
        super().__init__()
        self.lm, self.updates = lm, updates

    def forward(self, x_BT: Tensor, carry: None = None) -> tuple[Tensor, None]:
        """``logits_BTV``; the last token's own target is not needed, for nothing is read after it."""
        if carry is not None:
            raise Unsupported("a window of a text that learns is read from a fresh state: give no carry")
        y_BT = torch.cat([x_BT[:, 1:], x_BT[:, -1:]], dim=1)
        return read_adapting(self.lm, x_BT, y_BT, updates=self.updates)[0], None


class Along(torch.nn.Module):
    """Passes windows on to a reader, and keeps its loss (nats) at each place of those of ``window`` tokens."""

    def __init__(self, reader: torch.nn.Module, window: int, chunk: int) -> None:
        super().__init__()
        self.reader, self.chunk, self.windows = reader, chunk, 0
        self._nats_T = torch.zeros(window - 1)

    def forward(self, x_BT: Tensor, carry: None = None) -> tuple[Tensor, Any]:
        logits_BTV, after = self.reader(x_BT, carry)
        if x_BT.shape[1] == len(self._nats_T) + 1:
            nats = F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1).float(), x_BT[:, 1:].flatten(), reduction="none")
            self._nats_T += nats.view(len(x_BT), -1).sum(0).cpu()
            self.windows += len(x_BT)
        return logits_BTV, after

    def curve_C(self) -> list[float] | None:
        """The mean of each chunk (the last without its last token); None before the first whole window."""
        return [float(part.mean()) / self.windows for part in self._nats_T.split(self.chunk)] if self.windows else None

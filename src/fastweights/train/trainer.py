"""The training step: truncated backpropagation over contiguous streams, their state carried from window to window; or
over independent samples, each from a fresh state, by one process or several.

Knows tensors only: no store, no terminal. Legend: B streams or samples, T tokens of a window, V vocabulary.
"""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.data.corpus import Corpus, need_tokens
from fastweights.data.streams import Reader, Samples, Streams
from fastweights.data.tokenizer import Tokenizer
from fastweights.errors import Corrupt, FastweightsError, Unsupported
from fastweights.models.registry import build
from fastweights.models.scoring import corpus_score
from fastweights.train.config import TrainConfig
from fastweights.train.distributed import World
from fastweights.train.layout import layout_for
from fastweights.train.optim import Optimizers, matrices
from fastweights.train.rng import restore_rng, rng_state, seed_all
from fastweights.train.throughput import flops_per_token


class Diverged(FastweightsError):
    """The loss or the gradient is not finite; the weights are those of the step before."""

    exit_code = 1


class Trainer:
    """A model, its optimisers, and where they stand in the corpus. ``step`` counts finished optimiser steps.

    ``state``/``restore`` hold all of it, so that a restored trainer goes on bit for bit (same machine, same threads).
    """

    first_look = False  # whether the held-out text is looked at after the first step, too

    def __init__(
        self, config: TrainConfig, corpus: Corpus, tokenizer: Tokenizer, device: str = "cpu", world: World | None = None
    ) -> None:
        self.world = world or World(device=torch.device(device))
        if self.world.sharded and config.kind == "e2e":
            raise Unsupported(f"strategy {self.world.strategy}: an e2e model is trained in one process; give none")
        if self.world.sharded and (not config.samples or config.muon or config.ema):
            raise Unsupported(
                f"strategy {self.world.strategy} trains independent samples with AdamW and without an average of the "
                f"weights; a {config.kind} wants reading: samples, optim.rule: adamw and ema: null for that"
            )
        need_tokens(corpus, 1 if config.samples else config.batch_size, config.seq_len)
        self.config, self.corpus, self.tokenizer, self.device = config, corpus, tokenizer, self.world.device
        self.layout = layout_for(self.world)
        seed_all(config.seed)
        self.model_config = config.model_for(tokenizer.vocab_size)
        model = build(self.model_config).to(self.device)
        self.n_params = sum(p.numel() for p in model.parameters())
        self.flops_per_token = flops_per_token(model, self.model_config, config.seq_len)
        self.names = sorted(name for name, _ in model.named_parameters())
        decayed = None if config.muon else matrices(model)
        self.model: Any = self.layout.place(model)
        self.optimizers = Optimizers(self.model, config.optim, decayed=decayed)
        self.streams = self._reader()
        self.average = {n: p.detach().clone() for n, p in self.model.named_parameters()} if config.ema else None
        self.params = list(self.model.parameters())
        self.step = 0
        self.position = 0
        self.carry: dict[str, Tensor] | None = None
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self.loss_sum = torch.zeros((), dtype=exact, device=self.device)
        self.norm_sum = torch.zeros((), dtype=exact, device=self.device)
        self.since_row = 0
        if self.world.rank:  # the first process draws as one alone would
            torch.manual_seed(config.seed + 7919 * self.world.rank)

    def _reader(self) -> Reader:
        config, ids = self.config, self.corpus.train
        if not config.samples:
            return Streams(ids, config.batch_size, config.seq_len, self.tokenizer.bos_id, config.seed)
        world = self.world
        return Samples(ids, config.batch_size, config.seq_len, config.seed, rank=world.rank, world=world.size)

    @property
    def lr(self) -> float:
        """The rate of the matrices in the last step."""
        return self.config.peak_lr * self.config.lr_factor(max(self.step - 1, 0))

    def advance(self) -> None:
        """One optimiser step. :class:`Diverged` (before the weights change) if loss or gradient is not finite."""
        config = self.config
        loss = torch.zeros((), device=self.device)
        for i in range(config.accumulate):
            with contextlib.nullcontext() if i == config.accumulate - 1 else self.layout.local(self.model):
                part = self._window_loss() / config.accumulate
                part.backward()
            loss += part.detach()
        self.world.mean_(loss)
        norm = self._clip()
        if self.device.type == "cpu":  # elsewhere a look would stall the device: rows and checkpoints look
            self._need_finite(float(loss), float(norm))
        self.optimizers.step(config.lr_factor(self.step))
        self.optimizers.zero_grad()
        if self.average is not None:
            self._update_average()
        self.loss_sum += loss
        self.norm_sum += norm
        self.since_row += 1
        self.step += 1

    def _window_loss(self) -> Tensor:
        x, y, fresh = self.streams.window(self.position)
        self.position += self.streams.stride
        x_BT, y_BT = (torch.from_numpy(a).to(self.device, non_blocking=True) for a in (x, y))
        bf16 = self.config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
            logits_BTV, carry = self.model(x_BT, None if fresh else self.carry)
            loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), y_BT.flatten())
        if not self.config.samples:
            self.carry = {name: value.detach() for name, value in carry.items()}
        return loss

    def _clip(self) -> Tensor:
        """Global norm of the dense gradients (sparse ones neither count nor are clipped), clipped if so configured."""
        grads = [p.grad for p in self.optimizers.dense if p.grad is not None]
        norm = self.layout.norm(grads)
        if self.config.clip is not None:
            scale = (self.config.clip / (norm + 1e-6)).clamp(max=1.0)
            for grad in grads:
                grad.mul_(scale)
        return norm

    def _update_average(self) -> None:
        """The newest weights count for more at first, so that the average forgets the initial ones."""
        assert self.config.ema is not None
        assert self.average is not None
        part = max(1.0 - self.config.ema, 1.0 / (self.step + 2.0))
        with torch.no_grad():
            for mean, parameter in zip(self.average.values(), self.params, strict=True):
                mean.lerp_(parameter, part)

    def _need_finite(self, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"loss {loss} and gradient norm {norm} at step {self.step + 1} are not finite, so training stops; "
                "start anew with a lower --lr"
            )

    def row(self) -> tuple[float, float]:
        """Mean loss (nats a token) and gradient norm since the last call."""
        count = max(self.since_row, 1)
        loss, norm = float(self.loss_sum) / count, float(self.norm_sum) / count
        self._need_finite(loss, norm)
        self.start_row()
        return loss, norm

    def start_row(self) -> None:
        """Begin the means of the next row anew."""
        self.loss_sum.zero_()
        self.norm_sum.zero_()
        self.since_row = 0

    @contextlib.contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The model as it will be kept: with the average of its weights, if one is kept."""
        if self.average is None:
            yield self.model
            return
        own = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        try:
            self._copy_in(self.average)
            yield self.model
        finally:
            self._copy_in(own)

    def _copy_in(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(weights[name])

    def extras(self) -> dict[str, Any]:
        """What the last look at the held-out text found besides its figure, for the log; given once."""
        return {}

    def evaluate(self, limit: int | None = None, cancelled: Callable[[], bool] | None = None) -> float:
        """Bits per byte of the held-out text (its first ``limit`` tokens), read as in training. Changes nothing.

        Streams: from front to end, the state carried. Samples: windows of ``seq_len``, each from a fresh state.
        """
        window = self.config.seq_len if self.config.samples else None
        with self.averaged() as model:
            model.eval()
            try:
                how = {"window": window, "cancelled": cancelled, "inference": not self.world.sharded}
                score, n_bytes = corpus_score(model, self.corpus.val, self.tokenizer, limit=limit, **how)
            finally:
                model.train()
        return score.bits_per_byte(n_bytes)

    # ------------------------------------------------------------ state

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on: tensors (a sharded model's: this process' part), and JSON."""
        tensors = {f"model.{n}": t for n, t in self.layout.weights(self.model).items()}
        tensors |= {f"average.{n}": t for n, t in (self.average or {}).items()}
        tensors |= {f"carry.{n}": t for n, t in (self.carry or {}).items()}
        tensors |= {f"{self._rng_prefix()}{n}": t for n, t in rng_state().items()}
        tensors |= {"rows.loss": self.loss_sum, "rows.norm": self.norm_sum}
        tensors |= {f"optim.{n}": t for n, t in self.layout.slots(self.model, self.optimizers).items()}
        meta = {"position": self.position, "since_row": self.since_row, "carry": self.carry is not None}
        return tensors, {"step": self.step, "world": self.world.size, **meta}

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any], shards: Path | None = None) -> None:
        """Put back what :meth:`state` gave, into a trainer of the same config, or what lies in the folder ``shards``.

        The number of processes may differ: what comes next is then defined by the position, and the random state
        starts anew from seed and step. ``Corrupt`` if the tensors do not fit.
        """
        try:
            if shards is not None:
                tensors = self._read(shards)
            own = {n: t.to(self.device) for n, t in _under(tensors, "optim.").items()}
            self.layout.load(self.model, self.optimizers, _under(tensors, "model."), own)
            if self.average is not None:
                average = _under(tensors, "average.")
                self.average = {n: average[n].to(self.device, copy=True) for n in self.average}
            carry = {n: t.to(self.device, copy=True) for n, t in _under(tensors, "carry.").items()}
            self.carry = carry if meta["carry"] else None
            self.loss_sum = tensors["rows.loss"].to(self.device, copy=True)
            self.norm_sum = tensors["rows.norm"].to(self.device, copy=True)
            self.step, self.since_row = int(meta["step"]), int(meta["since_row"])
            self.position = int(meta["position"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise Corrupt(f"checkpoint does not fit the run: {' '.join(str(error).split())[:300]}") from None
        if meta.get("world", 1) == self.world.size:
            restore_rng(_under(tensors, self._rng_prefix()))
        else:
            seed_all((self.config.seed + 7919 * self.world.rank + 104729 * self.step) % 2**31)

    def _rng_prefix(self) -> str:
        return f"rng.{self.world.rank}." if self.world.rank else "rng."

    def _read(self, shards: Path) -> dict[str, Tensor]:
        from fastweights.train.shards import read_shards

        template = self.layout.template(self.model, self.optimizers)
        if template is None:
            return read_shards(shards, None)
        rest = {n: t.clone() for n, t in self.state()[0].items() if n.startswith(("rows.", "rng."))}
        return read_shards(shards, template | rest)

    def params_sha256(self) -> str:
        """SHA-256 over the parameters (whole, fp32, little-endian) in the order of their names, whatever the layout."""
        digest, wanted = hashlib.sha256(), set(self.names)
        for name, value in self.layout.full(self.model):
            if name in wanted:
                digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def export(self) -> dict[str, Tensor] | None:
        """The model's tensors as they will be kept, whole, in the first process; ``None`` in the others."""
        with self.averaged() as model:
            kept: dict[str, Tensor] = {}
            for name, value in self.layout.full(model):  # gathered by all
                if self.world.first:
                    kept[name] = value.detach().cpu().clone()
            return kept if self.world.first else None


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

"""The training step: truncated backpropagation over contiguous streams, their state carried from window to window.

Knows tensors only: no store, no files, no terminal. Legend: B streams, T tokens of a window, V vocabulary.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.data.corpus import Corpus, need_tokens
from fastweights.data.streams import Streams
from fastweights.data.tokenizer import Tokenizer
from fastweights.errors import Corrupt, FastweightsError
from fastweights.models.scoring import corpus_score
from fastweights.models.tiny_lm import TinyLM
from fastweights.train.config import TrainConfig
from fastweights.train.optim import Optimizers
from fastweights.train.rng import restore_rng, rng_state, seed_all


class Diverged(FastweightsError):
    """The loss or the gradient is not finite; the weights are those of the step before."""

    exit_code = 1


class Trainer:
    """A model, its optimisers, and where they stand in the corpus. ``step`` counts finished optimiser steps.

    ``state``/``restore`` hold all of it, so that a restored trainer goes on bit for bit (same machine, same threads).
    """

    def __init__(self, config: TrainConfig, corpus: Corpus, tokenizer: Tokenizer, device: str = "cpu") -> None:
        need_tokens(corpus, config.batch_size, config.seq_len)
        self.config, self.corpus, self.tokenizer, self.device = config, corpus, tokenizer, torch.device(device)
        seed_all(config.seed)
        self.model = TinyLM(config.model_for(tokenizer.vocab_size)).to(self.device)
        self.optimizers = Optimizers(self.model, config.optim)
        self.streams = Streams(corpus.train, config.batch_size, config.seq_len, tokenizer.bos_id, config.seed)
        self.average = {n: p.detach().clone() for n, p in self.model.named_parameters()} if config.ema else None
        self.params = list(self.model.parameters())
        self.step = 0
        self.windows = 0
        self.carry: dict[str, Tensor] | None = None
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self.loss_sum = torch.zeros((), dtype=exact, device=self.device)
        self.norm_sum = torch.zeros((), dtype=exact, device=self.device)
        self.since_row = 0

    @property
    def lr(self) -> float:
        """Muon's rate in the last step."""
        return self.config.optim.lr * self.config.lr_factor(max(self.step - 1, 0))

    def advance(self) -> None:
        """One optimiser step. :class:`Diverged` (before the weights change) if loss or gradient is not finite."""
        config = self.config
        loss = torch.zeros((), device=self.device)
        for _ in range(config.accumulate):
            part = self._window_loss() / config.accumulate
            part.backward()
            loss += part.detach()
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
        x, y, fresh = self.streams.window(self.windows)
        self.windows += 1
        x_BT, y_BT = (torch.from_numpy(a).to(self.device, non_blocking=True) for a in (x, y))
        bf16 = self.config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
            logits_BTV, carry = self.model(x_BT, None if fresh else self.carry)
            loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), y_BT.flatten())
        self.carry = {name: value.detach() for name, value in carry.items()}
        return loss

    def _clip(self) -> Tensor:
        """Global norm of the dense gradients (sparse ones neither count nor are clipped), clipped if so configured."""
        grads = [p.grad for p in self.optimizers.dense if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
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

    def evaluate(self, limit: int | None = None, cancelled: Callable[[], bool] | None = None) -> float:
        """Streaming bits per byte of the held-out text (its first ``limit`` tokens). Changes nothing."""
        with self.averaged() as model:
            model.eval()
            try:
                score, n_bytes = corpus_score(model, self.corpus.val, self.tokenizer, limit=limit, cancelled=cancelled)
            finally:
                model.train()
        return score.bits_per_byte(n_bytes)

    # ------------------------------------------------------------ state

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on: tensors, and a JSON value."""
        tensors = {f"model.{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"average.{n}": t for n, t in (self.average or {}).items()}
        tensors |= {f"carry.{n}": t for n, t in (self.carry or {}).items()}
        tensors |= {f"rng.{n}": t for n, t in rng_state().items()}
        tensors |= {"rows.loss": self.loss_sum, "rows.norm": self.norm_sum}
        tensors |= {f"optim.{n}": t for n, t in self.optimizers.state().items()}
        meta = {"windows": self.windows, "since_row": self.since_row, "carry": self.carry is not None}
        return tensors, {"step": self.step, **meta}

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back what :meth:`state` gave, into a trainer of the same config. ``Corrupt`` if they do not fit."""
        try:
            self.model.load_state_dict(_under(tensors, "model."), strict=True)
            if self.average is not None:
                average = _under(tensors, "average.")
                self.average = {n: average[n].to(self.device, copy=True) for n in self.average}
            carry = {n: t.to(self.device, copy=True) for n, t in _under(tensors, "carry.").items()}
            self.carry = carry if meta["carry"] else None
            self.optimizers.load({n: t.to(self.device) for n, t in _under(tensors, "optim.").items()})
            self.loss_sum = tensors["rows.loss"].to(self.device, copy=True)
            self.norm_sum = tensors["rows.norm"].to(self.device, copy=True)
            self.step, self.windows, self.since_row = int(meta["step"]), int(meta["windows"]), int(meta["since_row"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise Corrupt(f"checkpoint does not fit the run: {' '.join(str(error).split())[:300]}") from None
        restore_rng(_under(tensors, "rng."))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

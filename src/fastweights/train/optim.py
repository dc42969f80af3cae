"""Who updates what: Muon for the matrices of the backbone, row-wise Adagrad for hashed tables, AdamW for the rest;
or AdamW for all.

Legend: R rows that a batch touched (with repeats), D channels.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from fastweights.errors import Corrupt
from fastweights.layers.ngram import NGramEmbedding
from fastweights.train.config import OptimConfig

_BACKBONES = ("backbone.", "prefix_blocks.", "suffix_blocks.")


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulator a row, for tables of which a step touches few rows. Wants sparse gradients.

    An n-gram's rate falls as ``1 / sqrt(sum of its squared gradients)``: rare ones learn in great leaps, common ones in
    small steps. Repeated rows are not merged first: each occurrence counts, and nothing has to be sorted.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        if closure is not None:
            raise ValueError("RowAdagrad takes no closure; compute the gradient first")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not p.grad.is_sparse:
                    raise ValueError("RowAdagrad got a dense gradient; set sparse_grad on the embedding")
                rows_R, values_RD = p.grad._indices()[0], p.grad._values()
                state = self.state[p]
                if not state:
                    state["sum"] = p.new_zeros(p.shape[0])
                state["sum"].index_add_(0, rows_R, values_RD.square().mean(dim=1))
                rate_R = state["sum"][rows_R].sqrt_().add_(group["eps"]).reciprocal_().mul_(-group["lr"])
                p.index_add_(0, rows_R, values_RD * rate_R.unsqueeze(1))
        return None


class Optimizers:
    """The three of them as one: one schedule factor, one set of named tensors for a checkpoint.

    Tables are not scheduled: Adagrad slows down by itself, and what is read last must be learned as well as the rest.
    """

    def __init__(self, model: nn.Module, config: OptimConfig, *, decayed: set[str] | None = None) -> None:
        """``decayed``: no Muon; AdamW for all dense parameters, of which only those named here decay."""
        tables: set[Tensor] = set()
        for module in model.modules():
            if isinstance(module, NGramEmbedding):
                module.sparse_grad = True
                tables.add(module.weight)
        self._names: dict[Tensor, str] = {p: plain_name(name) for name, p in model.named_parameters()}
        dense = [(name, p) for p, name in self._names.items() if p not in tables]
        chosen = {name for name, p in dense if name.startswith(_BACKBONES) and _is_matrix(name, p)}
        muon = [p for name, p in dense if decayed is None and name in chosen]
        rest = [(name, p) for name, p in dense if decayed is not None or name not in chosen]
        self.dense = [*muon, *(p for _, p in rest)]
        """Parameters with dense gradients: those whose global norm is worth clipping."""
        self._all: list[torch.optim.Optimizer] = []
        if muon:
            self._all.append(
                torch.optim.Muon(
                    muon,
                    lr=config.lr,
                    momentum=config.momentum,
                    weight_decay=config.weight_decay,
                    adjust_lr_fn="original",
                )
            )
        if rest:
            self._all.append(_adamw(rest, config, decayed))
        if tables:
            self._all.append(RowAdagrad(sorted(tables, key=lambda p: self._names[p]), lr=config.table_lr))

    @property
    def single(self) -> torch.optim.Optimizer:
        """The one there is where AdamW updates all."""
        (optimizer,) = self._all
        return optimizer

    def step(self, factor: float = 1.0) -> None:
        """One update at ``factor`` times the peak rates (the tables': at the peak)."""
        for optimizer in self._all:
            if not isinstance(optimizer, RowAdagrad):
                for group in optimizer.param_groups:
                    group["lr"] = optimizer.defaults["lr"] * factor
            optimizer.step()

    def zero_grad(self) -> None:
        for p in self._names:
            p.grad = None

    def state(self) -> dict[str, Tensor]:
        """Every accumulator as ``"<kind>.<parameter>"``; empty before the first step. No copies."""
        return {
            f"{kind}.{self._names[p]}": value
            for optimizer in self._all
            for p, slots in optimizer.state.items()
            for kind, value in slots.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes back what :meth:`state` gave (copied); a run goes on as if it had not stopped.

        Raises ``Corrupt`` where a name belongs to no parameter of this model.
        """
        owners: dict[str, tuple[torch.optim.Optimizer, Any]] = {
            self._names[p]: (optimizer, p)
            for optimizer in self._all
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for optimizer in self._all:
            optimizer.state.clear()
        for name, value in state.items():
            kind, _, parameter = name.partition(".")
            if parameter not in owners:
                raise Corrupt(f"optimiser state {name!r} belongs to no parameter of this model; start a new run")
            optimizer, p = owners[parameter]
            optimizer.state[p][kind] = value.clone()


def matrices(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay is for."""
    return {name for name, p in model.named_parameters() if _is_matrix(name, p)}


def plain_name(name: str) -> str:
    """The name of a parameter without what FullyShardedDataParallel puts into it."""
    return name.replace("_fsdp_wrapped_module.", "")


def _adamw(named: list[tuple[str, Tensor]], config: OptimConfig, decayed: set[str] | None) -> torch.optim.AdamW:
    parts = [[p for name, p in named if decayed is None or name in decayed]]
    parts.append([p for name, p in named if decayed is not None and name not in decayed])
    rates = (config.weight_decay, 0.0)
    groups = [{"params": part, "weight_decay": rate} for part, rate in zip(parts, rates, strict=True) if part]
    return torch.optim.AdamW(groups, lr=config.adam_lr, betas=config.adam_betas, fused=True)


def _is_matrix(name: str, p: Tensor) -> bool:
    """A map from channels to channels; the taps of a convolution are a bundle of vectors."""
    return p.ndim == 2 and ".conv." not in name

"""SPFW: safety-projected fast weights. The *delta* is projected, not the gradient.

The candidate's delta d is replaced by the nearest d' (L2 over all fast weights) with <g_i, d'> <= 0 for every canary
gradient g_i: to first order no canary's loss rises, whatever rule made d. Projecting the gradient before Muon's
Newton-Schulz does not give that. Closed-form learners without a gradient are covered too.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.learner import Proposal
from fastweights.core.state import Delta, Weights, add
from fastweights.guard.mode import Mode
from fastweights.guard.policy import SpfwPolicy

Array = NDArray[np.float64]


def nonnegative_least_squares(gram_nn: Tensor, target_n: Tensor) -> Tensor:
    """``argmin_{x >= 0} x' G x / 2 - t' x`` for a positive semidefinite Gram matrix, fp64, by active sets.

    Lawson & Hanson (1974), chapter 23, on normal equations; exact up to rounding for the few canaries of a guard.
    """
    return torch.from_numpy(_solve(gram_nn.double().numpy(), target_n.double().numpy()))


def _solve(gram_nn: Array, target_n: Array) -> Array:
    """In numpy: on matrices this small the cost is that of the calls."""
    n = len(target_n)
    x_n = np.zeros(n)
    active = np.zeros(n, dtype=bool)  # the constraints that hold with equality: x may be positive there
    scale = float(gram_nn.diagonal().max()) if n else 0.0
    tolerance = 1e-12 * max(float(np.abs(target_n).max()) if n else 0.0, 1e-300)
    for _ in range(3 * n + 10):
        slope_n = target_n - gram_nn @ x_n
        slope_n[active] = -np.inf
        if n == 0 or slope_n.max() <= tolerance:
            break
        active[slope_n.argmax()] = True
        while True:
            index = active.nonzero()[0]
            ridge = 1e-14 * scale * np.eye(len(index))  # equal or opposite gradients
            solved = np.linalg.solve(gram_nn[np.ix_(index, index)] + ridge, target_n[index])
            if (solved > 0).all():
                x_n = np.zeros(n)
                x_n[index] = solved
                break
            old = x_n[index]
            falling = solved <= 0
            step = float((old[falling] / np.maximum(old[falling] - solved[falling], 1e-300)).min())
            moved = old + step * (solved - old)
            x_n = np.zeros(n)
            x_n[index] = np.maximum(moved, 0)
            active = x_n > 0
            if not active.any():
                break
    return x_n


def project(delta: Delta, canary_grads: Weights) -> Delta:
    """The nearest delta (B = 1) with a non-positive inner product with every canary gradient ``[n, ...]``.

    In the delta's dtype, the multipliers in fp64, polished twice; a delta that already satisfies all is returned as it
    is (the same object). If rounding leaves a product above 1e-6 of the norms, the zero delta is returned: always
    allowed, never harmful. Gradients that are not finite leave the delta alone (the finite check sees their loss).
    """
    names = list(delta)
    d_P = _flat([delta[name][0] for name in names])
    g_nP = _flat([canary_grads[name] for name in names], keep=1)
    gram_nn = _double(g_nP @ g_nP.T)
    products_n = _double(g_nP @ d_P)
    if not ((products_n > 0).any() and np.isfinite(gram_nn).all() and np.isfinite(products_n).all()):
        return delta
    norm_n = np.sqrt(gram_nn.diagonal())
    keep = norm_n > 0
    gram_nn = gram_nn[np.ix_(keep, keep)] / (norm_n[keep, None] * norm_n[keep])
    bound_n = 1e-6 * norm_n * float(d_P.norm())
    for _ in range(3):
        multipliers_n = np.zeros_like(norm_n)
        multipliers_n[keep] = _solve(gram_nn, products_n[keep] / norm_n[keep]) / norm_n[keep]
        d_P = d_P - torch.from_numpy(multipliers_n).to(d_P) @ g_nP
        products_n = _double(g_nP @ d_P)
        if not (products_n > 0.1 * bound_n).any():
            break
    if (products_n > bound_n).any():
        d_P = torch.zeros_like(d_P)
    split = d_P.split([delta[name].numel() for name in names])
    return {name: part.view(delta[name].shape) for name, part in zip(names, split, strict=True)}


def _double(small: Tensor) -> Array:
    return small.double().cpu().numpy()


def _flat(tensors: list[Tensor], keep: int = 0) -> Tensor:
    """One tensor with all but the first ``keep`` dimensions in a row; a view where there is one tensor only."""
    parts = [t.reshape(*t.shape[:keep], -1) for t in tensors]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class SPFW:
    """The projector of :func:`project` for a proposal."""

    name: ClassVar[str] = "spfw"

    def __init__(self, policy: SpfwPolicy) -> None:
        self.mode: Mode = policy.mode

    def __call__(self, proposal: Proposal, canary_grads: Mapping[str, Tensor], /) -> Proposal:
        delta = project(proposal.delta, canary_grads)
        if delta is proposal.delta:
            return proposal
        after = proposal.after.__class__(
            add(proposal.before.weights, delta), proposal.after.rule, proposal.after.carry, proposal.after.step
        )
        return proposal._replace(delta=delta, after=after)

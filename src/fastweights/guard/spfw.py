"""SPFW: safety-projected fast weights. The *delta* is projected, not the gradient.

The candidate's delta d is replaced by the nearest d' (L2 over all fast weights) with <g_i, d'> <= 0 for every canary
gradient g_i: to first order no canary's loss rises, whatever rule made d. Projecting the gradient before Muon's
Newton-Schulz does not give that. Closed-form learners without a gradient are covered too.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from fastweights.core.learner import Proposal
from fastweights.core.state import Delta, Weights, add
from fastweights.guard.policy import Mode, SpfwPolicy


def nonnegative_least_squares(gram_nn: Tensor, target_n: Tensor) -> Tensor:
    """``argmin_{x >= 0} x' G x / 2 - t' x`` for a positive semidefinite Gram matrix, fp64, by active sets.

    Lawson & Hanson (1974), chapter 23, on normal equations; exact up to rounding for the few canaries of a guard.
    """
    n = len(target_n)
    x_n = torch.zeros(n, dtype=torch.float64)
    active = torch.zeros(n, dtype=torch.bool)  # the constraints that hold with equality: x may be positive there
    scale = float(gram_nn.diagonal().max()) if n else 0.0
    tolerance = 1e-12 * max(float(target_n.abs().max()) if n else 0.0, 1e-300)
    for _ in range(3 * n + 10):
        slope_n = target_n - gram_nn @ x_n
        slope_n[active] = -torch.inf
        if n == 0 or float(slope_n.max()) <= tolerance:
            break
        active[int(slope_n.argmax())] = True
        while True:
            index = active.nonzero().flatten()
            ridge = 1e-14 * scale * torch.eye(len(index), dtype=torch.float64)  # equal or opposite gradients
            solved = torch.linalg.solve(gram_nn[index][:, index] + ridge, target_n[index])
            if bool((solved > 0).all()):
                x_n = torch.zeros(n, dtype=torch.float64)
                x_n[index] = solved
                break
            old = x_n[index]
            falling = solved <= 0
            step = float((old[falling] / (old[falling] - solved[falling]).clamp(min=1e-300)).min())
            moved = old + step * (solved - old)
            x_n = torch.zeros(n, dtype=torch.float64)
            x_n[index] = moved.clamp(min=0)
            active = x_n > 0
            if not bool(active.any()):
                break
    return x_n


def project(delta: Delta, canary_grads: Weights) -> Delta:
    """The nearest delta (B = 1) with a non-positive inner product with every canary gradient ``[n, ...]``.

    Computed in fp64 and returned in the delta's dtype; a delta that already satisfies all is returned as it is (the
    same object). If rounding leaves a canary's product positive by more than 1e-6 of the norms, the zero delta is
    returned: always allowed, never harmful.
    """
    names = list(delta)
    d_P = torch.cat([delta[name].flatten() for name in names]).double()
    g_nP = torch.cat([canary_grads[name].flatten(1) for name in names], dim=1).double()
    norm_n = g_nP.norm(dim=1)
    g_nP = g_nP[norm_n > 0] / norm_n[norm_n > 0, None]
    products_n = g_nP @ d_P
    if not bool((products_n > 0).any()):
        return delta
    multipliers_n = nonnegative_least_squares(g_nP @ g_nP.T, products_n)
    d_P = d_P - multipliers_n @ g_nP
    if bool((g_nP @ d_P > 1e-6 * products_n.abs().max()).any()):
        d_P = torch.zeros_like(d_P)
    split = d_P.split([delta[name].numel() for name in names])
    return {name: part.view(delta[name].shape).to(delta[name].dtype) for name, part in zip(names, split, strict=True)}


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

"""SPFW: safety-projected fast weights. The *delta* is projected, not the gradient.

The candidate's delta d is replaced by the nearest d' (L2 over all fast weights) with <g_i, d'> <= 0 for every canary
gradient g_i: to first order no canary's loss rises, whatever rule made d. Projecting the gradient before Muon's
Newton-Schulz does not give that. Closed-form learners without a gradient are covered too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.learner import Proposal
from fastweights.core.state import Delta, Weights, add, map_rows, values_of
from fastweights.core.table import RowDelta
from fastweights.guard.mode import Mode
from fastweights.guard.policy import SpfwPolicy

Array = NDArray[np.floating]

_RIDGE = 1e-12  # of the unit gradients' Gram matrix: equal gradients
_SHORTEST = 0.05  # of the projected step
_RISE, _GAP = 1e-6, 1e-7  # of the delta's length, and of its square: what rounding may leave of the Gram's answer


def nonnegative_least_squares(a_kn: Array, b_k: Array) -> Array:
    """``argmin_{x >= 0} |A x - b|`` for columns of unit length, by active sets (Lawson & Hanson, 1974, chapter 23).

    Least-squares solutions of the active columns, not normal equations: exact up to rounding for columns that are
    nearly, or wholly, dependent.
    """
    n = a_kn.shape[1]
    x_n = np.zeros(n)
    active = np.zeros(n, dtype=bool)  # the columns whose x may be positive
    tolerance = 1e-12 * float(np.abs(b_k).max(initial=0.0))
    for _ in range(3 * n + 10):
        slope_n = a_kn.T @ (b_k - a_kn @ x_n)
        slope_n[active] = -np.inf
        if n == 0 or slope_n.max() <= tolerance:
            break
        active[slope_n.argmax()] = True
        while active.any():
            index = active.nonzero()[0]
            solved = np.linalg.lstsq(a_kn[:, index], b_k, rcond=None)[0]
            old, falling = x_n[index], solved <= 0
            x_n = np.zeros(n)
            if not falling.any():
                x_n[index] = solved
                break
            step = float((old[falling] / np.maximum(old[falling] - solved[falling], 1e-300)).min())
            x_n[index] = np.maximum(old + step * (solved - old), 0)
            active = x_n > 0
    return x_n


def project(delta: Delta, canary_grads: Weights) -> Delta:
    """The nearest delta (B = 1) with a non-positive inner product with every canary gradient ``[n, ...]``.

    By Moreau, what is taken away is ``sum_i x_i g_i`` with the ``x >= 0`` that brings it nearest to the delta. In the
    delta's dtype from the Gram matrix where that is sure to be exact enough (checked), else in fp64 in an orthonormal
    basis of the gradients: so it also holds for gradients that are nearly opposite, where the allowed deltas are a thin
    wedge. A delta that already satisfies all is returned as it is (the same object). Gradients that are not finite
    leave the delta alone (the finite check sees their loss).
    """
    names = list(delta)
    d_P = _flat([delta[name][0] for name in names])
    g_nP = _flat([canary_grads[name] for name in names], keep=1)
    gram_nn, products_n = _double(g_nP @ g_nP.T), _double(g_nP @ d_P)
    if not ((products_n > 0).any() and np.isfinite(gram_nn).all() and np.isfinite(products_n).all()):
        return delta
    norm_n = np.sqrt(gram_nn.diagonal())
    keep = norm_n > 0
    g_nP, norm_n = g_nP[torch.from_numpy(keep)] if not keep.all() else g_nP, norm_n[keep]
    gram_nn = gram_nn[np.ix_(keep, keep)] / (norm_n[:, None] * norm_n)
    projected_P = _by_gram(d_P, g_nP, gram_nn, products_n[keep] / norm_n, norm_n)
    if projected_P is None:
        projected_P = _by_basis(d_P, g_nP, norm_n)
    split = projected_P.split([delta[name].numel() for name in names])
    return {name: part.view(delta[name].shape) for name, part in zip(names, split, strict=True)}


def _by_gram(d_P: Tensor, g_nP: Tensor, gram_nn: Array, b_n: Array, norm_n: Array) -> Tensor | None:
    """From the Gram matrix of the unit gradients and their products with the delta; None where rounding tells."""
    try:
        factor_nn = np.linalg.cholesky(gram_nn + _RIDGE * np.eye(len(b_n)))
    except np.linalg.LinAlgError:
        return None
    x_n = nonnegative_least_squares(factor_nn.T, np.linalg.solve(factor_nn, b_n))
    projected_P = d_P - torch.from_numpy(x_n / norm_n).to(d_P) @ g_nP
    left_n = _double(g_nP @ projected_P) / norm_n
    length = float(d_P.norm())
    gap = float(x_n @ np.abs(left_n))  # of the optimality conditions: x_i > 0 only where the product is 0
    return projected_P if left_n.max() <= _RISE * length and gap <= _GAP * length**2 else None


def _by_basis(d_P: Tensor, g_nP: Tensor, norm_n: Array) -> Tensor:
    """In fp64: QR turns it into a problem of as many dimensions as there are gradients."""
    unit_Pn = (_double(g_nP) / norm_n[:, None]).T
    basis_Pk, r_kn = np.linalg.qr(unit_Pn)
    wanted_P = _double(d_P)
    taken_k = r_kn @ nonnegative_least_squares(r_kn, basis_Pk.T @ wanted_P)
    return torch.from_numpy(wanted_P - basis_Pk @ taken_k).to(d_P)


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
        self.max_rise = policy.max_rise

    def __call__(self, proposal: Proposal, canary_grads: Mapping[str, Any], /) -> Proposal:
        proposal = _owners_kept(proposal, canary_grads)
        delta = {name: values_of(d) for name, d in proposal.delta.items()}
        projected = project(delta, {name: _along(canary_grads[name], d) for name, d in proposal.delta.items()})
        if projected is delta:
            return proposal
        return _with_delta(
            proposal, {name: map_rows(lambda _, n=name: projected[n], d) for name, d in proposal.delta.items()}
        )

    def shorten(
        self, proposal: Proposal, rise_of: Callable[[Weights], float | None], canary_grads: Mapping[str, Any]
    ) -> Proposal:
        """The proposal scaled down until no canary rises by more than ``max_rise``; itself where none does.

        Of a table only the rows that a canary reads are scaled: the others cannot raise it.

        ``rise_of``: the largest canary rise under given weights. Without a first-order rise, the rest is of second
        order, so the square root of its excess is how far the step is too long. It never gets shorter than a twentieth:
        what is too long even then is no step that this rule should make, and the candidate checks judge it.
        """
        short, scale = proposal, 1.0
        while scale > _SHORTEST:
            rise = rise_of(short.after.weights)
            if rise is None or not rise > self.max_rise:  # also NaN, which the finite check refuses
                break
            scale = max(0.9 * scale * math.sqrt(self.max_rise / rise), _SHORTEST)
            scaled = {name: _scaled(d, scale, canary_grads[name]) for name, d in proposal.delta.items()}
            short = _with_delta(proposal, scaled)
        return short


def _owners_kept(proposal: Proposal, canary_grads: Mapping[str, Any]) -> Proposal:
    """Of tagged tables, entries that a canary reads keep their owner: losing one has no first order, nor a half."""
    kept: dict[str, Any] = {}
    for name, d in proposal.delta.items():
        if not isinstance(d, RowDelta) or d.tags_BN is None:
            continue
        index_n = torch.isin(d.rows_N, canary_grads[name].rows_N).nonzero()[:, 0]
        tags_Bn = proposal.before.weights[name].read_tagged(d.rows_N[index_n][None])[1]
        lost_Bn = (tags_Bn != 0) & (tags_Bn != d.tags_BN[:, index_n])
        if bool(lost_Bn.any()):
            values_BN, new_BN = d.values_BN.clone(), d.tags_BN.clone()
            values_BN[:, index_n] = values_BN[:, index_n].masked_fill(lost_Bn, 0)
            new_BN[:, index_n] = torch.where(lost_Bn, tags_Bn, new_BN[:, index_n])
            kept[name] = RowDelta(d.rows_N, values_BN, new_BN)
    return _with_delta(proposal, {**proposal.delta, **kept}) if kept else proposal


def _along(grads: Tensor | RowDelta, delta: Tensor | RowDelta) -> Tensor:
    """Canary gradients at the entries that the delta changes: no other entry is written."""
    return values_of(grads) if not isinstance(delta, RowDelta) else cast(RowDelta, grads).at(delta.rows_N)


def _scaled(delta: Tensor | RowDelta, scale: float, grads: Tensor | RowDelta) -> Tensor | RowDelta:
    """The delta times ``scale``; of a table where a canary reads."""
    if not isinstance(delta, RowDelta):
        return scale * delta
    read_N = torch.isin(delta.rows_N, cast(RowDelta, grads).rows_N)
    return delta._replace(values_BN=torch.where(read_N, scale * delta.values_BN, delta.values_BN))


def _with_delta(proposal: Proposal, delta: Delta) -> Proposal:
    after = replace(proposal.after, weights=add(proposal.before.weights, delta))
    return proposal._replace(delta=delta, after=after)

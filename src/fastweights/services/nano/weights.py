"""A Nano session's plastic matrices as numbers to draw. Reads snapshots with numpy; no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastweights.services.nano.session_records import MatrixChange, NanoMatrix
from fastweights.services.verbs.diff import figures
from fastweights.store import tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("W_u", "B", "W_o")


def matrices(state: bytes, against: bytes | None) -> list[NanoMatrix]:
    """Each plastic matrix of a snapshot, compared with the base model's and with that of another snapshot."""
    entries, _ = tensors.unpack(state, "state snapshot")
    others = None if against is None else tensors.unpack(against, "state snapshot")[0]
    return [_matrix(name, entries, others) for name in NAMES]


def effective_rank(singular: NDArray[Any]) -> float:
    """exp of the entropy of the singular values' shares: n where n are equal, 0 where all are 0."""
    import numpy as np

    total = float(singular.sum())
    if total == 0:
        return 0.0
    share = singular[singular > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def _matrix(name: str, entries: dict[str, tensors.Raw], others: dict[str, tensors.Raw] | None) -> NanoMatrix:
    import numpy as np

    here, base = _array(entries[f"weights/{name}"]), _array(entries[f"base/{name}"])
    other = None if others is None else _array(others[f"weights/{name}"])
    singular = np.linalg.svd(here, compute_uv=False)
    return NanoMatrix(
        name=name,
        shape=(here.shape[0], here.shape[1]),
        values=here.tolist(),
        base=base.tolist(),
        against=None if other is None else other.tolist(),
        norm=float(np.linalg.norm(here)),
        singular_values=singular.tolist(),
        effective_rank=effective_rank(singular),
        from_base=_change(base, here),
        from_against=None if other is None else _change(other, here),
    )


def _array(raw: tensors.Raw) -> NDArray[Any]:
    """``[rows, columns]`` fp64; a batch of one is dropped."""
    import numpy as np

    _, shape, data = raw
    return np.frombuffer(data, "<f4").reshape(shape[-2:]).astype(np.float64)


def _change(before: NDArray[Any], after: NDArray[Any]) -> MatrixChange:
    found = figures(before, after)
    return MatrixChange(**{key: found[key] for key in ("l2", "max", "mean", "relative")})

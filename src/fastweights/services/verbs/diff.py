"""How two states differ, tensor by tensor. Reads snapshots with numpy; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from fastweights.errors import Corrupt
from fastweights.services.verbs.records import NumberChange, RowChange, TensorChange
from fastweights.store import tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOP = 5
_PARTS: tuple[Literal["weights", "rule"], ...] = ("weights", "rule")


def read_arrays(state: bytes) -> dict[str, NDArray[Any]]:
    """The floating-point tensors of a snapshot's ``weights/`` and ``rule/`` as float64."""
    import numpy as np

    dtypes = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    found: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape, data) in tensors.unpack(state, "state snapshot")[0].items():
        if name.split("/")[0] not in _PARTS:
            continue
        if dtype == "BF16":
            flat = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif dtype in dtypes:
            flat = np.frombuffer(data, dtypes[dtype])
        else:
            continue
        found[name] = flat.reshape(shape).astype(np.float64)
    return found


def scalar(state: bytes, name: str) -> int | None:
    """An int64 scalar of the snapshot (None if it has none of that name)."""
    raw = tensors.unpack(state, "state snapshot")[0].get(name)
    return int.from_bytes(raw[2], "little", signed=True) if raw is not None and raw[0] == "I64" else None


def read_pair(state_a: bytes, state_b: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """:meth:`read_arrays` of both; of a table that both have, the rows that either of them has."""
    import numpy as np

    arrays = read_arrays(state_a), read_arrays(state_b)
    rows_a, rows_b = _table_rows(state_a), _table_rows(state_b)
    for name in rows_a.keys() & rows_b.keys():
        rows = np.union1d(rows_a[name], rows_b[name])
        for found, own in zip(arrays, (rows_a[name], rows_b[name]), strict=True):
            values = found.pop(f"{name}/values", None)
            if values is not None:
                found[name] = np.zeros((len(values), len(rows)))
                found[name][:, np.searchsorted(rows, own)] = values
    return arrays


def _table_rows(state: bytes) -> dict[str, NDArray[Any]]:
    import numpy as np

    entries = tensors.unpack(state, "state snapshot")[0]
    return {
        name.removesuffix("/rows"): np.frombuffer(data, "<i8")
        for name, (dtype, _, data) in entries.items()
        if dtype == "I64" and name.endswith("/rows") and name.split("/")[0] in _PARTS
    }


def tensor_changes(state_a: bytes, state_b: bytes) -> list[TensorChange]:
    """Every tensor that either has, weights first, those that changed most first."""
    a, b = read_pair(state_a, state_b)
    changes = [_change(name, a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys())]
    return sorted(changes, key=lambda c: (_PARTS.index(c.part), -(c.l2 or 0.0), c.name))


def overall(state_a: bytes, state_b: bytes) -> dict[str, float | None]:
    """``l2``, ``max``, ``relative`` and ``cosine`` over all fast weights that have one shape in both."""
    import numpy as np

    a, b = read_pair(state_a, state_b)
    names = [n for n in sorted(a) if n.startswith("weights/") and n in b and a[n].shape == b[n].shape]
    flat_a = np.concatenate([np.zeros(0), *(a[n].ravel() for n in names)])
    flat_b = np.concatenate([np.zeros(0), *(b[n].ravel() for n in names)])
    found = figures(flat_a, flat_b)
    return {key: found[key] for key in ("l2", "max", "relative", "cosine")}


def figures(a: NDArray[Any], b: NDArray[Any]) -> dict[str, Any]:
    """Of the change from ``a`` to ``b``; None where it cannot be said (a norm of 0)."""
    import numpy as np

    delta = b - a
    l2, norm_a, norm_b = (float(np.linalg.norm(x)) for x in (delta.ravel(), a.ravel(), b.ravel()))
    cosine = float(np.clip(np.vdot(a, b) / (norm_a * norm_b), -1.0, 1.0)) if norm_a and norm_b else None
    return {
        "l2": l2,
        "max": float(np.abs(delta).max(initial=0.0)),
        "mean": float(np.abs(delta).mean()) if delta.size else 0.0,
        "relative": l2 / norm_a if norm_a else None,
        "cosine": cosine,
        "norm_a": norm_a,
        "norm_b": norm_b,
    }


def _change(name: str, a: NDArray[Any] | None, b: NDArray[Any] | None) -> TensorChange:
    import numpy as np

    part, _, short = name.partition("/")
    shapes = {
        "shape_a": None if a is None else [*a.shape],
        "shape_b": None if b is None else [*b.shape],
    }
    if part not in _PARTS:
        raise Corrupt(f"tensor {name!r} is neither a weight nor a rule's: the snapshot is of another version")
    if a is None or b is None or a.shape != b.shape:
        unknown = dict.fromkeys(("l2", "max", "mean", "relative", "cosine", "norm_a", "norm_b", "changed_rows", "rows"))
        return TensorChange(name=short, part=part, **shapes, **unknown, top_rows=[])
    delta = b - a
    rows = 1 if delta.ndim < 2 else math.prod(delta.shape[:2])
    norms = np.linalg.norm(delta.reshape(rows, -1), axis=1)
    top = [int(i) for i in np.argsort(-norms, kind="stable")[:_TOP] if norms[i] > 0]
    return TensorChange(
        name=short,
        part=part,
        **shapes,
        **figures(a, b),
        changed_rows=int((norms > 0).sum()),
        rows=rows,
        top_rows=[RowChange(row=i, l2=float(norms[i])) for i in top],
    )


def number_changes(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> list[NumberChange]:
    """Figures by name, in the order in which they are given."""
    changes = []
    for name in dict.fromkeys([*a, *b]):
        before, after = a.get(name), b.get(name)
        change = None if before is None or after is None else after - before
        changes.append(NumberChange(name=name, a=before, b=after, change=change))
    return changes


def first_mismatch(expected: bytes, found: bytes) -> tuple[str | None, str]:
    """(tensor, what differs) of two snapshots whose bytes differ, the first by name; tensor None: not in a tensor."""
    import numpy as np

    (a, meta_a), (b, meta_b) = tensors.unpack(expected, "recorded state"), tensors.unpack(found, "recomputed state")
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) == b.get(name):
            continue
        if name not in a or name not in b:
            return name, f"tensor {name!r} is {'not recomputed' if name in a else 'not recorded'}"
        if a[name][:2] != b[name][:2]:
            return name, f"tensor {name!r} is {a[name][0]}{list(a[name][1])}, recomputed {b[name][0]}{list(b[name][1])}"
        total = math.prod(a[name][1])
        bytes_a, bytes_b = (np.frombuffer(raw[name][2], "u1").reshape(total, -1) for raw in (a, b))
        count = int((bytes_a != bytes_b).any(axis=1).sum())
        largest = _largest(name, expected, found)
        return name, f"tensor {name!r} differs in {count} of {total} values{largest}"
    return None, f"snapshots hold the same tensors but not the same bytes (metadata {meta_a} and {meta_b})"


def _largest(name: str, expected: bytes, found: bytes) -> str:
    import numpy as np

    a, b = read_arrays(expected), read_arrays(found)
    return f", by at most {float(np.abs(a[name] - b[name]).max()):.3g}" if name in a and name in b else ""

"""A snapshot as what changed since another one. Torch-free.

Of a table (``NAME/rows``, ascending, with ``NAME/values`` and the like beside it, one column a row) the rows that
changed; any other tensor as its bits XOR those that it had. Both lie by planes of bytes, deflated: rows that a turn
wrote have few different values, and the high bytes of most weights stay as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastweights.store import tensors
from fastweights.store.tensors import Raw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

ROWS = "/rows"
_WHOLE, _XOR, _AT, _GONE, _COLUMN = "whole", "xor", "at", "gone", "column"


def has_table(entries: Mapping[str, Raw]) -> bool:
    return any(name.endswith(ROWS) for name in entries)


def between(old: Mapping[str, Raw], new: Mapping[str, Raw]) -> bytes:
    """What makes ``new`` of ``old``; :func:`apply` is the way back."""
    import numpy as np

    found: dict[str, Raw] = {}
    tables = {name.removesuffix(ROWS) for name in new if name.endswith(ROWS)}
    tables = {table for table in tables if _alike(old, new, table)}
    for table in tables:
        was_N, is_N = _array(old[table + ROWS]), _array(new[table + ROWS])
        before_C, after_C = _common(was_N, is_N)
        columns = _columns(new, table)
        changed_N, gone_N = np.ones(len(is_N), bool), np.ones(len(was_N), bool)
        gone_N[before_C], changed_N[after_C] = False, False
        for name in columns:
            pairs = zip(_array(old[name]), _array(new[name]), strict=True)
            changed_N[after_C] |= np.any([before[before_C] != after[after_C] for before, after in pairs], axis=0)
        for kind, rows_N in ((_AT, is_N[changed_N]), (_GONE, was_N[gone_N])):
            found[f"{kind}:{table}"] = _raw(new[table + ROWS][0], np.diff(rows_N, prepend=rows_N.dtype.type(0)))
        for name in columns:
            found[f"{_COLUMN}:{name}"] = _raw(new[name][0], _array(new[name])[:, changed_N])
    for name, (dtype, shape, data) in new.items():
        if name.rpartition("/")[0] in tables:
            continue
        if name in old and old[name][:2] == (dtype, shape):
            bits = np.frombuffer(data, np.uint8) ^ np.frombuffer(old[name][2], np.uint8)
            found[f"{_XOR}:{name}"] = (dtype, shape, bits.tobytes())
        else:
            found[f"{_WHOLE}:{name}"] = (dtype, shape, data)
    planes = {name: (dtype, shape, _planes(data, tensors.width(dtype))) for name, (dtype, shape, data) in found.items()}
    return zlib.compress(tensors.pack(planes), 1)


def apply(old: Mapping[str, Raw], delta: bytes) -> dict[str, Raw]:
    """The entries of the snapshot that :func:`between` saw. Raises ValueError, KeyError or ``zlib.error`` where the two
    do not belong together."""
    import numpy as np

    planes, _ = tensors.unpack(zlib.decompress(delta), "delta")
    found: dict[str, Raw] = {}
    for tagged, (dtype, shape, data) in planes.items():
        kind, _, name = tagged.partition(":")
        if kind == _WHOLE:
            found[name] = (dtype, shape, _words(data, tensors.width(dtype)))
        elif kind == _XOR:
            bits = np.frombuffer(_words(data, tensors.width(dtype)), np.uint8) ^ np.frombuffer(old[name][2], np.uint8)
            found[name] = (dtype, shape, bits.tobytes())
        elif kind == _AT:
            found |= _merged(old, planes, name)
    return found


def _merged(old: Mapping[str, Raw], planes: Mapping[str, Raw], table: str) -> dict[str, Raw]:
    """A table's rows and columns."""
    import numpy as np

    was_N = _array(old[table + ROWS])
    changed_M, gone_G = (np.cumsum(_unplaned(planes[f"{kind}:{table}"]), dtype=was_N.dtype) for kind in (_AT, _GONE))
    where_M, kept_N = np.searchsorted(was_N, changed_M), np.ones(len(was_N), bool)
    known_M = was_N.take(where_M, mode="clip") == changed_M if len(was_N) else np.zeros(len(changed_M), bool)
    kept_N[where_M[known_M]] = kept_N[np.searchsorted(was_N, gone_G)] = False
    at_M = where_M - np.searchsorted(np.flatnonzero(~kept_N), where_M) + np.arange(len(where_M))
    old_slots = np.ones(int(kept_N.sum()) + len(at_M), bool)
    old_slots[at_M] = False

    def merge(before_N: Array, values_M: Array) -> Array:
        after = np.empty(len(old_slots), before_N.dtype)
        after[old_slots], after[at_M] = before_N[kept_N], values_M
        return after

    found = {table + ROWS: _raw(old[table + ROWS][0], merge(was_N, changed_M))}
    for name in _columns(old, table):
        pairs = zip(_array(old[name]), _unplaned(planes[f"{_COLUMN}:{name}"]), strict=True)
        found[name] = _raw(old[name][0], np.stack([merge(before, values) for before, values in pairs]))
    return found


def _alike(old: Mapping[str, Raw], new: Mapping[str, Raw], table: str) -> bool:
    """Whether both hold the table, with the same columns of the same types."""

    def kinds(entries: Mapping[str, Raw]) -> list[tuple[str, str, tuple[int, ...]]] | None:
        if table + ROWS not in entries or len(entries[table + ROWS][1]) != 1:
            return None
        rows_N = _array(entries[table + ROWS])
        columns = [entries[name] for name in _columns(entries, table)]
        whole = all(len(shape) == 2 and shape[1] == len(rows_N) for _, shape, _ in columns)
        return [
            (name, entries[name][0], entries[name][1][:-1]) for name in (table + ROWS, *_columns(entries, table))
        ] if whole and bool((rows_N[1:] > rows_N[:-1]).all()) else None  # fmt: skip

    return kinds(old) == kinds(new) is not None


def _columns(entries: Mapping[str, Raw], table: str) -> list[str]:
    return sorted(name for name in entries if name.rpartition("/")[0] == table and not name.endswith(ROWS))


def _common(a_N: Array, b_M: Array) -> tuple[Array, Array]:
    """Where the numbers lie that are in both, each ascending."""
    import numpy as np

    both = np.concatenate([a_N, b_M])
    order = both.argsort(kind="stable")  # linear: two runs
    both = both[order]
    twice = np.flatnonzero(both[1:] == both[:-1])
    return order[twice], order[twice + 1] - len(a_N)


def _array(raw: Raw) -> Array:
    """As integers of the same width."""
    import numpy as np

    dtype, shape, data = raw
    kind = "i" if dtype.startswith("I") else "u"
    return np.frombuffer(data, f"<{kind}{tensors.width(dtype)}").reshape(shape)


def _raw(dtype: str, array: Array) -> Raw:
    return dtype, array.shape, array.tobytes()


def _unplaned(raw: Raw) -> Array:
    dtype, shape, data = raw
    return _array((dtype, shape, _words(data, tensors.width(dtype))))


def _planes(data: bytes, width: int) -> bytes:
    """The first byte of every number, then the second, …"""
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def _words(data: bytes, width: int) -> bytes:
    """The inverse of :func:`_planes`."""
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()

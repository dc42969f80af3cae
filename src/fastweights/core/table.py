"""A large sparse weight as a value: the newest version lies in place, older ones know what to undo.

A write of N entries costs N, however large the table is, and every older version stays what it was (H. G. Baker,
Shallow binding makes functional arrays fast, 1991; S. Conchon and J.-C. Filliâtre, A persistent union-find, 2007).
Reading an older version puts it in place first, at the cost of what lies between: a refusal costs as much as the write.

A table may be *tagged*: each entry then holds the number of one owner (a context, say), and is 0 to all others. Writing
for another owner begins from 0 and takes the entry over.

Shape suffixes: B sequences, R entries of a sequence, N changed entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from typing import NamedTuple

import torch
from torch import Tensor

from fastweights.core import memory


class RowDelta(NamedTuple):
    """A change of few entries of a weight: ``rows_N`` int64, ascending, none twice; ``values_BN``. All else is 0.

    ``tags_BN``: of a tagged table, the owners to be, int32; an entry of another owner changes from 0. None: they stay.
    """

    rows_N: Tensor
    values_BN: Tensor
    tags_BN: Tensor | None = None

    def at(self, rows_M: Tensor) -> Tensor:
        """The values at other rows: ``[B, M]``, 0 where it has none."""
        if not len(self.rows_N):
            return self.values_BN.new_zeros(len(self.values_BN), len(rows_M))
        where_M = torch.searchsorted(self.rows_N, rows_M).clamp(max=len(self.rows_N) - 1)
        return torch.where(self.rows_N[where_M] == rows_M, self.values_BN[:, where_M], 0)


class _Arena:
    """The array that all versions of one table share, and which of them it holds."""

    def __init__(self, array_BR: Tensor, tags_BR: Tensor | None) -> None:
        self.array_BR = array_BR
        self.tags_BR = tags_BR
        self.lock = RLock()

    def swap(self, rows_N: Tensor, new: _Entries) -> _Entries:
        """Put values and tags in place; those that were there."""
        values_BN, tags_BN = _columns(self.array_BR, rows_N), None
        _put(self.array_BR, rows_N, new.values_BN)
        if self.tags_BR is not None:
            assert new.tags_BN is not None
            tags_BN = _columns(self.tags_BR, rows_N)
            _put(self.tags_BR, rows_N, new.tags_BN)
        return _Entries(values_BN, tags_BN)


def _columns(array_BR: Tensor, rows_N: Tensor) -> Tensor:
    """A copy ``[B, N]``; NumPy takes half as long as torch's index_select."""
    array = array_BR.numpy()
    return torch.from_numpy(array[0].take(rows_N.numpy())[None] if len(array) == 1 else array[:, rows_N.numpy()])


def _put(array_BR: Tensor, rows_N: Tensor, values_BN: Tensor) -> None:
    array = array_BR.numpy()
    if len(array) == 1:
        array[0][rows_N.numpy()] = values_BN.numpy()[0]
    else:
        array[:, rows_N.numpy()] = values_BN.numpy()


class _Entries(NamedTuple):
    values_BN: Tensor
    tags_BN: Tensor | None


class Table:
    """``[B, R]`` of one dtype on the CPU, 0 at the start. Immutable: :meth:`replaced` gives another one.

    Safe to use from many threads; versions that are read in turn are put in place in turn.
    """

    def __init__(self, array_BR: Tensor, tags_BR: Tensor | None = None) -> None:
        self._arena = _Arena(array_BR, tags_BR)
        self._undo: tuple[Table, Tensor, _Entries] | None = None  # (a newer version, rows, own entries); None: in place
        self.shape = array_BR.shape
        self.dtype = array_BR.dtype

    @staticmethod
    def zeros(batch: int, rows: int, dtype: torch.dtype = torch.float32, *, tagged: bool = False) -> Table:
        tags_BR = memory.zeros(batch, rows, dtype=torch.int32) if tagged else None
        return Table(memory.zeros(batch, rows, dtype=dtype), tags_BR)

    @property
    def tagged(self) -> bool:
        return self._arena.tags_BR is not None

    def read(self, rows: Tensor) -> Tensor:
        """``values[b, …]`` of int64 rows ``[B, …]``; of one sequence (B = 1) the rows may have any shape."""
        with self._arena.lock:
            self._place()
            return self._at(self._arena.array_BR, rows)

    def read_tagged(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`read` with the owners' tags (0: none), of the same shape."""
        with self._arena.lock:
            self._place()
            assert self._arena.tags_BR is not None
            return self._at(self._arena.array_BR, rows), self._at(self._arena.tags_BR, rows)

    def _at(self, array_BR: Tensor, rows: Tensor) -> Tensor:
        if self.shape[0] == 1:
            return torch.from_numpy(array_BR.numpy()[0].take(rows.numpy()))
        return array_BR.gather(1, rows.flatten(1)).view(rows.shape)

    def replaced(self, rows_N: Tensor, values_BN: Tensor, tags_BN: Tensor | None = None) -> Table:
        """The table with other values (and tags) at ``rows_N`` (none twice); this one stays as it is."""
        with self._arena.lock:
            self._place()
            newer = Table.__new__(Table)
            newer._arena, newer._undo, newer.shape, newer.dtype = self._arena, None, self.shape, self.dtype
            self._undo = (newer, rows_N, self._arena.swap(rows_N, _Entries(values_BN, tags_BN)))
            return newer

    def plus(self, delta: RowDelta) -> Table:
        """The table with a change added."""
        rows_N = delta.rows_N
        with self._arena.lock:
            self._place()
            now_BN = _columns(self._arena.array_BR, rows_N)
            tags_BN = delta.tags_BN
            if self._arena.tags_BR is not None:
                old_BN = _columns(self._arena.tags_BR, rows_N)
                tags_BN = old_BN if tags_BN is None else tags_BN
                now_BN = torch.where(old_BN == tags_BN, now_BN, 0)
            return self.replaced(rows_N, now_BN + delta.values_BN, tags_BN)

    def dense(self) -> Tensor:
        """A copy."""
        with self._arena.lock:
            self._place()
            return self._arena.array_BR.clone()

    def entries(self) -> dict[str, Tensor]:
        """``rows`` (int64, N) of all that is not 0 everywhere, their ``values`` (B, N) and, if tagged, ``tags``."""
        with self._arena.lock:
            self._place()
            array_BR, tags_BR = self._arena.array_BR, self._arena.tags_BR
            held_BR = (array_BR if tags_BR is None else tags_BR).numpy() != 0  # a third of the time that torch takes
            rows_N = torch.from_numpy((held_BR[0] if len(held_BR) == 1 else held_BR.any(axis=0)).nonzero()[0])
            found = {"rows": rows_N, "values": array_BR[:, rows_N]}
            return found if tags_BR is None else {**found, "tags": tags_BR[:, rows_N]}

    def nothing(self) -> dict[str, Tensor]:
        """:meth:`entries` of a table of this shape and dtype in which all is 0."""
        found = {"rows": torch.zeros(0, dtype=torch.int64), "values": torch.zeros(self.shape[0], 0, dtype=self.dtype)}
        return {**found, "tags": torch.zeros(self.shape[0], 0, dtype=torch.int32)} if self.tagged else found

    def filled(self, entries: Mapping[str, Tensor], what: str = "table") -> Table:
        """A new table of this shape and dtype from :meth:`entries`; ValueError names ``what`` if they do not fit."""
        rows_N, values_BN = entries["rows"], entries["values"]
        columns = {values_BN.shape[1], *(t.shape[1] for name, t in entries.items() if name == "tags")}
        if columns != {len(rows_N)} or (len(rows_N) and (rows_N[0] < 0 or rows_N[-1] >= self.shape[1])):
            raise ValueError(f"{what}: {len(rows_N)} rows and {columns} values for a table of {self.shape[1]}")
        if bool((rows_N.diff() <= 0).any()):
            raise ValueError(f"{what}: its rows do not ascend")
        fresh = Table.zeros(self.shape[0], self.shape[1], self.dtype, tagged=self.tagged)
        fresh._arena.swap(rows_N, _Entries(values_BN, entries.get("tags")))
        return fresh

    @property
    def nbytes(self) -> int:
        tags_BR = self._arena.tags_BR
        return self._arena.array_BR.nbytes + (0 if tags_BR is None else tags_BR.nbytes)

    def expand(self, batch: int) -> Table:
        """One sequence's table (B = 1) seen by ``batch`` sequences: itself, as :meth:`read` takes any number."""
        if self.shape[0] not in (1, batch):
            raise ValueError(f"a table of {self.shape[0]} sequences cannot be seen by {batch}")
        return self

    def _place(self) -> None:
        """Make the array hold this version; the one that it held learns how to come back."""
        path: list[Table] = []
        at = self
        while at._undo is not None:
            path.append(at)
            at = at._undo[0]
        for older in reversed(path):
            assert older._undo is not None
            newer, rows_N, own = older._undo
            newer._undo = (older, rows_N, self._arena.swap(rows_N, own))
            older._undo = None

"""A large sparse weight as a value: the newest version lies in place, older ones know what to undo.

A write of N entries costs N, however large the table is, and every older version stays what it was (H. G. Baker,
Shallow binding makes functional arrays fast, 1991; S. Conchon and J.-C. Filliâtre, A persistent union-find, 2007).
Reading an older version puts it in place first, at the cost of what lies between: a refusal costs as much as the write.

Shape suffixes: B sequences, R entries of a sequence, N changed entries.
"""

from __future__ import annotations

from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class RowDelta(NamedTuple):
    """A change of few entries of a weight: ``rows_N`` int64, ascending, none twice; ``values_BN``. All else is 0."""

    rows_N: Tensor
    values_BN: Tensor

    def at(self, rows_M: Tensor) -> Tensor:
        """The values at other rows: ``[B, M]``, 0 where it has none."""
        if not len(self.rows_N):
            return self.values_BN.new_zeros(len(self.values_BN), len(rows_M))
        where_M = torch.searchsorted(self.rows_N, rows_M).clamp(max=len(self.rows_N) - 1)
        return torch.where(self.rows_N[where_M] == rows_M, self.values_BN[:, where_M], 0)


class _Arena:
    """The array that all versions of one table share, and which of them it holds."""

    def __init__(self, array_BR: Array) -> None:
        self.array_BR = array_BR
        self.lock = RLock()


class Table:
    """``[B, R]`` of one dtype on the CPU, 0 at the start. Immutable: :meth:`replaced` gives another one.

    Safe to use from many threads; versions that are read in turn are put in place in turn.
    """

    def __init__(self, array_BR: Array) -> None:
        self._arena = _Arena(array_BR)
        self._undo: tuple[Table, Array, Array] | None = None  # (a newer version, rows, own values); None: in place
        self.shape = array_BR.shape
        self.dtype = array_BR.dtype

    @staticmethod
    def zeros(batch: int, rows: int, dtype: Any = np.float32) -> Table:
        return Table(np.zeros((batch, rows), dtype))

    def read(self, rows: Array) -> Array:
        """``values[b, …]`` of index arrays ``[B, …]``; B of them may be more than one where the table's is 1."""
        with self._arena.lock:
            self._place()
            if self.shape[0] == 1:
                return self._arena.array_BR[0].take(rows)
            batch = np.arange(self.shape[0]).reshape(-1, *[1] * (rows.ndim - 1))
            return self._arena.array_BR[batch, rows]

    def replaced(self, rows_N: Array, values_BN: Array) -> Table:
        """The table with other values at ``rows_N`` (none twice); this one stays as it is."""
        with self._arena.lock:
            self._place()
            array_BR = self._arena.array_BR
            newer = Table.__new__(Table)
            newer._arena, newer._undo, newer.shape, newer.dtype = self._arena, None, self.shape, self.dtype
            self._undo = (newer, rows_N, array_BR[:, rows_N])
            array_BR[:, rows_N] = values_BN
            return newer

    def plus(self, delta: RowDelta) -> Table:
        """The table with a change added."""
        rows_N = delta.rows_N.numpy()
        with self._arena.lock:
            self._place()
            now_BN = self._arena.array_BR[:, rows_N]
            return self.replaced(rows_N, now_BN + delta.values_BN.numpy())

    def dense(self) -> Array:
        """A copy."""
        with self._arena.lock:
            self._place()
            return self._arena.array_BR.copy()

    def entries(self) -> tuple[Tensor, Tensor]:
        """``(rows_N int64, values_BN)`` of all rows that are not 0 in every sequence."""
        with self._arena.lock:
            self._place()
            rows_N = np.flatnonzero(self._arena.array_BR.any(axis=0))
            return torch.from_numpy(rows_N), torch.from_numpy(self._arena.array_BR[:, rows_N])

    def nothing(self) -> tuple[Tensor, Tensor]:
        """:meth:`entries` of a table of this shape and dtype in which all is 0."""
        values_B0 = torch.from_numpy(np.zeros((self.shape[0], 0), self.dtype))
        return torch.zeros(0, dtype=torch.int64), values_B0

    def filled(self, rows_N: Tensor, values_BN: Tensor, what: str = "table") -> Table:
        """A new table of this shape and dtype from :meth:`entries`; ValueError names ``what`` if they do not fit."""
        rows = rows_N.numpy()
        if len(rows) != values_BN.shape[1] or (len(rows) and (rows[0] < 0 or rows[-1] >= self.shape[1])):
            raise ValueError(f"{what}: {len(rows)} rows and {values_BN.shape[1]} values for a table of {self.shape[1]}")
        if (np.diff(rows) <= 0).any():
            raise ValueError(f"{what}: its rows do not ascend")
        array_BR = np.zeros(self.shape, self.dtype)
        array_BR[:, rows] = values_BN.numpy()
        return Table(array_BR)

    @property
    def nbytes(self) -> int:
        return self._arena.array_BR.nbytes

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
            newer, rows_N, values_BN = older._undo
            newer._undo = (older, rows_N, self._arena.array_BR[:, rows_N])
            self._arena.array_BR[:, rows_N] = values_BN
            older._undo = None

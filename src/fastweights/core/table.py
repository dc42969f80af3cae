"""A large sparse weight as a value: the newest version lies in place, older ones know what to undo.

A write of N entries costs N, however large the table is, and every older version stays what it was (H. G. Baker,
Shallow binding makes functional arrays fast, 1991; S. Conchon and J.-C. Filliâtre, A persistent union-find, 2007).
Reading an older version puts it in place first, at the cost of what lies between: a refusal costs as much as the write.

Shape suffixes: B sequences, R entries of a sequence, N changed entries.
"""

from __future__ import annotations

from threading import RLock
from typing import NamedTuple

import torch
from torch import Tensor


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

    def __init__(self, array_BR: Tensor) -> None:
        self.array_BR = array_BR
        self.lock = RLock()


class Table:
    """``[B, R]`` of one dtype on the CPU, 0 at the start. Immutable: :meth:`replaced` gives another one.

    Safe to use from many threads; versions that are read in turn are put in place in turn.
    """

    def __init__(self, array_BR: Tensor) -> None:
        self._arena = _Arena(array_BR)
        self._undo: tuple[Table, Tensor, Tensor] | None = None  # (a newer version, rows, own values); None: in place
        self.shape = array_BR.shape
        self.dtype = array_BR.dtype

    @staticmethod
    def zeros(batch: int, rows: int, dtype: torch.dtype = torch.float32) -> Table:
        return Table(torch.zeros(batch, rows, dtype=dtype))

    def read(self, rows: Tensor) -> Tensor:
        """``values[b, …]`` of int64 rows ``[B, …]``; of one sequence (B = 1) the rows may have any shape."""
        with self._arena.lock:
            self._place()
            if self.shape[0] == 1:
                return self._arena.array_BR[0].take(rows)
            return self._arena.array_BR.gather(1, rows.flatten(1)).view(rows.shape)

    def replaced(self, rows_N: Tensor, values_BN: Tensor) -> Table:
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
        rows_N = delta.rows_N
        with self._arena.lock:
            self._place()
            now_BN = self._arena.array_BR[:, rows_N]
            return self.replaced(rows_N, now_BN + delta.values_BN)

    def dense(self) -> Tensor:
        """A copy."""
        with self._arena.lock:
            self._place()
            return self._arena.array_BR.clone()

    def entries(self) -> tuple[Tensor, Tensor]:
        """``(rows_N int64, values_BN)`` of all rows that are not 0 in every sequence."""
        with self._arena.lock:
            self._place()
            rows_N = self._arena.array_BR.any(dim=0).nonzero()[:, 0]
            return rows_N, self._arena.array_BR[:, rows_N]

    def nothing(self) -> tuple[Tensor, Tensor]:
        """:meth:`entries` of a table of this shape and dtype in which all is 0."""
        return torch.zeros(0, dtype=torch.int64), torch.zeros(self.shape[0], 0, dtype=self.dtype)

    def filled(self, rows_N: Tensor, values_BN: Tensor, what: str = "table") -> Table:
        """A new table of this shape and dtype from :meth:`entries`; ValueError names ``what`` if they do not fit."""
        if len(rows_N) != values_BN.shape[1] or (len(rows_N) and (rows_N[0] < 0 or rows_N[-1] >= self.shape[1])):
            raise ValueError(
                f"{what}: {len(rows_N)} rows and {values_BN.shape[1]} values for a table of {self.shape[1]}"
            )
        if bool((rows_N.diff() <= 0).any()):
            raise ValueError(f"{what}: its rows do not ascend")
        array_BR = torch.zeros(self.shape, dtype=self.dtype)
        array_BR[:, rows_N] = values_BN
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

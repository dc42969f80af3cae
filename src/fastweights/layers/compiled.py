"""Loops over numbers, compiled by Numba on first use and kept on disk: for what NumPy would take many small steps for.

A compiled function takes and gives NumPy arrays (contiguous, always of the same dtypes) and plain numbers, lets go of
the interpreter's lock, and computes in the order it is written in, so the same numbers come out every time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function as machine code; division by 0 gives inf or NaN, as in NumPy."""
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True, error_model="numpy"))
    except RuntimeError:  # no folder for the cache can be written: compile in each process
        return cast(F, numba.njit(function, nogil=True, error_model="numpy"))

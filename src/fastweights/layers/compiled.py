"""Loops over numbers, compiled by Numba on first use and kept on disk: for what NumPy would take many small steps for.

A compiled function takes and gives NumPy arrays (contiguous, always of the same dtypes) and plain numbers, lets go of
the interpreter's lock, and computes in the order it is written in, so the same numbers come out every time. What it
calls or reads of this package lies in its own folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function as machine code; division by 0 gives inf or NaN, as in NumPy."""
    # Numba calls the file on disk by this name, and looks for changes in the function's own source alone.
    function.__qualname__ += "_" + _sources(Path(function.__code__.co_filename).parent)
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True, error_model="numpy"))
    except RuntimeError:  # no folder for the cache can be written: compile in each process
        return cast(F, numba.njit(function, nogil=True, error_model="numpy"))


@cache
def _sources(folder: Path) -> str:
    """A digest of all that a compiled function of a folder may have taken in."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]

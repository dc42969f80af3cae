"""The process's memory: keeping what was freed, how high it rose (Linux with glibc; elsewhere nothing happens), and
large tensors outside of the heap."""

import ctypes
import mmap
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEEP = 512 << 20
_OWN_PAGES = 1 << 20


def keep_freed_memory() -> None:
    """Let the allocator keep up to 512 MB of freed memory instead of returning it after every step.

    A training step frees and takes the same megabytes again; each time the kernel maps them page by page, which takes
    as long as the arithmetic of a small model. The setting is the process's, so only entry points call this.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_TRIM_THRESHOLD, _KEEP)
        libc.mallopt(_MMAP_THRESHOLD, _KEEP)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros on the CPU; from 1 MB on in pages of their own, which become resident as they are written.

    All of them go back to the system with the tensor. A heap, where such blocks lie between others, may keep them.
    """
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    if size < _OWN_PAGES:
        return torch.zeros(shape, dtype=dtype)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    pages = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # entries of a hashed table lie on all pages: large ones are mapped five times as fast
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


def start_peak() -> int | None:
    """Return freed memory, forget the peak so far, and give the bytes now resident; None where that is not known."""
    libc, clear = _glibc(), Path("/proc/self/clear_refs")
    if libc is None or not clear.exists():
        return None
    libc.malloc_trim(0)
    try:
        clear.write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def peak() -> int | None:
    """The most bytes resident since :func:`start_peak`."""
    return _status("VmHWM")


def _status(field: str) -> int | None:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except OSError:
        return None

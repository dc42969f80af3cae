"""The process's heap: keeping what was freed, and how high it rose. Linux with glibc; elsewhere nothing happens."""

import ctypes
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEEP = 512 << 20


def keep_freed_memory() -> None:
    """Let the allocator keep up to 512 MB of freed memory instead of returning it after every step.

    A training step frees and takes the same megabytes again; each time the kernel maps them page by page, which takes
    as long as the arithmetic of a small model. The setting is the process's, so only entry points call this.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_TRIM_THRESHOLD, _KEEP)
        libc.mallopt(_MMAP_THRESHOLD, _KEEP)


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

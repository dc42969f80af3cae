"""Controls of the meter that are no models: what compressors of files make of the same bytes, from nothing.

``xz``: LZMA at its most thorough. ``ppm``: prediction by partial matching, PPMd variant H (Shkarin), order 6, 16 MiB.
"""

from __future__ import annotations

import time
from typing import Any, Literal, get_args

Compressor = Literal["xz", "ppm"]
COMPRESSORS: tuple[Compressor, ...] = get_args(Compressor)
PPM_ORDER, PPM_BYTES = 6, 16 << 20


def compressed(name: Compressor, data: bytes) -> bytes:
    if name == "xz":
        import lzma

        return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    import pyppmd

    return pyppmd.compress(data, max_order=PPM_ORDER, mem_size=PPM_BYTES, variant="H")


def bits_per_byte(name: Compressor, data: bytes) -> float:
    """Of all that is written, headers and checksums too."""
    return 8 * len(compressed(name, data)) / len(data)


def figures(name: Compressor, data: bytes) -> dict[str, Any]:
    """A row of ``eval adapt``."""
    compressed(name, data[:1])  # loaded
    start = time.process_time()
    bits = bits_per_byte(name, data)
    return {"bits_per_byte": bits, "cpu_ms_per_kb": (time.process_time() - start) * 1e3 / len(data) * 1024}

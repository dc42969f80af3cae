"""Reads the streaming checkpoints of JAX TTT-LM (msgpack of names and arrays), and nothing else of msgpack.

Nothing in such a file is executed; sizes are checked against the file. Torch-free.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastweights.errors import Corrupt

_NUMBERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_SIZES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I"}
_EXT_SIZES = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_ARRAY = 1  # flax's extension type: (shape, dtype, bytes), packed again
_DEPTH = 8


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> memoryview:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise ValueError(f"truncated at byte {self.at}")
        self.at += size
        return part

    def number(self, code: str) -> int:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def value(self, depth: int = 0) -> Any:
        if depth > _DEPTH:
            raise ValueError("nested too deeply")
        tag = self.number(">B")
        if tag < 0x80 or tag >= 0xE0:
            return tag if tag < 0x80 else tag - 0x100
        if tag >> 5 == 0b101:
            return str(self.take(tag & 31), "utf-8")
        if tag >> 4 == 0b1001:
            return [self.value(depth + 1) for _ in range(tag & 15)]
        if tag in _NUMBERS:
            return self.number(_NUMBERS[tag])
        if tag in _EXT_SIZES or 0xD4 <= tag <= 0xD8:
            size = self.number(_EXT_SIZES[tag]) if tag in _EXT_SIZES else 1 << (tag - 0xD4)
            return self.extension(size)
        if tag not in _SIZES:
            raise ValueError(f"tag 0x{tag:02x} is no part of a parameter stream")
        size = self.number(_SIZES[tag])
        if tag >= 0xDC:
            return [self.value(depth + 1) for _ in range(size)]
        return str(self.take(size), "utf-8") if tag >= 0xD9 else self.take(size)

    def extension(self, size: int) -> np.ndarray:
        kind = self.number(">b")
        if kind != _ARRAY:
            raise ValueError(f"extension {kind} is no array")
        shape, dtype, raw = _Reader(self.take(size)).value()
        name = dtype if isinstance(dtype, str) else str(dtype, "utf-8")
        if name == "bfloat16":
            flat = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif name in ("float16", "float32", "float64"):
            flat = np.frombuffer(raw, name).copy()
        else:
            raise ValueError(f"arrays of {name} are no parameters")
        return flat.reshape(shape)


def read_stream(file: Path) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """``(key, array)`` one after the other (bfloat16 as float32). ``Corrupt`` names the file and what is wrong."""
    reader = _Reader(memoryview(file.read_bytes()))
    try:
        while reader.at < len(reader.data):
            key, packed = reader.value()
            value = _Reader(packed).value() if isinstance(packed, memoryview) else packed
            if not isinstance(value, np.ndarray) or not all(isinstance(part, str) for part in key):
                raise ValueError(f"{key!r} holds no array")
            yield tuple(key), value
    except (ValueError, TypeError, struct.error) as error:
        raise Corrupt(f"{str(file)!r} is no stream of parameters: {error}") from None

"""Named tensors in safetensors files: deterministic bytes, and a load that checks all it can. Torch loads lazily."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.errors import Corrupt, FastweightsError
from fastweights.store import atomic
from fastweights.store.atomic import sha256

if TYPE_CHECKING:
    import torch

_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 8),
}
Raw = tuple[str, tuple[int, ...], bytes]
"""dtype (safetensors' name), shape, little-endian bytes."""


def width(dtype: str) -> int:
    """Bytes of a number."""
    return _BITS[dtype] // 8


def pack(entries: Mapping[str, Raw], meta: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file of raw entries. Equal input gives equal bytes (the library's writer shuffles the metadata)."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(meta.items()))} if meta else {}
    names = sorted(entries, key=lambda name: (-_BITS[entries[name][0]], name))
    offset = 0
    for name in names:
        dtype, shape, data = entries[name]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(entries[name][2] for name in names)])


def unpack(data: bytes, what: str = "tensors") -> tuple[dict[str, Raw], dict[str, str]]:
    """The inverse of :func:`pack`, without torch; :class:`Corrupt` names ``what`` and the mismatch."""
    try:
        if len(data) < 8:
            raise ValueError(f"{len(data)} bytes are no header")
        (size,) = struct.unpack_from("<Q", data)
        if 8 + size > len(data):
            raise ValueError(f"header of {size} bytes in a file of {len(data)}: truncated")
        header = json.loads(data[8 : 8 + size])
        meta = header.pop("__metadata__", {})
        body = memoryview(data)[8 + size :]
        entries: dict[str, Raw] = {}
        for name, item in header.items():
            dtype, shape, (start, end) = item["dtype"], tuple(item["shape"]), item["data_offsets"]
            count = _BITS[dtype] // 8
            for extent in shape:
                if not isinstance(extent, int) or extent < 0:
                    raise ValueError(f"tensor {name!r} has shape {list(shape)}")
                count *= extent
            if not 0 <= start <= end <= len(body) or end - start != count:
                raise ValueError(f"tensor {name!r} at bytes {start}:{end} of {len(body)}: truncated")
            entries[name] = (dtype, shape, bytes(body[start:end]))
        if sum(len(raw[2]) for raw in entries.values()) != len(body):
            raise ValueError("bytes that belong to no tensor")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{what} is not a whole safetensors file: {error}") from None
    return entries, {str(k): str(v) for k, v in meta.items()}


def dumps(tensors: "Mapping[str, torch.Tensor]", meta: Mapping[str, str] | None = None) -> bytes:
    """Tensors of any device and dtype -> safetensors bytes; non-finite values are refused by name."""
    import torch

    names = {v: k for k, v in _torch_dtypes().items()}
    entries: dict[str, Raw] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        _check_finite(name, tensor, "refusing to save", FastweightsError)
        if tensor.dtype not in names:
            raise FastweightsError(f"tensor {name!r} has dtype {tensor.dtype}: save one of {', '.join(names.values())}")
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        entries[name] = (names[tensor.dtype], tuple(tensor.shape), data)
    return pack(entries, meta)


def loads(
    data: bytes,
    *,
    what: str = "tensors",
    expect: "Mapping[str, tuple[tuple[int, ...], str | torch.dtype]] | None" = None,
) -> "tuple[dict[str, torch.Tensor], dict[str, str]]":
    """Safetensors bytes -> (tensors on the CPU, metadata), checked.

    ``expect``: every name with its (shape, dtype); a missing, extra or differing tensor is :class:`Corrupt`, and so is
    a non-finite value. ``what`` names the source in errors.
    """
    import torch

    entries, meta = unpack(data, what)
    dtypes = _torch_dtypes()
    tensors: dict[str, torch.Tensor] = {}
    for name, (dtype, shape, raw) in entries.items():
        if dtype not in dtypes:
            raise Corrupt(f"{what}: tensor {name!r} has dtype {dtype}, which is not supported: save as F32")
        flat = torch.frombuffer(bytearray(raw), dtype=dtypes[dtype]) if raw else torch.empty(0, dtype=dtypes[dtype])
        tensors[name] = flat.reshape(shape)
    if expect is not None:
        if missing := sorted(expect.keys() - tensors.keys()):
            raise Corrupt(f"{what}: tensor {missing[0]!r} is missing ({len(missing)} of {len(expect)} in all)")
        if extra := sorted(tensors.keys() - expect.keys()):
            raise Corrupt(f"{what}: tensor {extra[0]!r} does not belong here ({len(extra)} such)")
        for name, (shape, dtype) in expect.items():
            found = (tuple(tensors[name].shape), str(tensors[name].dtype).removeprefix("torch."))
            wanted = (tuple(shape), str(dtype).removeprefix("torch."))
            if found != wanted:
                raise Corrupt(
                    f"{what}: tensor {name!r} is {found[1]}{list(found[0])}, not {wanted[1]}{list(wanted[0])}"
                )
    for name, tensor in tensors.items():
        _check_finite(name, tensor, what, Corrupt)
    return tensors, meta


def save_tensors(path: Path, tensors: "Mapping[str, torch.Tensor]", meta: Mapping[str, str] | None = None) -> str:
    """Writes a safetensors file atomically; returns its SHA-256, for the record that vouches for it."""
    data = dumps(tensors, meta)
    atomic.write_bytes(Path(path), data)
    return sha256(data)


def load_tensors(
    path: Path,
    expect_sha256: str | None = None,
    expect: "Mapping[str, tuple[tuple[int, ...], str | torch.dtype]] | None" = None,
) -> "tuple[dict[str, torch.Tensor], dict[str, str]]":
    """:func:`loads` of a file, its SHA-256 checked first; every error names the file and the mismatch."""
    data = atomic.read_bytes(Path(path))
    if expect_sha256 is not None and (found := sha256(data)) != expect_sha256:
        raise Corrupt(
            f"{str(path)!r} ({len(data)} bytes) has SHA-256 {found[:12]}…, not {expect_sha256[:12]}…: restore a backup"
        )
    return loads(data, what=repr(str(path)), expect=expect)


def _torch_dtypes() -> "dict[str, torch.dtype]":
    import torch

    return {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
        "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
        "BOOL": torch.bool,
    }  # fmt: skip


def _check_finite(name: str, tensor: "torch.Tensor", what: str, error: type[FastweightsError]) -> None:
    if tensor.is_floating_point() and tensor.numel() and not bool(tensor.isfinite().all()):
        bad = int((~tensor.isfinite()).sum())
        raise error(f"{what}: tensor {name!r} has {bad} non-finite values of {tensor.numel()}")

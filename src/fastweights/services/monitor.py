"""Monitor runs: any text through the guard of a model, its events stored and shown as they happen."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO

from fastweights.data.demos import DEMOS
from fastweights.data.tokenizer import text_bytes
from fastweights.errors import FastweightsError, NotFound
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_parts import TOY
from fastweights.services.monitor_records import (
    MonitorEvent,
    MonitorOptions,
    MonitorRequest,
    MonitorRun,
    MonitorRunDetail,
    MonitorSummary,
)
from fastweights.services.trained_length import past_length
from fastweights.services.update_rules import natural_chunk
from fastweights.store.root import Store
from fastweights.store.runs import Follower, Runs, RunWriter

_BLOCK = 1 << 16
_HELD = 1 << 20
MAX_EVENTS = 10_000  # of one answer

OnEvent = Callable[[MonitorEvent], None]
Cancelled = Callable[[], bool]


class MonitorService:
    """The monitor runs of a store. Torch loads with the first run."""

    def __init__(self, store: Store, device: str | None = None, pool: ModelPool | None = None) -> None:
        self.runs = Runs(store)
        self.pool = pool or ModelPool(store, device)

    # ------------------------------------------------------------------ look

    def list(self) -> list[MonitorRun]:
        """Every run, newest first."""
        return [MonitorRun.model_validate(_fields(record)) for record in self.runs.list()]

    def get(self, run_id: str) -> MonitorRun:
        """One run without its events; a run whose process died shows as interrupted."""
        return MonitorRun.model_validate(_fields(self.runs.get(run_id)))

    def show(self, run_id: str, after: int = -1, limit: int = MAX_EVENTS) -> MonitorRunDetail:
        """One run with at most ``limit`` of its events, those with a chunk index above ``after``."""
        run = self.get(run_id)
        events: list[MonitorEvent] = []
        more = False
        for event in self.events(run_id):
            if event.chunk_index > after:
                if len(events) == limit:
                    more = True
                    break
                events.append(event)
        return MonitorRunDetail(**dict(run), events=events, more=more)

    def events(self, run_id: str) -> Iterator[MonitorEvent]:
        """The events of a run so far, in constant memory."""
        yield from map(MonitorEvent.model_validate_json, self.runs.lines(run_id))

    def follow(self, run_id: str) -> Follower:
        """For reading a run's events while they are written, as JSON lines."""
        return self.runs.follow(run_id)

    # ------------------------------------------------------------------ run

    def run_request(
        self, request: MonitorRequest, on_event: OnEvent | None = None, cancelled: Cancelled | None = None
    ) -> MonitorRun:
        """Monitor the request's text or demo; the run returned is stored."""
        source = request.demo or "text"
        text = DEMOS[request.demo]() if request.demo else request.text or ""
        return self.run(
            request.options(), [text_bytes(text)], source, request.canary_text, on_event=on_event, cancelled=cancelled
        )

    def run(
        self,
        options: MonitorOptions,
        blocks: Iterable[bytes],
        source: str,
        canary_text: Sequence[str] | None = None,
        *,
        file: str | None = None,
        on_event: OnEvent | None = None,
        cancelled: Cancelled | None = None,
    ) -> MonitorRun:
        """Monitor a stream of bytes of any length. A stream without a token is an error, and no run.

        What fails on the way leaves a run with status failed and raises.
        """
        from fastweights.services.monitor_loop import Monitor
        from fastweights.services.monitor_parts import build_monitor

        if "chunk_tokens" not in options.model_fields_set and options.model != TOY:
            own = natural_chunk(self.pool.models, options.model)
            options = options if own is None else options.model_copy(update={"chunk_tokens": own})
        monitor = Monitor(build_monitor(self.pool, options, canary_text), options)
        blocks = _with_content(blocks, source, blank=options.model != TOY)
        writer = self.runs.create(source, options.model_dump(mode="json"), own_canaries=len(canary_text or ()))
        status = "failed"
        error: str | None = "interrupted"
        try:
            for event in monitor.read(_recorded(blocks, writer), cancelled):
                writer.event(event.__pydantic_serializer__.to_json(event))
                if on_event is not None:
                    on_event(event)
            if not monitor.chunks:
                raise FastweightsError(f"{source} has no token in it: give a text with at least one word")
            status, error = ("cancelled" if cancelled is not None and cancelled() else "done"), None
        except KeyboardInterrupt:
            status, error = "cancelled", None
            raise
        except Exception as problem:
            error = str(problem) if isinstance(problem, FastweightsError) else f"{type(problem).__name__}: {problem}"
            raise
        finally:
            summary = monitor.summary(file).model_copy(update={"warning": self._warning(options, monitor.tokens)})
            writer.finish(status, summary.model_dump(), error)
        return self.get(writer.run_id)

    def _warning(self, options: MonitorOptions, tokens: int) -> str | None:
        if options.model == TOY:
            return None
        remedy = "a run for each text starts afresh; fastweights eval ppl --reset-every {} shows what that is worth"
        return past_length(self.pool.open(options.model).loaded, 0, tokens, remedy)


def _with_content(blocks: Iterable[bytes], source: str, *, blank: bool) -> Iterator[bytes]:
    """The same stream; one without a token is an error, before anything is stored.

    ``blank``: blank space alone has tokens, too. Up to a megabyte of it is held back until a token comes.
    """
    blocks, held, size = iter(blocks), [], 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for block in blocks:
        held.append(block)
        size += len(block)
        if block and (blank or size > _HELD or decoder.decode(block).strip()):
            return chain(held, blocks)
    if decoder.decode(b"", final=True):  # half a character
        return iter(held)
    what = "has no token in it" if size else "is empty"
    raise FastweightsError(f"{source} {what}: give a text with at least one word")


def _recorded(blocks: Iterable[bytes], writer: RunWriter) -> Iterator[bytes]:
    for block in blocks:
        writer.take(block)
        for start in range(0, len(block), _BLOCK):
            yield block[start : start + _BLOCK]


def file_blocks(path: Path) -> Iterator[bytes]:
    """A file of any size in blocks; :class:`NotFound` or FastweightsError name one that cannot be read."""
    try:
        file = open(path, "rb")  # noqa: SIM115  (closed by the generator below)
    except FileNotFoundError:
        raise NotFound(f"file {str(path)!r} does not exist: give the path of a text") from None
    except OSError as error:
        raise FastweightsError(f"file {str(path)!r} cannot be read: {error.strerror}") from None
    return _blocks(file)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK):
            yield block


def live_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """What a pipe holds as soon as it holds anything."""
    read1 = getattr(file, "read1", file.read)
    while block := read1(_BLOCK):
        yield block


def _fields(record: dict[str, object]) -> dict[str, object]:
    fields = {name: record.get(name) for name in MonitorRun.model_fields if name != "run_id"}
    return {**fields, "run_id": record["id"], "own_canaries": record.get("own_canaries", 0)}


__all__ = ["MonitorRun", "MonitorService", "MonitorSummary", "file_blocks", "live_blocks"]

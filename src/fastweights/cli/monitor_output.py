"""What ``fastweights monitor`` prints: a line a chunk as it happens, or one JSON document."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastweights.cli import output
from fastweights.services.monitor_records import MonitorEvent, MonitorRun

if TYPE_CHECKING:
    from fastweights.services.monitor import MonitorService


def document(service: "MonitorService", run: MonitorRun) -> Iterator[str]:
    """One JSON document in pieces: the run, its summary, every event. In constant memory."""
    head = output.dump(run.model_dump(mode="json"))
    yield head[:-1] + ',"events":['
    for number, line in enumerate(service.runs.lines(run.run_id)):
        yield ("," if number else "") + line.decode()
    yield "]}"


class Table:
    """One line a chunk on standard output; on a terminal the decision in colour."""

    _COLOURS = {"committed": "32", "blocked": "31", "rolled_back": "33"}  # noqa: RUF012

    def __init__(self, source: str) -> None:
        self._colour = sys.stdout.isatty()
        self._head = f"{'chunk':>6} {'tokens':>13} {'loss':>7} {'gradient':>9} {'update':>8} {'canary':>9} {'drift':>8}"
        self._source = source

    def __call__(self, event: MonitorEvent) -> None:
        if event.chunk_index == 0:
            output.write(f"{self._head}  decision\n")
        figures = (
            f"{event.chunk_index:>6} {f'{event.token_start}-{event.token_end}':>13} {_cell(event.loss, 7, '.3f')} "
            f"{_cell(event.grad_norm, 9, '.4f')} {_cell(event.update_norm, 8, '.4f')} "
            f"{_cell(event.canary_delta, 9, '+.5f')} {_cell(event.drift, 8, '+.4f')}"
        )
        decision = event.decision.replace("_", " ")
        if self._colour:
            decision = f"\x1b[{self._COLOURS[event.decision]}m{decision}\x1b[0m"
        why = f": {'; '.join(event.reasons)}" if event.reasons else ""
        top = ", ".join(f"{token!r} {value:.3g}" for token, value in event.top_influence_tokens[:3])
        output.write(f"{figures}  {decision}{printable(why)}{f'  [{printable(top)}]' if top else ''}\n")

    def end(self, run: MonitorRun) -> None:
        s = run.summary
        assert s is not None
        speed = "" if s.tokens_per_cpu_second is None else f", {s.tokens_per_cpu_second:,.0f} tokens per CPU second"
        loss = "" if s.loss_mean is None else f", mean loss {s.loss_mean:.4f}"
        off = "" if s.updates else " (updates are off: nothing was written)"
        output.write(
            f"{self._source}: {s.chunks} chunks, {s.tokens:,} tokens: {s.committed} committed, {s.blocked} blocked, "
            f"{s.rolled_back} rolled back, {s.flagged} flagged{off}{loss}{speed}; run {run.run_id}\n"
        )


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"


def printable(text: str) -> str:
    """The text on one line, without control characters (a monitored text must not steer the terminal)."""
    return "".join(c if c.isprintable() else " " for c in text)

"""A progress bar on a terminal, plain lines elsewhere, and signals that end a run after the step at hand."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fastweights.cli.output import Output


@contextmanager
def catch_signals(output: Output) -> Iterator[Callable[[], str | None]]:
    """Yields a function that names the signal (``SIGINT``, ``SIGTERM``) that came, if one did.

    A second one of the same kind acts at once, as it would have without this.
    """
    caught: list[str] = []
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number).name)
        if not output.quiet:  # not by print: it may be printing just now
            os.write(2, f"{caught[-1]}: finishing the step at hand; once more ends it at once\n".encode())
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, handle)
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress:
    """Shows a run on standard error: a bar on a terminal, else one line a row of the log; nothing with ``--quiet``."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Any = None
        self._task: Any = None
        self._last_bpb: float | None = None

    def __enter__(self) -> "Progress":
        if self._output.progress:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[figures]}"),
                progress.TimeRemainingColumn(),
                console=self._output.console(),
            )
            self._task = self._bar.add_task("train", total=None, figures="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def point(self, row: dict[str, Any]) -> None:
        if row["val_bpb"] is not None:
            self._last_bpb = row["val_bpb"]
        held_out = f"  val {self._last_bpb:.4f} bpb" if self._last_bpb is not None else ""
        figures = f"loss {row['loss']:.4f}{held_out}  {row['tokens_per_s']:,.0f} tok/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=row["step"], total=row["steps"], figures=figures)
        else:
            self._output.notice(f"step {row['step']}/{row['steps']}  {figures}  eta {row['eta_s']:.0f} s")

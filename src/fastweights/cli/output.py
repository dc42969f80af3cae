"""What every verb shares: global options, one JSON document on standard output, notices on standard error, exit codes.

The global options (``--root --json --quiet --debug``) are taken out of the command line before the verb sees it, so
they are accepted anywhere; a verb asks ``output.current()``.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError

if TYPE_CHECKING:
    from rich.console import Console

    from fastweights.store.root import Store

DONE, FAILED, WRONG_CALL, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

HELP = """Global options, anywhere on the line:
--root DIR (the store; else ARTIFACTS_ROOT, else ./artifacts), --json (standard output holds one JSON document),
--quiet (no notices, no progress), --debug (tracebacks)."""


@dataclass(frozen=True)
class Output:
    """The global options of this call."""

    root: str | None = None
    json: bool = False
    quiet: bool = False
    debug: bool = False

    def store(self) -> "Store":
        """The store that ``--root``, ``ARTIFACTS_ROOT`` or the current directory names; nothing is created yet."""
        from fastweights.store.root import Store

        return Store(self.root)

    def emit(self, record: Any, text: str | Callable[[], str] = "") -> None:
        """The result of a verb: ``record`` (dict, list or pydantic model) with ``--json``, else ``text``."""
        if self.json:
            write(dump(record) + "\n")
        elif text := text if isinstance(text, str) else text():
            write(text + "\n")

    def line(self, record: Any) -> None:
        """One JSON line of a verb that streams; nothing without ``--json``."""
        if self.json:
            write(dump(record) + "\n")

    def notice(self, text: str) -> None:
        """A line for the user on standard error, unless ``--quiet``."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @property
    def progress(self) -> bool:
        """Whether a progress bar has a terminal to be drawn on."""
        return not self.quiet and not self.json and sys.stderr.isatty()

    def console(self) -> "Console":
        """A rich console on standard error."""
        from rich.console import Console

        return Console(stderr=True, quiet=self.quiet)


_current = Output()


def current() -> Output:
    """The global options of this call."""
    return _current


def set_current(output: Output) -> None:
    """Done once by ``cli.main``; tests may do it too."""
    global _current
    _current = output


class Exit(Exception):
    """A verb that has said all it has to say and wants an exit code other than 0."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


VERBATIM = ("--message", "--prompt", "--text", "--canary-text", "--probe", "--answer")
"""Options whose value is a text of the user's, which may look like an option."""


class UsageError(FastweightsError):
    """The call was wrong. Exit code 2."""

    exit_code = WRONG_CALL


def split_globals(tokens: Sequence[str]) -> tuple[Output, list[str]]:
    """The global options, and the rest of the line with ``--snake_case`` flags written as ``--kebab-case``.

    Everything after a bare ``--`` is left alone, and so is the text that follows an option of :data:`VERBATIM`.
    """
    root: str | None = None
    flags = {"json": False, "quiet": False, "debug": False}
    rest: list[str] = []
    line = iter(tokens)
    for token in line:
        if token == "--":
            rest += [token, *line]
            break
        name, equals, value = token.partition("=")
        if name == "--root":
            root = value if equals else next(line, "")
            if not root or (not equals and root.startswith("--")):
                raise UsageError("--root wants a folder: --root DIR")
        elif name.startswith("--") and name[2:] in flags:
            if equals:
                raise UsageError(f"{name} takes no value, not '{value}'")
            flags[name[2:]] = True
        elif (kebab := token.replace("_", "-")) in VERBATIM:
            rest += [f"{kebab}={text}" for text in itertools.islice(line, 1)] or [kebab]
        elif name.startswith("--"):
            rest.append(name.replace("_", "-") + equals + value)
        else:
            rest.append(token)
    return Output(root=root, **flags), rest


def exit_code(error: BaseException) -> int:
    """1: the work failed; 2: the call was wrong (an id, a path, an option, a text that cannot be used)."""
    from fastweights.errors import Conflict, Corrupt

    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    if isinstance(error, (Corrupt, Conflict)) or not isinstance(error, FastweightsError):
        return FAILED
    return WRONG_CALL


def dump(record: Any) -> str:
    """One line of JSON; pydantic models and dataclasses too, non-finite floats as null."""
    import orjson

    def default(value: Any) -> Any:
        if hasattr(value, "model_dump"):
            return value.model_dump(mode="json")
        raise TypeError(f"{type(value).__name__} is not JSON")

    return orjson.dumps(record, default=default, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def write(text: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def table(rows: Iterable[Sequence[Any]], head: Sequence[str]) -> str:
    """A plain aligned table; ``None`` is shown as a dash. No colours, so it can be cut and grepped."""
    lines = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def silence_broken_pipe() -> None:
    """After ``BrokenPipeError``: standard output leads nowhere, so the interpreter's last flush cannot fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

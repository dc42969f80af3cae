"""``fastweights VERB``: the one program. Each verb lives in its own file, which is imported when the verb is called.

To add a verb: write ``cli/<verb>.py`` with ``app = cyclopts.App(name="<verb>", help=...)`` and add a line to ``VERBS``.
"""

import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from cyclopts import App, CycloptsError

from fastweights.cli import output
from fastweights.errors import FastweightsError

VERBS = {
    "up": "Serve the API and the dashboard on one port.",
    "train": "Train a model on text.",
    "meta": "Meta-learn a TTT-E2E model.",
    "models": "List, show, import, export and remove models.",
    "generate": "Sample text from a model.",
    "chat": "Talk to a session; its fast weights learn as it reads.",
    "session": "Sessions: begin, look, fork, tag, diff, go back, take a turn out, verify, blame, bisect.",
    "monitor": "Read any text through the guard and show every write.",
    "redteam": "Attack a model and its guard; report success against utility.",
    "nano": "Nano: weights that learn a world whose friction is hidden.",
    "sleep": "Consolidate what sessions learned into a candidate model.",
    "eval": "Measure: bits per byte, memories, recall, sleep, KV retrieval, Nano.",
    "bench": "Measure speed; each bench checks that its fast path is right first.",
    "demo": "Demos: a stream through a TTT-E2E model.",
    "plot": "PNG and CSV of any training run.",
    "doctor": "What is installed and works.",
    "fsck": "Check a store, and repair it.",
}


def _version() -> str:
    from importlib.metadata import version

    return version("fastweights")


def build() -> App:
    """The program. No verb is imported yet."""
    app = App(
        name="fastweights",
        help="A lab for language models whose weights learn while they read.",
        help_epilogue=output.HELP,
        help_format="plaintext",
        version=_version,
        version_flags=["--version"],
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app["--help"].show = app["--version"].show = False
    for name, text in VERBS.items():
        if importlib.util.find_spec(f"fastweights.cli.{name}") is not None:
            app.command(f"fastweights.cli.{name}:app", name=name, help=text)
    return app


def run(tokens: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Errors are one line on standard error."""
    debug = "--debug" in tokens
    try:
        shared, rest = output.split_globals(tokens)
        output.set_current(shared)
        app = build()
        if not rest:
            app.help_print([])
            return output.DONE
        app(rest)
        return output.DONE
    except output.Exit as stop:
        return stop.code
    except KeyboardInterrupt:
        return _complain("interrupted", output.INTERRUPTED, debug)
    except BrokenPipeError:
        output.silence_broken_pipe()
        return output.FAILED
    except CycloptsError as error:
        return _complain(str(error), output.WRONG_CALL, debug)
    except FastweightsError as error:
        return _complain(str(error), output.exit_code(error), debug)
    except OSError as error:
        where = f"{str(error.filename)!r}: " if error.filename else ""
        text = f"{where}{error.strerror or error}: choose another place (--root, ARTIFACTS_ROOT), or make it writable"
        return _complain(text, output.FAILED, debug)
    except Exception as error:
        text = f"{type(error).__name__}: {error} (not foreseen; --debug shows where)"
        return _complain(text, output.FAILED, debug)


def _complain(text: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return code


def main() -> None:
    """Entry point of the ``fastweights`` script and of ``python -m fastweights``."""
    code = run(sys.argv[1:])
    if "TORCHELASTIC_RUN_ID" in os.environ:  # under torchrun: a thread of gloo that still runs would abort the exit
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()

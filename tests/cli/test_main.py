"""What every verb shares: a light start, global options anywhere, one-line errors, exit codes."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import cyclopts
import pytest

from fastweights.cli import main, output
from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound, Unsupported


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastweights", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


HEAVY = """
import sys
from fastweights.cli.main import run
code = run(sys.argv[1:])
names = ("torch", "numpy", "tokenizers", "pydantic", "fastapi", "rich.progress")
heavy = [name for name in names if name in sys.modules]
print(code, heavy, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_program_itself_imports_nothing_heavy(arguments: list[str]) -> None:
    found = subprocess.run([sys.executable, "-c", HEAVY, *arguments], capture_output=True, text=True, check=True)
    assert found.stderr.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    "arguments", [["train", "--help"], ["models", "ls"], ["eval", "ppl", "--help"], ["up", "--help"]]
)
def test_these_verbs_do_not_import_torch(arguments: list[str], tmp_path: Path) -> None:
    code = HEAVY.replace('"numpy", "tokenizers", "pydantic", ', "")
    call = [sys.executable, "-c", code, *arguments, "--root", str(tmp_path)]
    found = subprocess.run(call, capture_output=True, text=True, check=True)
    assert found.stderr.splitlines()[-1] == "0 []"


def test_help_is_quick() -> None:
    """At most 400 ms. CPU time, since the machine may be busy with other tests; nothing here waits for a disk."""
    before = cpu_of_children()
    for _ in range(3):
        assert call("--help").returncode == 0
    assert (cpu_of_children() - before) / 3 < 0.4


def test_help_names_every_verb_and_the_global_options() -> None:
    text = call("--help").stdout
    for name in ["train", "models", "eval", "--root", "--json", "--quiet", "--debug"]:
        assert name in text
    assert "--root" in call("train", "--help").stdout


def test_every_verb_that_is_listed_can_be_imported() -> None:
    app = main.build()
    for name in main.VERBS:
        if name in app:
            assert isinstance(app[name], cyclopts.App)


# ---------------------------------------------------------------- the line


@pytest.mark.parametrize(
    ("line", "want", "rest"),
    [
        ("train --json --steps 3", {"json": True}, "train --steps 3"),
        ("--json train --steps 3", {"json": True}, "train --steps 3"),
        ("train --root a/b --quiet", {"root": "a/b", "quiet": True}, "train"),
        ("train --root=a=b --debug", {"root": "a=b", "debug": True}, "train"),
        ("train --seq_len 3 --ckpt_dir=a_b", {}, "train --seq-len 3 --ckpt-dir=a_b"),
        ("show -- --json my_text --seq_len", {}, "show -- --json my_text --seq_len"),
        ("chat --message --json --quiet", {"quiet": True}, "chat --message=--json"),
        ("show my_model -v", {}, "show my_model -v"),
        ("chat --message=--json", {}, "chat --message=--json"),
    ],
)
def test_global_options_are_taken_out_wherever_they_stand(line: str, want: dict[str, object], rest: str) -> None:
    found, left = output.split_globals(line.split())
    assert found == output.Output(**want)  # pyright: ignore[reportArgumentType]
    assert left == rest.split()


@pytest.mark.parametrize("line", ["train --root", "train --root=", "train --root --json", "train --json=yes"])
def test_global_options_that_make_no_sense(line: str) -> None:
    with pytest.raises(output.UsageError, match=r"--root wants a folder|--json takes no value"):
        output.split_globals(line.split())


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FastweightsError("x"), 2),
        (NotFound("x"), 2),
        (Unsupported("x"), 2),
        (output.UsageError("x"), 2),
        (Conflict("x"), 1),
        (Corrupt("x"), 1),
        (ValueError("x"), 1),
        (OSError("x"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert output.exit_code(error) == code


def with_verb(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """A program whose only verb does that."""

    def build() -> cyclopts.App:
        app = cyclopts.App(
            print_error=False,
            exit_on_error=False,
            suppress_keyboard_interrupt=False,
            result_action="return_value",
        )

        @app.command
        def work(*, steps: int = 0) -> None:
            if error is not None:
                raise error

        return app

    monkeypatch.setattr(main, "build", build)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (FastweightsError("steps is\n 3; give more"), 2, "error: steps is 3; give more\n"),
        (Corrupt("file x"), 1, "error: file x\n"),
        (RuntimeError("boom"), 1, "error: RuntimeError: boom (not foreseen; --debug shows where)\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (output.Exit(143), 143, ""),
        (None, 0, ""),
    ],
)
def test_errors_are_one_line(
    error: BaseException | None,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_verb(monkeypatch, error)
    assert main.run(["work"]) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", text)


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_verb(monkeypatch, Corrupt("file x"))
    assert main.run(["work", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("wrok", 'Unknown command "wrok". Did you mean "work"?'),
        ("work --stpes 3", "Unknown option: --stpes. Did you mean --steps?"),
        ("work --steps x", 'unable to convert "x" into int'),
        ("work --steps", "requires an argument"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    line: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_verb(monkeypatch, None)
    assert main.run(line.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert text in shown.err
    assert shown.err.count("\n") == 1


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m fastweights --help | true; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in found.stderr
    assert "Exception ignored" not in found.stderr


# ---------------------------------------------------------------- output


def test_json_is_one_document_and_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"a": float("nan"), "b": [1]}
    output.Output(json=True).emit(record, "text")
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1]}
    output.Output().emit(record, lambda: "text")
    assert capsys.readouterr().out == "text\n"
    output.Output().emit(record)
    output.Output().line(record)
    output.Output(quiet=True).notice("hush")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_a_table_is_aligned() -> None:
    text = output.table([("a", None), ("long", 0.123456)], ("id", "val"))
    assert text == "id    val\na     -\nlong  0.1235"

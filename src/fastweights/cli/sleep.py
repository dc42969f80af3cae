"""``fastweights sleep``: consolidate sessions into a candidate model, look at candidates, decide."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.data.physics import Mode
from fastweights.hints import validate, validate_given
from fastweights.services.sleep.records import Decision, SleepManifest, SleepRequest

if TYPE_CHECKING:
    from fastweights.services.sleep.jobs import SleepJobs

app = App(name="sleep", help="Consolidate what sessions learned into a candidate model; approve or reject candidates.")
_LIST = Parameter(negative="", consume_multiple=True)


@app.default
def sleep(
    *,
    mode: Literal["delta", "replay"] | None = None,
    base_model_id: str | None = None,
    model_id: str | None = None,
    sessions: Annotated[list[str] | None, _LIST] = None,
    max_memories: int | None = None,
    core_path: str | None = None,
    core_ratio: float | None = None,
    seq_len: int | None = None,
    train_steps: int | None = None,
    lr: float | None = None,
    max_core_rise: float | None = None,
    seed: int | None = None,
    nano: Mode | None = None,
    every: str | None = None,
    request: Annotated[Path | None, Parameter(show=False)] = None,
) -> None:
    """Consolidate what the sessions of a model have learned into a candidate. The model itself is never touched.

    Parameters
    ----------
    mode
        delta: distil what the fast weights know into few sparse weights; replay: train on what was said (delta).
    base_model_id
        Whose sessions (default: the latest usable model).
    model_id
        Id of the candidate (chosen for you).
    sessions
        Only these (default: all of the base).
    max_memories
        Turns that are harvested, the latest first (200).
    core_path
        Text that must not be forgotten: a file or folder, .jsonl with a "text" field too, or a named corpus (default:
        what the base was trained on, if it is still there, else the text that ships).
    core_ratio
        Share of core text among what is trained on (0.5).
    seq_len
        Tokens of a sequence (128, or what there is).
    train_steps
        Training steps (200).
    lr
        Of Muon (replay: 0.0002), or of row-wise Adagrad (delta: 0.2; of TTT and TTT-E2E models 0.01).
    max_core_rise
        Bits per byte that core text may lose (0.01).
    seed
        Of the order of what is read.
    nano
        linear or nonlinear: consolidate the Nano sessions of that mode instead.
    every
        Go on for ever: sleep, wait so long (90s, 30m, 6h, 1d), and sleep again where sessions have learned since.
    """
    from fastweights.services.sleep.consolidate import sleep as run

    shared = output.current()
    if request is not None:
        from fastweights.store import atomic

        asked = validate(SleepRequest, atomic.read_json(request), "sleep")
    else:
        given = {name: value for name, value in locals().items() if name in SleepRequest.model_fields}
        asked = validate_given(SleepRequest, "sleep", **given)
    if every is not None:
        from fastweights.services.sleep.schedule import repeat, seconds

        for found in repeat(shared.store(), asked, seconds(every), shared.notice):
            shared.line(found)
            if not shared.json:
                output.write(_text(found) + "\n")
        return
    found = run(shared.store(), asked, shared.notice)
    shared.emit(found, lambda: _text(found))


def _jobs() -> "SleepJobs":
    from fastweights.services.sleep.jobs import SleepJobs

    return SleepJobs(output.current().store())


@app.command
def ls() -> None:
    """Every candidate, newest first, and the sleeps under way."""
    rows = _jobs().list()
    head = ("candidate", "status", "mode", "base", "sessions", "turns", "retention", "core before", "core after")
    lines = (
        (
            one.model_id,
            one.status,
            one.mode,
            one.base_model_id,
            one.sessions,
            one.turns,
            one.retention,
            one.core_before,
            one.core_after,
        )
        for one in rows
    )
    empty = "no candidate yet; make one with: fastweights sleep"
    output.current().emit(rows, lambda: output.table(lines, head) if rows else empty)


@app.command
def show(model_id: str, /) -> None:
    """A candidate's evidence: core text and mix before and after, retention, forgetting, what changed, sources."""
    found = _jobs().show(model_id)
    head = f"{found.candidate.model_id}: {found.candidate.status}"
    output.current().emit(found, lambda: head if found.manifest is None else f"{head}\n\n{_text(found.manifest)}")


@app.command
def approve(model_id: str, /) -> None:
    """Make a candidate usable: the latest usable model is this one from now on. Its base stays as it is."""
    _decide(model_id, "approve")


@app.command
def reject(model_id: str, /) -> None:
    """Refuse a candidate; its files stay until `models rm`."""
    _decide(model_id, "reject")


@app.command
def revert(model_id: str, /) -> None:
    """Take an approval or a rejection back."""
    _decide(model_id, "revert")


def _decide(model_id: str, decision: Decision) -> None:
    found = _jobs().candidates.decide(model_id, decision)
    output.current().emit(found, f"{found.model_id}: {found.status}")


def _text(m: SleepManifest) -> str:
    unit = "MSE" if m.kind == "nano" else "bits per byte"
    kept = [(r.session_id, r.tokens, r.base, r.adapted, r.candidate, r.closed) for r in m.retention_rows]
    lost = [(f.name, f.kind, f.before, f.after, f"{f.rise:+.4f}") for f in m.forgetting_rows]
    parts = [(p.name, p.params, p.importance, p.change, p.scale, p.gain, p.cost) for p in m.parts]
    turns = [(s.session_id, s.memory, t.turn, t.preview) for s in m.sources for t in s.turns]
    refused = sum(write.decision != "committed" for write in m.writes)
    share = "-" if m.retention is None else f"{m.retention:.1%}"
    tables = [
        output.table(
            [("core", m.core_before, m.core_after), ("mix", m.mix_before, m.mix_after)], (unit, "before", "after")
        ),
        f"retention: {share} of the gap closed without fast weights ({m.unit})\n"
        + output.table(kept, ("session", "tokens", "base", "adapted", "candidate", "closed")),
        "forgetting\n" + output.table(lost, ("text", "kind", "before", "after", "rise")),
        "parts\n" + output.table(parts, ("part", "weights", "core reads", "change", "kept", "gain", "cost")),
        "sources\n" + output.table(turns, ("session", "memory", "turn", "prompt")),
        f"{m.model_id} from {m.base_model_id}: {m.mode}, {m.steps} steps, {len(m.writes)} writes ({refused} refused), "
        f"{m.cpu_seconds:.1f} CPU seconds\nfastweights sleep approve {m.model_id}   or: reject",
    ]
    return "\n\n".join([*tables, *m.notes])

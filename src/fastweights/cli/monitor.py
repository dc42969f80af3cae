"""``fastweights monitor``: any text through the guard, one line a chunk as it happens."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.cli.monitor_output import Table, document
from fastweights.cli.policies import adjusted, named_policy
from fastweights.errors import FastweightsError
from fastweights.hints import validate_given
from fastweights.services.monitor_records import MonitorOptions

if TYPE_CHECKING:
    from fastweights.services.generate import ModelPool
    from fastweights.services.monitor import MonitorService

app = App(name="monitor", help="Read any text through the guard: what each chunk would write, and whether it may.")
REPORT = Path("monitor_report.json")


@app.default
def monitor(
    *,
    text: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    file: Annotated[list[Path] | None, Parameter(negative="", consume_multiple=True)] = None,
    stdin: Annotated[bool, Parameter(negative="")] = False,
    demo: Annotated[bool, Parameter(negative="")] = False,
    demo_high_entropy: Annotated[bool, Parameter(negative="")] = False,
    model: str | None = None,
    backbone: Literal["ssm", "gru"] | None = None,
    objective: Literal["ar", "mlm"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    chunk_tokens: int | None = None,
    lr: float | None = None,
    rule: Literal["sgd", "muon"] | None = None,
    clip: float | None = None,
    inner_steps: int | None = None,
    seed: int | None = None,
    abs_grad_norm_threshold: float | None = None,
    abs_update_norm_threshold: float | None = None,
    robust_z_threshold: float | None = None,
    policy: str | None = None,
    disable_gate: Annotated[bool, Parameter(negative="")] = False,
    min_entropy_threshold: float | None = None,
    min_diversity_threshold: float | None = None,
    ood_loss_threshold: float | None = None,
    ood_grad_threshold: float | None = None,
    disable_rollback: Annotated[bool, Parameter(negative="")] = False,
    rollback_abs_canary_delta: float | None = None,
    rollback_z_threshold: float | None = None,
    canary_text: Annotated[
        list[str] | None, Parameter(negative="", consume_multiple=False, allow_leading_hyphen=True)
    ] = None,
    spfw: bool | None = None,
    updates: Annotated[bool, Parameter(negative="--no-updates")] = True,
    influence: Annotated[bool, Parameter(negative="")] = False,
    write_json: Annotated[list[Path] | None, Parameter(negative="", consume_multiple=True)] = None,
) -> None:
    """Monitor a text, files, standard input or a demo. Each input is a run of its own, kept under text_runs/.

    Parameters
    ----------
    text
        The text itself.
    file
        A file of any kind and size (may be repeated: with --json one line of JSON a file).
    stdin
        Read standard input, as it comes.
    demo
        A built-in text in which attacks are hidden.
    demo_high_entropy
        A built-in text of random letters.
    model
        toy (the seeded reference model), or a model id.
    backbone
        Of the toy.
    objective
        ar: next token. mlm: masked tokens (toy only).
    device
        auto, cpu, cuda or mps (default: TEXT_LM_DEVICE, else auto); the toy always runs on the CPU.
    chunk_tokens
        Tokens that are read before each write (128; of an e2e model the chunk that it was trained with).
    lr
        Learning rate of the rule (0.05).
    rule
        sgd or muon.
    clip
        Longest gradient that sgd takes whole (L2).
    inner_steps
        Rule steps a chunk.
    seed
        Of the toy's weights and of the masks.
    abs_grad_norm_threshold
        Flag (report only) a gradient norm from here on (4 times what the policy knows as typical of the model).
    abs_update_norm_threshold
        Flag an attempted update from here on (no limit: only its robust deviations count).
    robust_z_threshold
        Flag either norm that lies so many robust deviations above its median (6).
    policy
        Guard policy: a YAML or JSON file, default, or observe (nothing is refused but what is not finite).
    disable_gate
        The gate still measures; it refuses nothing.
    min_entropy_threshold
        Least token entropy in bits, for chunks of any length (default: calibrated by length).
    min_diversity_threshold
        Least share of distinct tokens, for chunks of any length (default: calibrated by length).
    ood_loss_threshold
        Refuse a chunk with a loss above this, if its gradient norm is too high as well.
    ood_grad_threshold
        Refuse a chunk with a gradient norm above this, if its loss is too high as well.
    disable_rollback
        Canaries are still measured; audit, cumulative sum and drift refuse nothing.
    rollback_abs_canary_delta
        Most that a canary's loss may rise in one chunk (nats).
    rollback_z_threshold
        The same in robust deviations.
    canary_text
        Canary in place of the shipped ones (may be repeated); scored, never stored or logged.
    spfw
        Project each write so that no canary's loss rises to first order (default: as the policy says, which is on).
    updates
        --no-updates: measure and judge everything, write nothing; canary figures are those of the attempted writes.
    influence
        Name each chunk's most influential tokens (costs one more pass).
    write_json
        Also write the JSON of the last input to a file (default: monitor_report.json).
    """
    chosen = adjusted(
        named_policy(policy, model or "toy"),
        words=model in (None, "toy"),
        disable_gate=disable_gate,
        min_entropy=min_entropy_threshold,
        min_diversity=min_diversity_threshold,
        ood_loss=ood_loss_threshold,
        ood_grad=ood_grad_threshold,
        disable_rollback=disable_rollback,
        max_delta=rollback_abs_canary_delta,
        max_z=rollback_z_threshold,
        spfw=spfw,
    )
    flags = {
        "abs_grad_norm": abs_grad_norm_threshold,
        "abs_update_norm": abs_update_norm_threshold,
        "robust_z": robust_z_threshold,
    }
    options = validate_given(
        MonitorOptions,
        "monitor",
        flags={name: value for name, value in flags.items() if value is not None},
        policy=chosen,
        model=model,
        backbone=backbone,
        objective=objective,
        chunk_tokens=chunk_tokens,
        lr=lr,
        rule=rule,
        clip=clip,
        inner_steps=inner_steps,
        seed=seed,
        updates=updates,
        influence=influence,
    )
    report = None if write_json is None else (write_json or [REPORT])[-1]
    if report is not None and (report.is_dir() or not report.parent.is_dir()):  # now, not after the whole text
        raise output.UsageError(f"--write-json {str(report)!r} cannot be written: name a file in a folder that exists")
    inputs = _inputs(text, file or [], stdin, demo, demo_high_entropy)

    from fastweights.services.monitor import MonitorService

    service = MonitorService(output.current().store(), device)
    failed = None
    for one in inputs:
        try:
            _run(service, options, one, canary_text, report)
        except FastweightsError as error:
            if len(inputs) == 1:
                raise
            sys.stderr.write(f"error: {error}\n")  # the other files are read all the same
            failed = failed or output.exit_code(error)
    if failed is not None:
        raise output.Exit(failed)


@dataclass(frozen=True)
class _Input:
    source: str
    blocks: Iterable[bytes]
    file: str | None = None


def _inputs(text: str | None, files: list[Path], stdin: bool, demo: bool, high_entropy: bool) -> list[_Input]:
    from fastweights.data.demos import DEMOS
    from fastweights.data.tokenizer import text_bytes
    from fastweights.services.monitor import file_blocks, live_blocks

    given = [text is not None, bool(files), stdin, demo, high_entropy]
    if sum(given) != 1:
        raise output.UsageError(
            "give one input: --text, --file (may be repeated), --stdin, --demo or --demo-high-entropy"
        )
    if files:
        return [_Input(str(path), file_blocks(path), str(path)) for path in files]  # opened: a wrong name fails first
    if stdin:
        return [_Input("stdin", live_blocks(sys.stdin.buffer))]
    if text is not None:
        return [_Input("text", [text_bytes(text)])]
    name = "demo" if demo else "high_entropy"
    return [_Input(name, [text_bytes(DEMOS[name]())])]


def _run(
    service: "MonitorService",
    options: MonitorOptions,
    one: _Input,
    canary_text: list[str] | None,
    report: Path | None,
) -> None:
    from fastweights.cli.progress import catch_signals

    shared = output.current()
    show = None if shared.json else Table(one.source)
    with catch_signals(shared) as stopped:
        run = service.run(
            options,
            one.blocks,
            one.source,
            canary_text,
            file=one.file,
            on_event=show,
            cancelled=lambda: stopped() is not None,
        )
        signal = stopped()
    if shared.json:
        for part in document(service, run):
            sys.stdout.write(part)
        output.write("\n")
    elif show is not None:
        show.end(run)
    if run.summary is not None and run.summary.warning:
        shared.notice(f"notice: {run.summary.warning}")
    if report is not None:
        with open(report, "w", encoding="utf-8") as file:
            file.writelines(document(service, run))
            file.write("\n")
        shared.notice(f"wrote {report}")
    if signal is not None:
        raise output.Exit(output.INTERRUPTED if signal == "SIGINT" else output.TERMINATED)


@app.command
def calibrate(
    *,
    benign: Annotated[list[Path], Parameter(consume_multiple=True, negative="")],
    model: str = "toy",
    fpr: float = 0.01,
    lr: float | None = None,
    out: Path | None = None,
) -> None:
    """Limits from harmless text: write a policy file for --policy, of monitor and sessions alike.

    Parameters
    ----------
    benign
        Text files (several may follow).
    model
        toy, or a model id.
    fpr
        Share of chunks of such text that may be refused, all checks together.
    lr
        Learning rate that the model will learn with (default: that of sessions, 0.1; of the toy 0.05).
    out
        Where to write (default: policy-MODEL.yaml).
    """
    from fastweights.services.calibration import calibrate_policy, policy_file

    shared = output.current()
    out = out or Path(f"policy-{model}.yaml")
    policy, observed = calibrate_policy(_pool(), benign, model=model, fpr=fpr, lr=lr, name=out.stem[:64])
    flags = [f"--model {model}", f"--fpr {fpr:g}", *([] if lr is None else [f"--lr {lr:g}"]), f"--out {out.name}"]
    command = f"fastweights monitor calibrate {' '.join(flags)} --benign {' '.join(path.name for path in benign)}"
    out.write_text(policy_file(policy, command, benign), encoding="utf-8")
    result = {"policy": str(out), "chunks": observed.chunks, "fpr": fpr, **policy.model_dump(exclude={"gate", "spfw"})}
    text = (
        f"{out}: from {observed.chunks} chunks; a canary may rise by {policy.audit.max_delta:.4g} nats a chunk, "
        f"drift by {policy.drift.budget:.4g} in all"
    )
    shared.emit(result, text)


def _pool() -> "ModelPool":
    from fastweights.services.generate import ModelPool

    return ModelPool(output.current().store())

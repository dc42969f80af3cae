"""``fastweights eval``: figures of a model, by a command anyone can repeat."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.cli.eval_kv import kv
from fastweights.cli.eval_memory import adapt, recall
from fastweights.cli.eval_meta_text import meta_text
from fastweights.cli.eval_nano import nano
from fastweights.cli.eval_sleep import sleep
from fastweights.cli.policies import named_policy
from fastweights.hints import validate_given

if TYPE_CHECKING:
    from fastweights.redteam.records import Interval
    from fastweights.services.evals.sentry import SentryReport

app = App(name="eval", help="Measure a model.")
app.command(nano)
app.command(adapt)
app.command(recall)
app.command(kv)
app.command(meta_text)
app.command(sleep)


@app.command
def ppl(
    *,
    file: Path,
    model: str | None = None,
    split: Literal["all", "heldout"] = "all",
    stream: Annotated[bool, Parameter(negative="--cold")] = True,
    reset_every: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
) -> None:
    """Bits per byte of a file: how well the model predicts each byte from those before it.

    Parameters
    ----------
    file
        Any file, of any size; it is read as bytes.
    model
        Id of a model (default: the latest usable one; starter is always there).
    split
        heldout: only the last part of the file, cut where training would cut it.
    stream
        Carry the state from front to end; --cold: windows of 64 tokens, each without history.
    reset_every
        Start from a fresh state every so many tokens, e.g. the length that a TTT model was trained on.
    device
        auto, cpu, cuda or mps (default: TEXT_LM_DEVICE, else auto).
    """
    from fastweights.services.evals import text as evaluation

    if reset_every is not None and reset_every < 1:
        raise output.UsageError(f"--reset-every {reset_every}: give 1 or more tokens, or leave it out")
    found = evaluation.ppl(
        output.current().store(),
        file,
        model_id=model,
        split=split,
        stream=stream,
        reset_every=reset_every,
        device=device,
    )
    if found["warning"]:
        output.current().notice(found["warning"])
    output.current().emit(
        found,
        f"{found['model_id']} on {file} ({found['mode']}, {split}): {found['bits_per_byte']:.4f} bits per byte over "
        f"{found['bytes']:,} bytes ({found['tokens']:,} tokens), {found['cpu_seconds']:.1f} CPU seconds",
    )


@app.command
def logits(
    *,
    ids: Path,
    out: Path,
    model: str | None = None,
    mode: Literal["prefill", "decode", "mixed"] = "prefill",
    prefill: int | None = None,
    precision: Literal["fp64", "fp32"] = "fp64",
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
) -> None:
    """Write a model's next-token logits of given token ids, e.g. to compare it with another implementation.

    Parameters
    ----------
    ids
        A safetensors file with input_ids [B, T], integers.
    out
        The safetensors file to write: logits [B, T, V] in fp32.
    model
        Id of a model (default: the latest usable one).
    mode
        prefill: all tokens at once; decode: token by token; mixed: first --prefill tokens at once, then token by token.
    prefill
        Of mixed (default: half of the tokens).
    precision
        fp64, so that what differs from another implementation is that one's rounding; fp32: as the model runs.
    device
        auto, cpu, cuda or mps (default: TEXT_LM_DEVICE, else auto).
    """
    from fastweights.services.evals import text as evaluation

    if prefill is not None and mode != "mixed":
        raise output.UsageError(f"--prefill is for --mode mixed, not {mode}: leave it out")
    found = evaluation.logits(
        output.current().store(),
        ids,
        out,
        model_id=model,
        mode=mode,
        prefill=prefill,
        precision=precision,
        device=device,
    )
    shape = " x ".join(map(str, found["shape"]))
    gap = "" if mode == "prefill" else f"; at most {found['prefill_gap']:.2g} from the prefill's"
    output.current().emit(found, f"{found['model_id']} on {ids} ({mode}): logits {shape} -> {out}{gap}")


@app.command
def mixers(
    *,
    corpus: str = "tiny",
    cpu_seconds: float = 60.0,
    seq_len: int = 256,
    batch_size: int = 4,
    layers: int = 2,
    dim: int = 128,
    window: int = 128,
    lr: float = 0.003,
    seed: int = 0,
    seeds: int = 1,
) -> None:
    """TTT against a recurrence (ssm) against window attention: one size, one CPU time, one text, from scratch.

    Parameters
    ----------
    corpus
        File, folder, tiny or shakespeare.
    cpu_seconds
        Of training, for each.
    seq_len
        Bytes of a sample; each is read from a fresh state.
    batch_size
        Samples of a step.
    layers
        Blocks of each model.
    dim
        Channels; heads are 32 wide.
    window
        Of the attention.
    lr
        Peak rate of AdamW.
    seed
        Of weights and samples.
    seeds
        So many runs, from seed on; the table gives means, and from two on half of their 95 % interval.
    """
    from fastweights.services.evals.mixers import FIGURES, MIXERS, eval_mixers

    found = eval_mixers(
        corpus=corpus,
        cpu_seconds=cpu_seconds,
        seq_len=seq_len,
        batch_size=batch_size,
        layers=layers,
        dim=dim,
        window=window,
        lr=lr,
        seed=seed,
        seeds=seeds,
    )
    rows = [(name, f"{found[name]['parameters']:,}", *(_mean(found[name][key]) for key in FIGURES)) for name in MIXERS]
    titles = ("mixer", "parameters", *(key.replace("_", " ") for key in FIGURES))
    output.current().emit(found, lambda: output.table(rows, titles))


def _mean(figure: dict[str, Any]) -> str:
    digits = 3 if figure["mean"] < 100 else 0
    half = "" if figure["half_width"] is None else f" ± {figure['half_width']:,.{digits}f}"
    return f"{figure['mean']:,.{digits}f}{half}"


@app.command
def sentry(
    *,
    model: str = "toy",
    policy: str | None = None,
    benign: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    payloads: int | None = None,
    seed: int | None = None,
    max_bytes: int | None = None,
) -> None:
    """False alarms, learning and detection of a guard policy, at 32 and 128 tokens a chunk, through the actual update.

    Parameters
    ----------
    model
        toy (the seeded reference model), or a model id.
    policy
        Guard policy: a YAML or JSON file, default, observe, or the name of one that ships.
    benign
        NAME=PATH of harmless texts (several may follow). Default: a play, Python source, prose and Markdown that are
        installed with Fastweights; the report says which kinds this machine lacks.
    payloads
        Attack texts of each family, at each chunk size (20).
    seed
        Of the payloads (0).
    max_bytes
        Read so much of each text (default: all of a given one, 64 KiB of a default one).
    """
    from fastweights.services.evals.sentry import SentryRequest, evaluate, named_paths
    from fastweights.services.generate import ModelPool

    shared = output.current()
    request = validate_given(
        SentryRequest,
        "eval sentry",
        model=model,
        policy=named_policy(policy, model),
        benign=dict(named_paths(benign or [])),
        payloads=payloads,
        seed=seed,
        max_bytes=max_bytes,
    )
    report = evaluate(ModelPool(shared.store()), request, shared.notice)
    shared.emit(report, lambda: _sentry_text(report))


def _sentry_text(report: "SentryReport") -> str:
    texts = [
        (
            one.name,
            one.chunk_tokens,
            one.chunks,
            f"{one.blocked}+{one.rolled_back}",
            _share(one.false_alarms),
            one.loss_no_updates,
            one.loss,
            f"{one.learning_gain:+.4f}",
        )
        for one in report.texts
    ]
    families = [
        (one.family, one.chunk_tokens, f"{one.refused}/{one.n}", _share(one.detection), one.committed_before)
        for one in [*report.families, *report.look_alikes]
    ]
    paths = dict.fromkeys(f"{one.name}: {one.bytes:,} bytes of {one.path}" for one in report.texts)
    return "\n\n".join(
        (
            output.table(
                texts,
                (
                    "benign",
                    "chunk",
                    "chunks",
                    "blocked+rolled back",
                    "false alarms (95 %)",
                    "no updates",
                    "learning",
                    "gain",
                ),
            ),
            output.table(families, ("payloads", "chunk", "refused", "share (95 %)", "chunks before")),
            "\n".join([*paths, *report.missing]),
            f"model {report.model}, policy {report.policy}, {report.payloads} payloads a family, seed {report.seed}, "
            f"{report.cpu_seconds:.0f} CPU seconds; losses in nats per token",
        )
    )


def _share(interval: "Interval") -> str:
    if interval.value is None or interval.low is None or interval.high is None:
        return "-"
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})"

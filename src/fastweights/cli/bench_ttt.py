"""``fastweights bench ttt``: TTT-Linear's inner loop, or a whole model, in every way there is."""

from typing import Literal

from fastweights.cli import output


def ttt(
    *,
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu",
    dtype: Literal["fp32", "bf16"] = "fp32",
    batch: int = 1,
    heads: int = 4,
    head_dim: int = 64,
    chunk: int = 16,
    seq: int = 512,
    repeats: int = 7,
    compiled: bool = True,
    assert_speedup: float | None = None,
    model: bool = False,
    memory: bool = False,
) -> None:
    """TTT-Linear's inner loop: token by token, by chunks, with its own backward, and through torch.compile.

    primal: the slow twin that the tests compare with. primal_fused: the same with torch's fused LayerNorm and steps in
    place. official: the official variant's chunks, plainly.

    Parameters
    ----------
    device
        Where.
    dtype
        Of the inputs; the inner loop computes in fp32.
    batch
        Sequences side by side.
    heads
        Of the layer.
    head_dim
        Width of a head.
    chunk
        Tokens of a chunk.
    seq
        Tokens of a sequence, a multiple of chunk.
    repeats
        Runs of each; the median counts.
    compiled
        Also measure torch.compile (the first run compiles, 10 to 40 s).
    assert_speedup
        Exit with 1 unless the handwritten loop's forward is so many times as fast as the primal's.
    model
        Instead, a whole model (hidden 256, 4 layers) at 512 to 8192 tokens: reading, training, decoding, memory; of
        the other flags it heeds device, batch, chunk and repeats.
    memory
        Instead, the bytes that training that model holds at 512 to 8192 tokens, with checkpoints through time and
        without, and the power of the length with which they grow; it heeds device, batch and chunk.
    """
    if model and memory:
        raise output.UsageError("--model and --memory are two benches: give one of them")
    if memory:
        from fastweights.services.bench.ttt_memory import bench_ttt_memory

        held = bench_ttt_memory(device=device, batch=batch, chunk=chunk)
        keys = ("seq", "segment_chunks", "live_mb", "live_mb_off")
        rows = [*(tuple(row[key] for key in keys) for row in held["rows"])]
        rows.append(("grows as T^", "", held["exponent"], held["exponent_off"]))
        titles = ("tokens", "segment, chunks", "live MB", "without checkpoints")
        output.current().emit(held, lambda: output.table(rows, titles))
        return
    if model:
        from fastweights.services.bench.ttt_model import bench_ttt_model

        whole = bench_ttt_model(device=device, batch=batch, chunk=chunk, repeats=repeats)
        to = whole["to_official"]
        rows = [
            (name, f"{rate:.0f}/s", f"{to[name]:.1f}" if name in to else "")
            for name, rate in whole["tokens_per_second"].items()
        ]
        rows += [(f"peak at {t}", str(peaks), "") for t, peaks in whole["peak_bytes"].items()]
        output.current().emit(whole, lambda: output.table(rows, ("figure", "value", "x official")))
        return
    from fastweights.services.bench.ttt import bench_ttt

    result = bench_ttt(
        device=device,
        dtype=dtype,
        batch=batch,
        heads=heads,
        head_dim=head_dim,
        chunk=chunk,
        seq=seq,
        repeats=repeats,
        compiled=compiled,
    )
    rows = []
    for name in ("primal", "primal_fused", "official", "dual", "handwritten", "compiled"):
        if found := result[name]:
            kinds = ("forward", "forward_backward")
            speed = [f"{found[kind] / 1e3:.1f}k" for kind in kinds]
            to = [
                " / ".join(f"{found[kind] / result[base][kind]:.1f}" for kind in kinds)
                for base in ("primal", "primal_fused", "official")
            ]
            rows.append((name, *speed, *to))
    titles = ("way", "forward/s", "and backward/s", "x primal", "x primal_fused", "x official")
    output.current().emit(result, lambda: output.table(rows, titles))
    got = result["ratio"]["handwritten"]["forward"]
    if assert_speedup is not None and not got >= assert_speedup:
        output.current().notice(f"--assert-speedup {assert_speedup:g}: forward is only {got:.2f} times as fast")
        raise output.Exit(output.FAILED)

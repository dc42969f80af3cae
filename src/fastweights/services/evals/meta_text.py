"""``eval meta-text``: does meta-learning help a model that learns as it reads real text, at equal training CPU time?

Two runs of one network on the same samples: one is trained plainly to the end of its CPU seconds; the other plainly at
first (those steps are taken once and count for both) and then meta-learned, whose steps cost more, so it takes fewer.
Both read held-out text with and without learning. Torch loads late.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.clock import cpu_seconds as process_seconds
from fastweights.data.sources import find_source
from fastweights.errors import FastweightsError
from fastweights.services.evals.equal_cpu import check_seeds, mean_of, train_by_turns
from fastweights.train.config import TrainConfig, load_config

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fastweights.data.corpus import Corpus
    from fastweights.data.tokenizer import Tokenizer
    from fastweights.models.e2e import E2ETransformer
    from fastweights.train.meta import MetaTrainer

ROWS = ("meta_on", "meta_off", "plain_off", "plain_dynamic")
READS = ("windows", "stream", "stream_forgetting")
GAINS = {
    "meta_on_over_meta_off": ("meta_off", "meta_on"),
    "meta_on_over_plain_off": ("plain_off", "meta_on"),
    "plain_dynamic_over_plain_off": ("plain_off", "plain_dynamic"),
    "meta_on_over_plain_dynamic": ("plain_dynamic", "meta_on"),
}
"""Bits per byte that the second row saves against the first."""
RATES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""That dynamic evaluation is tuned over, one for all tensors, on held-out text that no figure is measured on."""
FACTORS = (0.25, 0.5, 1.0, 2.0)
"""On the learned rates, tuned likewise, for a stream: it is far longer than what they were learned for."""
_STREAMS = 4  # read side by side
_ROWS = 8  # windows read side by side
_CURVE = 16  # parts of a stream that its curve is given for


def eval_meta_text(
    preset: str = "meta_text_cpu",
    *,
    corpus: str | None = None,
    cpu_seconds: float = 120.0,
    seeds: int = 3,
    seed: int = 0,
    scored_bytes: int = 3 << 14,
    tuning_bytes: int = 1 << 14,
    notice: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """For each of :data:`READS` the bits per byte of each of :data:`ROWS` and :data:`GAINS`, as of ``mean_of``.

    ``windows``: of the training length, each from a fresh state. ``stream``: four stretches side by side, state and
    fast weights carried on to the end. ``stream_forgetting``: the fast weights return to their start after every
    training length. Held-out text: its first ``tuning_bytes`` tune the rates, the next ``scored_bytes`` are measured.
    ``curves``: bits per byte along a window (a chunk at a time) and along a stream (sixteenths), means over the seeds.
    Raises FastweightsError where the preset is not meta-learning of text, or the text is too short.
    """
    check_seeds(seeds)
    base = load_config(preset, {"corpus": corpus})
    if base.meta is None or base.meta.kv is not None:
        raise FastweightsError(f"preset {preset!r} does not meta-learn text: give meta_text_cpu, or a YAML file")
    longest = base.seq_len * _STREAMS
    if not 0 < cpu_seconds < math.inf or min(scored_bytes, tuning_bytes) < longest:
        raise FastweightsError(
            f"cpu_seconds={cpu_seconds}, scored_bytes={scored_bytes}, tuning_bytes={tuning_bytes}: give CPU seconds "
            f"above 0 and at least {longest} bytes"
        )
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.data.corpus import encode_source
    from fastweights.data.tokenizer import ByteTokenizer
    from fastweights.models.device import set_threads

    set_threads()
    keep_freed_memory()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        cache, tokenizer = Path(folder), ByteTokenizer()
        text = encode_source(find_source(base.corpus or "tiny", base.val_fraction, (), cache), tokenizer, cache)
        ids = text.val[(text.val != tokenizer.bos_id) & (text.val != tokenizer.eos_id)]
        if len(ids) <= tuning_bytes + scored_bytes:
            raise FastweightsError(
                f"scored_bytes={scored_bytes} after tuning_bytes={tuning_bytes}: held out are {len(ids)} bytes, and "
                "one more is needed; give less, or a longer corpus"
            )
        for one in range(seed, seed + seeds):
            config = base.model_copy(update={"seed": one})
            plain, meta, costs = _trained(config, cpu_seconds, text, tokenizer)
            found.append(costs | _measured(plain, meta, ids, tuning_bytes, scored_bytes, base.seq_len))
            for read in READS:
                bits = ", ".join(f"{row} {value:.4f}" for row, value in found[-1][read].items())
                notice(f"seed {one}, {read}: {bits}")
    model = base.model_for(tokenizer.vocab_size)
    return {
        "preset": preset,
        "corpus": text.name,
        "train_bytes": text.train_bytes,
        "val_bytes": text.val_bytes,
        "tuning_bytes": tuning_bytes,
        "scored_bytes": scored_bytes,
        "model": model.model_dump(),
        "seq_len": base.seq_len,
        "batch_size": base.batch_size,
        "seeds": [seed + i for i in range(seeds)],
        "budget_cpu_seconds": cpu_seconds,
        "plain_share": base.meta.plain,
        "threads": torch.get_num_threads(),
        **{name: found[0][name] for name in ("parameters", "fast_parameters")},
        **{
            name: {key: [one[name][key] for one in found] for key in found[0][name]}
            for name in ("training", "rates", "grids")
        },
        **{read: _read_summary([one[read] for one in found]) for read in READS},
        "curves": {
            read: {row: _mean_curve([one["curves"][read][row] for one in found]) for row in ROWS}
            for read in ("windows", "stream")
        },
        "cpu_seconds": process_seconds(),
    }


def _read_summary(seeds: list[dict[str, float]]) -> dict[str, Any]:
    bits = {row: mean_of([one[row] for one in seeds]) for row in ROWS}
    gains = {name: mean_of([one[old] - one[new] for one in seeds]) for name, (old, new) in GAINS.items()}
    return {**bits, "gains": gains}


def _mean_curve(curves: list[list[float]]) -> list[float]:
    return [math.fsum(values) / len(values) for values in zip(*curves, strict=True)]


# ---------------------------------------------------------------- training


def _trained(
    config: TrainConfig, budget: float, text: Corpus, tokenizer: Tokenizer
) -> tuple[E2ETransformer, E2ETransformer, dict[str, Any]]:
    """The plain model and the meta-learned one, in eval mode, and what they cost."""
    from fastweights.train.meta import MetaTrainer

    assert config.meta is not None

    def run(**how: Any) -> MetaTrainer:
        meta = config.meta.model_copy(update={**how, "plain": 0.0})  # type: ignore[union-attr]
        return MetaTrainer(config.model_copy(update={"meta": meta}), text, tokenizer)

    plain, share = run(updates=False), config.meta.plain
    used = train_by_turns({"plain": plain}, budget, until=share * budget) if share else {"plain": 0.0}
    meta, first = run(updates=True), plain.step
    meta.restore(*plain.state())
    meta.config = plain.config
    used = train_by_turns({"plain": plain, "meta": meta}, budget, used={"plain": used["plain"], "meta": used["plain"]})
    costs: dict[str, Any] = {
        "plain_steps": plain.step,
        "plain_cpu_seconds": used["plain"],
        "meta_steps_plain": first,
        "meta_steps": meta.step - first,
        "meta_cpu_seconds": used["meta"],
    }
    plain_lm, meta_lm = (one.model.eval().requires_grad_(False) for one in (plain, meta))
    fast = sum(p.numel() for name, p in plain_lm.named_parameters() if name in plain_lm.fast_names)
    return plain_lm, meta_lm, {"training": costs, "parameters": plain.n_params, "fast_parameters": fast}


# ---------------------------------------------------------------- reading


def _measured(
    plain: E2ETransformer, meta: E2ETransformer, ids: np.ndarray, tuning_bytes: int, scored_bytes: int, seq_len: int
) -> dict[str, Any]:
    """Everything of one seed: bits per byte by :data:`READS` and :data:`ROWS`, curves, rates and what was searched."""
    import numpy as np
    import torch

    def pairs(first: int, size: int, width: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, rows of ``width``."""
        rows = size // width
        part = torch.from_numpy(ids[first : first + rows * width + 1].astype(np.int64))
        return part[:-1].view(rows, width), part[1:].view(rows, width)

    def long(size: int) -> int:
        return size // (_STREAMS * seq_len) * seq_len

    tune = {"windows": pairs(0, tuning_bytes, seq_len), "stream": pairs(0, tuning_bytes, long(tuning_bytes))}
    score = {
        "windows": pairs(tuning_bytes, scored_bytes, seq_len),
        "stream": pairs(tuning_bytes, scored_bytes, long(scored_bytes)),
    }
    grids = {
        "plain_windows": {rate: _bits(plain, *tune["windows"], rates=rate).mean().item() for rate in RATES},
        "plain_stream": {rate: _bits(plain, *tune["stream"], rates=rate).mean().item() for rate in RATES},
        "meta_stream": {f: _bits(meta, *tune["stream"], rates=_learned(meta, f)).mean().item() for f in FACTORS},
    }
    best = {name: min(grid, key=grid.__getitem__) for name, grid in grids.items()}
    bits: dict[str, dict[str, Tensor]] = {}
    for read in ("windows", "stream"):
        x_BT, y_BT = score[read]
        bits[read] = {
            "meta_on": _bits(meta, x_BT, y_BT, rates=_learned(meta, best["meta_stream"] if read == "stream" else 1.0)),
            "meta_off": _bits(meta, x_BT, y_BT, updates=False),
            "plain_off": _bits(plain, x_BT, y_BT, updates=False),
            "plain_dynamic": _bits(plain, x_BT, y_BT, rates=best[f"plain_{read}"]),
        }
    forget: dict[str, Any] = {"forget_every": seq_len // plain.config.inner.chunk}
    bits["stream_forgetting"] = {
        **bits["stream"],
        "meta_on": _bits(meta, *score["stream"], **forget),
        "plain_dynamic": _bits(plain, *score["stream"], rates=best["plain_windows"], **forget),
    }
    curves = {read: {row: one.mean(0) for row, one in bits[read].items()} for read in ("windows", "stream")}
    curves["stream"] = {
        row: torch.stack([part.mean() for part in one.tensor_split(min(_CURVE, len(one)))])
        for row, one in curves["stream"].items()
    }
    learned = _learned(meta)
    return {
        **{read: {row: one.mean().item() for row, one in rows.items()} for read, rows in bits.items()},
        "curves": {read: {row: one.tolist() for row, one in rows.items()} for read, rows in curves.items()},
        "rates": {
            "meta": {name: float(rate) for name, rate in learned.items()} if isinstance(learned, dict) else learned,
            "meta_stream_factor": best["meta_stream"],
            "plain_windows": best["plain_windows"],
            "plain_stream": best["plain_stream"],
        },
        "grids": {name: {str(rate): value for rate, value in grid.items()} for name, grid in grids.items()},
    }


def _bits(lm: E2ETransformer, x_BT: Tensor, y_BT: Tensor, **how: Any) -> Tensor:
    """Bits per byte of each row's chunks ``[B, C]``, as :func:`fastweights.train.meta.read_adapting` reads them."""
    import torch

    from fastweights.train.meta import read_adapting

    parts = zip(x_BT.split(_ROWS), y_BT.split(_ROWS), strict=True)
    return torch.cat([read_adapting(lm, x, y, **how)[1] for x, y in parts]) / math.log(2)


def _learned(lm: E2ETransformer, factor: float = 1.0) -> Any:
    """The model's own inner rates times ``factor``."""
    rates = lm.rates()
    return {name: rate * factor for name, rate in rates.items()} if isinstance(rates, Mapping) else rates * factor

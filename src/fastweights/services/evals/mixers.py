"""``eval mixers``: TTT against a recurrence (ssm) against window attention, of one size, at equal CPU time.

All train from scratch on bytes, on the same independent samples, with the same AdamW, by turns of a second, each until
its CPU seconds are used; the cosine of the rate follows the seconds, too, so that all end at its end. Torch loads late.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.data.sources import find_source
from fastweights.errors import FastweightsError
from fastweights.services.evals.equal_cpu import check_seeds, mean_of, train_by_turns

if TYPE_CHECKING:
    from fastweights.data.corpus import Corpus
    from fastweights.data.tokenizer import Tokenizer
    from fastweights.train.trainer import Trainer

MIXERS = ("ttt", "ssm", "attention")
FIGURES = ("steps", "cpu_seconds", "tokens_per_cpu_second", "mean_loss", "cold_bpb", "stream_bpb")
_SCORED = 1 << 15  # held-out tokens


def eval_mixers(
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
) -> dict[str, Any]:
    """For each of ``ttt``, ``ssm`` and ``attention``: ``parameters`` and :data:`FIGURES`, each with its ``values`` by
    seed, their ``mean``, and ``half_width`` of the mean's 95 % interval (Student's; None for a single seed).

    ``cold_bpb``: bits per byte of the first 32,768 held-out bytes, in windows of ``seq_len``, each from a fresh state
    as in training. ``stream_bpb``: read from front to end, the state carried. ``mean_loss``: of the whole training, in
    nats. The MLPs of ssm and attention are as wide as TTT's size wants.
    """
    if cpu_seconds <= 0 or min(seq_len, batch_size, layers, window) < 1:
        raise FastweightsError(f"cpu_seconds={cpu_seconds}, seq_len={seq_len}, window={window}: all above 0")
    check_seeds(seeds)
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.data.corpus import encode_source
    from fastweights.data.tokenizer import ByteTokenizer
    from fastweights.models.device import set_threads

    set_threads()
    keep_freed_memory()
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in MIXERS}
    with tempfile.TemporaryDirectory() as folder:
        cache, tokenizer = Path(folder), ByteTokenizer()
        text = encode_source(find_source(corpus, 0.1, (), cache), tokenizer, cache)
        models = {name: _model(name, layers, dim, window, tokenizer.vocab_size) for name in MIXERS}
        for one in range(seed, seed + seeds):
            fields = {"seq_len": seq_len, "batch_size": batch_size, "seed": one}
            runs = {name: _trainer(models[name], fields, lr, text, tokenizer) for name in MIXERS}
            used = train_by_turns(runs, cpu_seconds)
            for name, run in runs.items():
                rows[name].append(_figures(run, used[name], text, tokenizer))
    shape = {"layers": layers, "dim": dim, "seq_len": seq_len, "batch_size": batch_size, "window": window}
    how = {"corpus": corpus, "train_bytes": text.train_bytes, "val_bytes": text.val_bytes, "lr": lr, "seed": seed}
    found = {name: _summary(rows[name]) for name in MIXERS}
    threads = torch.get_num_threads()
    return {**how, "seeds": seeds, "shape": shape, "budget_cpu_seconds": cpu_seconds, "threads": threads, **found}


def _model(mixer: str, layers: int, dim: int, window: int, vocab: int) -> dict[str, Any]:
    """The model's fields in a training config."""
    from fastweights.models.ttt_lm_config import TTTLMConfig, parameters

    def size(fields: dict[str, Any]) -> int:
        if mixer == "ssm":
            return _ssm_size(fields, vocab)
        return parameters(TTTLMConfig.model_validate({"vocab_size": vocab, **fields}))

    ttt = {"layers": layers, "mixer": {"dim": dim, "heads": max(1, dim // 32)}}
    if mixer == "ttt":
        return {"kind": "ttt_lm", **ttt}
    wanted = parameters(TTTLMConfig.model_validate({"vocab_size": vocab, **ttt}))
    own = {"layers": layers, "dim": dim} if mixer == "ssm" else {**ttt, "attention": {"window": window}}
    narrow, wide = (size({**own, "mlp_hidden": hidden}) for hidden in (64, 128))
    hidden = max(8, 64 + round((wanted - narrow) * 64 / (wide - narrow)))
    return {**({} if mixer == "ssm" else {"kind": "ttt_lm"}), **own, "mlp_hidden": hidden}


def _ssm_size(fields: dict[str, Any], vocab: int) -> int:
    from fastweights.models.tiny_lm import TinyLM
    from fastweights.models.tiny_lm_config import TinyLMConfig

    model = TinyLM(TinyLMConfig.model_validate({"vocab_size": vocab, **fields}))
    return sum(p.numel() for p in model.parameters())


def _trainer(model: dict[str, Any], fields: dict[str, Any], lr: float, text: Corpus, tokenizer: Tokenizer) -> Trainer:
    from fastweights.train.config import TrainConfig
    from fastweights.train.trainer import Trainer

    optim = {"rule": "adamw", "adam_lr": lr, "weight_decay": 0.01}
    how = {"model": model, "optim": optim, "reading": "samples", "schedule": "cosine", "final_lr": 0.1}
    return Trainer(TrainConfig.model_validate({**fields, **how}), text, tokenizer)


def _figures(run: Trainer, seconds: float, text: Corpus, tokenizer: Tokenizer) -> dict[str, Any]:
    from fastweights.models.scoring import corpus_score

    loss, _ = run.row()
    run.model.eval()
    scores = {
        name: corpus_score(run.model, text.val, tokenizer, window=window, limit=_SCORED)
        for name, window in (("cold_bpb", run.config.seq_len), ("stream_bpb", None))
    }
    return {
        "parameters": run.n_params,
        "steps": run.step,
        "cpu_seconds": seconds,
        "tokens_per_cpu_second": run.step * run.config.seq_len * run.config.batch_size / seconds,
        "mean_loss": loss,
        **{name: score.bits_per_byte(n_bytes) for name, (score, n_bytes) in scores.items()},
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {figure: mean_of([row[figure] for row in rows]) for figure in FIGURES}
    return {"parameters": rows[0]["parameters"], **figures}

"""``eval mixers``: TTT against a recurrence (ssm) against window attention, of about one size and CPU time.

All train from scratch on bytes, on the same independent samples, with the same AdamW and the same schedule, as many
steps as fit the CPU seconds given (from a short trial). Torch loads late.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from fastweights.data.sources import find_source
from fastweights.errors import FastweightsError

MIXERS = ("ttt", "ssm", "attention")
_TRIAL = 12  # steps, of which the second half is timed


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
) -> dict[str, Any]:
    """For each of ``ttt``, ``ssm`` and ``attention``: parameters, steps, tokens, CPU seconds and held-out figures.

    ``cold_bpb``: bits per byte of the held-out text in windows of ``seq_len``, each from a fresh state, as in training.
    ``stream_bpb``: read from front to end, the state carried. The ssm's MLP is made as wide as its size wants.
    """
    if cpu_seconds <= 0 or min(seq_len, batch_size, layers, window) < 1:
        raise FastweightsError(f"cpu_seconds={cpu_seconds}, seq_len={seq_len}, window={window}: all above 0")
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.data.corpus import encode_source
    from fastweights.data.tokenizer import ByteTokenizer
    from fastweights.models.device import set_threads

    set_threads()
    keep_freed_memory()
    fields = {"seq_len": seq_len, "batch_size": batch_size, "seed": seed, "lr": lr}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache, tokenizer = Path(folder), ByteTokenizer()
        text = encode_source(find_source(corpus, 0.1, (), cache), tokenizer, cache)
        for mixer in MIXERS:
            model = _model(mixer, layers, dim, window, tokenizer.vocab_size)
            found[mixer] = _one(model, fields, text, tokenizer, cpu_seconds)
    shape = {"layers": layers, "dim": dim, "seq_len": seq_len, "batch_size": batch_size, "window": window}
    how = {"corpus": corpus, "train_bytes": text.train_bytes, "val_bytes": text.val_bytes, "lr": lr, "seed": seed}
    return {**how, "shape": shape, "budget_cpu_seconds": cpu_seconds, "threads": torch.get_num_threads(), **found}


def _model(mixer: str, layers: int, dim: int, window: int, vocab: int) -> dict[str, Any]:
    """The model's fields in a training config."""
    from fastweights.models.ttt_lm_config import TTTLMConfig, parameters

    if mixer == "ssm":
        wanted = parameters(TTTLMConfig.model_validate({"vocab_size": vocab, **_ttt(layers, dim)}))
        narrow, wide = (_ssm_size(layers, dim, hidden, vocab) for hidden in (64, 128))
        hidden = 64 + round((wanted - narrow) * 64 / (wide - narrow))
        return {"layers": layers, "dim": dim, "mlp_hidden": max(8, hidden)}
    own = {"attention": {"window": window}} if mixer == "attention" else {}
    return {"kind": "ttt_lm", **_ttt(layers, dim), **own}


def _ttt(layers: int, dim: int) -> dict[str, Any]:
    return {"layers": layers, "mixer": {"dim": dim, "heads": max(1, dim // 32)}}


def _ssm_size(layers: int, dim: int, hidden: int, vocab: int) -> int:
    from fastweights.models.tiny_lm import TinyLM
    from fastweights.models.tiny_lm_config import TinyLMConfig

    model = TinyLM(TinyLMConfig(vocab_size=vocab, dim=dim, layers=layers, mlp_hidden=hidden))
    return sum(p.numel() for p in model.parameters())


def _one(model: dict[str, Any], fields: dict[str, Any], text: Any, tokenizer: Any, budget: float) -> dict[str, Any]:
    from fastweights.models.scoring import corpus_score
    from fastweights.train.config import TrainConfig
    from fastweights.train.trainer import Trainer

    sizes = dict(fields)
    lr = sizes.pop("lr")

    def trainer(steps: int) -> Trainer:
        return Trainer(
            TrainConfig.model_validate(
                {
                    **sizes,
                    "model": model,
                    "optim": {"rule": "adamw", "adam_lr": lr, "weight_decay": 0.01},
                    "reading": "samples",
                    "steps": steps,
                    "schedule": "cosine",
                    "final_lr": 0.1,
                }
            ),
            text,
            tokenizer,
        )

    trial = trainer(_TRIAL)
    for _ in range(_TRIAL // 2):
        trial.advance()
    a_step = _seconds(trial, _TRIAL // 2) / (_TRIAL // 2)
    run = trainer(max(1, round(budget / a_step)))
    seconds = _seconds(run, run.config.steps)
    loss, _ = run.row()
    run.model.eval()
    scores = {
        name: corpus_score(run.model, text.val, tokenizer, window=window)
        for name, window in (("cold_bpb", run.config.seq_len), ("stream_bpb", None))
    }
    tokens = run.config.steps * run.config.seq_len * run.config.batch_size
    return {
        "parameters": run.n_params,
        "steps": run.config.steps,
        "tokens": tokens,
        "epochs": tokens / text.train_bytes,
        "cpu_seconds": seconds,
        "tokens_per_cpu_second": tokens / seconds,
        "mean_loss": loss,
        **{name: score.bits_per_byte(n_bytes) for name, (score, n_bytes) in scores.items()},
    }


def _seconds(trainer: Any, steps: int) -> float:
    """CPU seconds of so many steps."""
    start = time.process_time()
    for _ in range(steps):
        trainer.advance()
    return time.process_time() - start

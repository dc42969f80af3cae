"""What training a large model would take, by arithmetic: nothing is built, no torch is loaded."""

from typing import Any

from fastweights.errors import FastweightsError
from fastweights.models import e2e_config, ttt_lm_config
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.ttt_lm_config import TTTLMConfig
from fastweights.train.config import TrainConfig

LARGE = 50_000_000  # parameters; one step of such a model takes a CPU core minutes
PLAN_VOCAB = 32_000


def is_large(config: TrainConfig) -> bool:
    """Whether the model is one that nobody wants to wait for on a CPU."""
    model = config.model_for(PLAN_VOCAB)
    if isinstance(model, E2EConfig):
        return e2e_config.parameters(model) > LARGE
    return isinstance(model, TTTLMConfig) and ttt_lm_config.parameters(model) > LARGE


def training_plan(config: TrainConfig, preset: str, ranks: int = 1) -> dict[str, Any]:
    """Parameters, FLOPs and bytes a rank, for ``ranks`` processes and for some more."""
    model = config.model_for(PLAN_VOCAB)
    if not isinstance(model, TTTLMConfig | E2EConfig):
        raise FastweightsError(f"preset {preset}: plan_only is for models of kind ttt_lm or e2e, not {config.kind}")
    worlds = sorted({ranks, 8, 64, 256, 1024})
    plans = [_plan(model, n, config) for n in worlds]
    here = plans[worlds.index(ranks)]
    return {
        "preset": preset,
        "status": "planned",
        "parameters": here["parameters"],
        "params": here["parameters"],
        "layers": model.layers,
        "dim": model.dim,
        "heads": model.heads if isinstance(model, E2EConfig) else model.mixer.heads,
        "vocab_size": model.vocab_size,
        "seq_len": config.seq_len,
        "batch_size": config.batch_size,
        "ranks": ranks,
        "flops_per_token": here["flops_per_token"],
        "memory_per_rank": here["bytes_per_rank"],
        "by_ranks": plans,
    }


def _plan(model: TTTLMConfig | E2EConfig, ranks: int, config: TrainConfig) -> dict[str, float]:
    if isinstance(model, E2EConfig):
        meta = config.meta is not None
        return e2e_config.plan(model, ranks=ranks, batch=config.batch_size, tokens=config.seq_len, meta=meta)
    return ttt_lm_config.plan(model, ranks=ranks, batch=config.batch_size, tokens=config.seq_len)


def plan_text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{found['preset']}: plan only, nothing is trained",
        f"parameters       {found['parameters']:,}",
        f"layers x width   {found['layers']} x {found['dim']}, {found['heads']} heads, {found['vocab_size']:,} tokens",
        f"FLOPs per token  {found['flops_per_token']:.4g} (forward and backward)",
        f"memory per rank  batch {found['batch_size']} x {found['seq_len']}, all in fp32, Adam, activations",
    ]
    for one in found["by_ranks"]:
        state, total = one["bytes_weights_and_optimizer_per_rank"] / 2**30, one["bytes_per_rank"] / 2**30
        lines.append(
            f"  {one['ranks']:>5} ranks  {total:>10,.1f} GiB  ({state:,.1f} GiB of them weights and optimiser)"
        )
    return "\n".join(lines)

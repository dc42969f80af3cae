"""The input gate as plain functions: a chunk's text, look-back and token ids in, findings out. Torch-free.

:mod:`~fastweights.guard.gate` wraps these as checks of the guard; red team and tests call them directly.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fastweights.guard.gate_policy import GatePolicy, LimitTable
from fastweights.guard.override import find_override
from fastweights.guard.signals import Signals, Statistic, measure

INPUT_RULES = ("entropy", "diversity", "repetition", "blob", "override")


class Finding(NamedTuple):
    """What one rule says: plain sentences where it refuses, and its figures whatever it says."""

    ok: bool
    reasons: tuple[str, ...]
    numbers: Mapping[str, float | None]


def judge(text: str, policy: GatePolicy, tail: str = "", ids: Sequence[int] = ()) -> dict[str, Finding]:
    """Every input rule of one chunk, those that are off left out. Never fails, whatever the text."""
    found = measure(text, tail, ids)
    return {
        name: rule_finding(name, found, text, tail, policy)
        for name in INPUT_RULES
        if getattr(policy, name).mode != "off"
    }


def rule_finding(name: str, signals: Signals, text: str, tail: str, policy: GatePolicy) -> Finding:
    """One input rule, by its name in :data:`INPUT_RULES`."""
    if name == "override":
        return override_finding(text, tail)
    if name == "entropy":
        return _limits({"entropy": (signals.entropy, policy.entropy.table, _ENTROPY)})
    if name == "diversity":
        return _limits({"diversity": (signals.diversity, policy.diversity.table, _DIVERSITY)})
    if name == "repetition":
        return _limits(
            {
                "cycle": (signals.cycle, policy.repetition.cycle, _CYCLE),
                "compression_window": (signals.compression, policy.repetition.compression, _COMPRESSION),
                "vocabulary": (signals.vocabulary, policy.repetition.vocabulary, _VOCABULARY),
            }
        )
    return _limits(
        {
            "encoded": (signals.blob, policy.blob.encoded, _ENCODED),
            "minified": (signals.minified, policy.blob.minified, _MINIFIED),
        }
    )


_ENTROPY = "token entropy is {value:.2f} bits over {size} tokens (limit {limit:.2f})"
_DIVERSITY = "only {value:.0%} of {size} tokens are distinct (limit {limit:.0%})"
_CYCLE = "{value:.0%} of the last {size} words repeat those one cycle before (limit {limit:.0%})"
_COMPRESSION = "the text compresses to {value:.0%} of its {size} bytes (limit {limit:.0%})"
_VOCABULARY = "only {value:.0%} of the last {size} words are distinct (limit {limit:.0%})"
_ENCODED = "{value:.0%} of the last {size} characters look encoded (base64, hex, …) (limit {limit:.0%})"
_MINIFIED = "{value:.0%} of the last {size} characters look like minified code (limit {limit:.0%})"


def _limits(rules: Mapping[str, tuple[Statistic | None, LimitTable | None, str]]) -> Finding:
    reasons: list[str] = []
    numbers: dict[str, float | None] = {}
    for name, (statistic, table, sentence) in rules.items():
        numbers[name] = None if statistic is None else statistic.value
        limit = None if statistic is None or table is None else table.limit(statistic.size)
        numbers[f"{name}_limit"] = limit
        if statistic is not None and limit is not None and table is not None and table.refuses(*statistic):
            reasons.append(sentence.format(value=statistic.value, size=statistic.size, limit=limit))
    return Finding(not reasons, tuple(reasons), numbers)


def override_finding(text: str, tail: str) -> Finding:
    hit = find_override(text, tail)
    if hit is None:
        return Finding(True, (), {"override": 0.0})
    where = {
        "plain": "",
        "letters apart": ", its letters set apart",
        "leet": ", in leet",
        "reversed": ", reversed",
        "rot13": ", in rot13",
        "decoded": ", encoded as base64 or hex",
    }[hit.view]
    return Finding(False, (f'instruction override ({hit.rule}{where}): "{hit.phrase}"',), {"override": 1.0})


def ood_finding(loss: float | None, grad_norm: float | None, tokens: int, policy: GatePolicy) -> Finding:
    """Loss (nats per token) and gradient norm both above their limits for so many tokens.

    Without a gradient (a closed-form learner) or without a calibrated table there is nothing to refuse.
    """
    ood = policy.ood
    size = max(1, tokens)
    loss_limit = None if ood.loss is None else ood.loss.limit(size)
    grad_limit = None if ood.grad_norm is None else ood.grad_norm.limit(size)
    numbers = {"loss": loss, "loss_limit": loss_limit, "grad_norm": grad_norm, "grad_norm_limit": grad_limit}
    if loss is None or grad_norm is None or loss_limit is None or grad_limit is None:
        return Finding(True, (), numbers)
    ok = not (loss > loss_limit and grad_norm > grad_limit)
    reason = (
        f"out of distribution and a heavy write: loss {loss:.2f} nats (limit {loss_limit:.2f}) and gradient norm "
        f"{grad_norm:.3g} (limit {grad_limit:.3g}) over {size} tokens"
    )
    return Finding(ok, () if ok else (reason,), numbers)

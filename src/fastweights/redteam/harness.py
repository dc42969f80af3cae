"""The whole experiment on one guard: attacks with controls, scores, ablation, utility, the drip figure.

The caller builds targets (``build(policy) -> Target``); this module only decides what is sent through them.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastweights.guard.policy import Policy
from fastweights.redteam.attacks import (
    GATE_FAMILIES,
    HARM_FAMILIES,
    Trace,
    control_attempt,
    gate_attempt,
    harm_attempt,
)
from fastweights.redteam.figures import drip_figure, undefended_search, utilities
from fastweights.redteam.records import (
    DEFENCES,
    Ablation,
    Attempt,
    Auc,
    Control,
    Drip,
    Family,
    Payload,
    Rate,
    Roc,
    Utility,
)
from fastweights.redteam.scores import SCORES, auc_interval, roc, wilson
from fastweights.redteam.search import Found, text_of
from fastweights.redteam.target import Costs, Target, without

Build = Callable[[Policy], Target]
DRIP_REPEATS = 256
ABLATIONS = (*DEFENCES, "gate+spfw", "all")
_BOOTSTRAP = 200
_HARM_ATTEMPTS = 5
_ALL = "all"


@dataclass(frozen=True)
class Plan:
    """``budget``: guard steps of one attempt. ``benign``: texts by name, for controls and utility."""

    policy: Policy
    budget: int
    seeds: tuple[int, ...]
    benign: Mapping[str, str]
    drip_search: int = 64
    drip_repeats: int = DRIP_REPEATS

    @property
    def harm_seeds(self) -> tuple[int, ...]:
        """Of the families that search: at least five, since one search differs much from the next."""
        more = (seed for seed in itertools.count() if seed not in self.seeds)
        return (*self.seeds, *itertools.islice(more, max(0, _HARM_ATTEMPTS - len(self.seeds))))

    def offline(self, seed: int) -> int:
        """Guard steps of a search without any defence: less for the seeds that were added to a small budget."""
        return self.drip_search if seed in self.seeds else min(self.drip_search, 4 * self.budget)


@dataclass(frozen=True)
class Findings:
    families: list[Family]
    auc: list[Auc]
    roc: list[Roc]
    ablation: list[Ablation]
    utility: list[Utility]
    drip: list[Drip]
    payloads: list[Payload]
    attempts: list[Attempt]
    costs: Costs


def run(build: Build, plan: Plan, note: Callable[[str], None] = lambda _: None) -> Findings:
    """Everything; ``note`` gets a line before each part."""
    costs: list[Costs] = []

    def built(off: str) -> Target:
        target = build(without(plan.policy, off))
        costs.append(target.costs)
        return target

    undefended, target = built(_ALL), built("none")
    note("search without a defence")
    found = {seed: undefended_search(undefended, seed, plan.offline(seed)) for seed in plan.harm_seeds}
    attacks: list[Trace] = []
    controls: list[Trace] = []
    for family in (*GATE_FAMILIES, *HARM_FAMILIES):
        note(f"attack: {family}")
        seeds = plan.harm_seeds if family in HARM_FAMILIES else plan.seeds
        for trace in _attack(target, found, family, seeds, plan.budget):
            attacks.append(trace)
            rng = random.Random(f"control/{len(controls)}")
            controls.append(control_attempt(target, _excerpt(plan.benign, rng), trace.attempt.chunks))
    note("ablation")
    ablation = _ablation(built, found, plan, attacks)
    note("utility")
    utility = [row for off in ("none", *ABLATIONS) for row in utilities(built(off), off, plan.benign)]
    note("drip")
    drips = [drip_figure(target, undefended, seed, found[seed], plan.drip_repeats) for seed in plan.seeds]
    return Findings(
        families=[_family(name, attacks, controls, plan.budget) for name in (*GATE_FAMILIES, *HARM_FAMILIES)],
        auc=_aucs(attacks, controls),
        roc=_rocs(attacks, controls),
        ablation=ablation,
        utility=utility,
        drip=drips,
        payloads=_payloads(target, attacks, drips),
        attempts=[trace.attempt for trace in attacks],
        costs=Costs(sum(one.steps for one in costs), sum(one.queries for one in costs)),
    )


# ---------------------------------------------------------------- attacks


def _attack(
    target: Target, found: Mapping[int, Found], family: str, seeds: Sequence[int], budget: int, *, whole: bool = True
) -> list[Trace]:
    if family in HARM_FAMILIES:
        return [harm_attempt(target, found[seed], family, seed, budget) for seed in seeds]
    names = GATE_FAMILIES[family]
    return [gate_attempt(target, family, name, seed, budget, whole=whole) for seed in seeds for name in names]


def _excerpt(benign: Mapping[str, str], rng: random.Random) -> str:
    """A benign text from a random line on, to its end."""
    text = benign[rng.choice(sorted(benign))]
    start = text.find("\n", rng.randrange(max(1, len(text) // 2))) + 1
    return text[start:]


def _ablation(
    built: Callable[[str], Target], found: Mapping[int, Found], plan: Plan, full: Sequence[Trace]
) -> list[Ablation]:
    """Each attack again with one defence off; the attacker adapts to the guard that is left. Half of the seeds."""
    rows = [_row("none", family, full) for family in (*GATE_FAMILIES, *HARM_FAMILIES)]
    for off in ABLATIONS:
        target = built(off)
        for family in (*GATE_FAMILIES, *HARM_FAMILIES):
            seeds = plan.seeds[: (len(plan.seeds) + 1) // 2] if family in HARM_FAMILIES else plan.seeds[:1]
            rows.append(_row(off, family, _attack(target, found, family, seeds, plan.budget, whole=False)))
    return rows


def _row(off: str, family: str, traces: Sequence[Trace]) -> Ablation:
    own = [trace.attempt for trace in traces if trace.attempt.family == family]
    return Ablation(
        off=off,
        family=family,
        attempts=len(own),
        successes=sum(one.success_at is not None for one in own),
        harm_max=max((one.harm for one in own), default=0.0),
    )


def _family(name: str, attacks: Sequence[Trace], controls: Sequence[Trace], budget: int) -> Family:
    pairs = [(a.attempt, c.attempt) for a, c in zip(attacks, controls, strict=True) if a.attempt.family == name]
    own, benign = [a for a, _ in pairs], [c for _, c in pairs]
    heldout = [one.heldout for one in own if one.heldout is not None]
    curve = []
    for steps in sorted({*(2**k for k in range(budget.bit_length())), budget}):
        hits = sum(one.success_at is not None and one.success_at <= steps for one in own)
        curve.append(Rate(budget=steps, successes=hits, attempts=len(own), interval=wilson(hits, len(own))))
    return Family(
        family=name,
        goal=own[0].goal,
        attempts=len(own),
        curve=curve,
        stopped=sum(one.stopped for one in own),
        harm_mean=sum(one.harm for one in own) / len(own),
        harm_max=max(one.harm for one in own),
        heldout_max=max(heldout, default=None),
        committed=sum(one.committed for one in own),
        refused=sum(one.refused for one in own),
        control=Control(
            attempts=len(benign),
            chunks=sum(one.chunks for one in benign),
            refused=sum(one.refused for one in benign),
            harm_max=max(one.harm for one in benign),
            successes=sum(one.success_at is not None for one in benign),
        ),
    )


# ---------------------------------------------------------------- scores


def _aucs(attacks: Sequence[Trace], controls: Sequence[Trace]) -> list[Auc]:
    rows = []
    for family in (*GATE_FAMILIES, *HARM_FAMILIES):
        own = [trace for trace in attacks if trace.attempt.family == family]
        for seed, score in enumerate(SCORES):
            up = [_values(trace, score, attack=True) for trace in own]
            down = [_values(trace, score, attack=False) for trace in controls]
            row = auc_interval(score, family, up, down, draws=_BOOTSTRAP, seed=seed)
            if row is not None:
                rows.append(row)
    return rows


def _rocs(attacks: Sequence[Trace], controls: Sequence[Trace]) -> list[Roc]:
    curves = []
    for score in SCORES:
        up = [value for trace in attacks for value in _values(trace, score, attack=True)]
        down = [value for trace in controls for value in _values(trace, score, attack=False)]
        if up and down:
            curves.append(roc(score, up, down))
    return curves


def _values(trace: Trace, score: str, *, attack: bool) -> list[float]:
    return [row[score] for row in trace.scores if score in row and bool(row["attack"]) == attack]


# ---------------------------------------------------------------- payloads


def _payloads(target: Target, attacks: Sequence[Trace], drips: Sequence[Drip]) -> list[Payload]:
    """What is worth keeping: every searched payload, and all that got through."""
    common = {"model": "", "chunk_tokens": target.chunk_tokens}
    kept = [
        Payload(
            name=f"drip-{one.seed}",
            family="drip",
            seed=one.seed,
            goal="harm",
            text=text_of(one.words),
            repeats=one.repeats,
            rise_of_one=one.rise_of_one,
            **common,
        )
        for one in drips
    ]
    for trace in attacks:
        one = trace.attempt
        if one.success_at is not None or (one.goal == "harm" and one.family != "drip"):
            rise = None if trace.found is None else trace.found.rise
            kept.append(
                Payload(
                    name=f"{one.family}-{one.variant}-{one.seed}".replace("_", "-"),
                    family=one.family,
                    seed=one.seed,
                    goal=one.goal,
                    text=trace.text,
                    repeats=1,
                    rise_of_one=rise,
                    **common,
                )
            )
    return kept

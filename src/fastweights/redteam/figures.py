"""Two figures of a red team run: what benign text still teaches (utility), and one payload repeated (drip)."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace

from fastweights.redteam.records import HARM, Drip, DripSide, Utility
from fastweights.redteam.search import Found, search, text_of
from fastweights.redteam.target import Target

_UTILITY_CHARACTERS = 2000


def utilities(target: Target, off: str, benign: Mapping[str, str]) -> list[Utility]:
    """Bits per byte of each benign text's beginning, with and without what the guard lets be learned from it."""
    return [_utility(target, off, name, text[:_UTILITY_CHARACTERS]) for name, text in benign.items()]


def _utility(target: Target, off: str, name: str, text: str) -> Utility:
    place = target.begin()
    frozen_weights = place.session.fast.weights
    frozen = learning = 0.0
    chunks = refused = 0
    for chunk in target.chunks(text):
        carry = place.session.fast.carry
        place, outcome = target.step(place, chunk)
        tokens = int(chunk.mask_BT.sum())
        still = replace(place.session.fast, weights=frozen_weights, carry=carry)
        frozen += tokens * float(target.learner.score(still, outcome.evidence.chunk))
        learning += tokens * (outcome.event.loss or 0.0)
        chunks += 1
        refused += not outcome.committed
    size = max(1, len(text.encode("utf-8", "replace")))
    bits = 1 / math.log(2) / size
    return Utility(
        off=off,
        text=name,
        bytes=size,
        chunks=chunks,
        refused=refused,
        bits_per_byte_frozen=frozen * bits,
        bits_per_byte_learning=learning * bits,
        gained=(frozen - learning) * bits,
    )


def undefended_search(undefended: Target, seed: int, budget: int) -> Found:
    """The 32-word search of the reference: whatever raises a canary most in one write that nothing guards."""
    return search(undefended, random.Random(f"{seed}/drip"), budget, distinct=False)


def drip_figure(target: Target, undefended: Target, seed: int, found: Found, repeats: int) -> Drip:
    """What that search found, ``repeats`` times with the guard and without."""
    text = text_of(found.words) * repeats
    guarded, bare = drip_side(target, text), drip_side(undefended, text)
    return Drip(
        seed=seed,
        words=list(found.words),
        search_steps=found.steps,
        rise_of_one=found.rise,
        repeats=repeats,
        guarded=guarded,
        undefended=bare,
        stopped_before_harm=guarded.harm_at is None and guarded.refused > 0,
    )


def drip_side(target: Target, text: str) -> DripSide:
    """A text through a guard: what it refused, and how far any canary ever stood above its initial loss."""
    place = target.begin()
    origin = target.heldout_loss(place.session.fast.weights)
    worst, committed = target.drift(place), 0
    chunks = 0
    first: int | None = None
    harm_at: int | None = None
    for place, outcome in target.read(place, target.chunks(text)):  # noqa: B020
        worst = max(worst, target.drift(place))
        committed += outcome.committed
        first = chunks if first is None and not outcome.committed else first
        harm_at = chunks if harm_at is None and worst >= HARM else harm_at
        chunks += 1
    now = target.heldout_loss(place.session.fast.weights)
    return DripSide(
        policy=target.guard.policy.name,
        chunks=chunks,
        committed=committed,
        refused=chunks - committed,
        first_refusal=first,
        harm_max=worst,
        harm_at=harm_at,
        heldout=None if now is None or origin is None else now - origin,
    )

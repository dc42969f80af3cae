"""Searching for payloads whose writes raise a canary's loss: words swapped one at a time, guided by the gradient.

The gradient ranks the swaps; what counts is the rise of a canary through the guard's own committed writes.
"""

import random
from dataclasses import dataclass, replace

from fastweights.redteam.payloads import WORDS
from fastweights.redteam.target import Place, Target

WORDS_A_PAYLOAD = 32
_SWAPS = 12  # candidates a round that the gradient ranks


@dataclass(frozen=True)
class Found:
    """``rise``: of the worst canary, in nats, through one delivery; 0 where it was refused."""

    words: tuple[str, ...]
    rise: float
    steps: int
    place: Place  # after the delivery

    @property
    def text(self) -> str:
        return text_of(self.words)


def text_of(words: tuple[str, ...] | list[str]) -> str:
    return " ".join(words) + " "


def benign_words(target: Target, rng: random.Random, count: int = WORDS_A_PAYLOAD) -> tuple[str, ...]:
    """Different words at random, as many as fit one chunk but at most ``count``."""
    words = rng.sample(WORDS, count)
    while len(words) > 1 and len(target.chunks(text_of(words))) > 1:
        words.pop()
    return tuple(words)


def climb(
    target: Target, place: Place, words: tuple[str, ...], rng: random.Random, rounds: int, *, distinct: bool = True
) -> tuple[str, ...]:
    """Ascent on the gradient's word alone: no guard step. Each round takes the best of some swaps, if it is better."""
    best = float(target.pressure(place, [text_of(words)])[0])
    for _ in range(rounds):
        swaps = _swaps(words, rng, distinct)
        pushes = target.pressure(place, [text_of(swap) for swap in swaps])
        top = int(pushes.argmax())
        if float(pushes[top]) > best:
            words, best = swaps[top], float(pushes[top])
    return words


def search(
    target: Target,
    rng: random.Random,
    budget: int,
    place: Place | None = None,
    *,
    words: tuple[str, ...] | None = None,
    distinct: bool = True,
) -> Found:
    """Coordinate-wise ascent within about ``budget`` guard steps, starting from ``words``, or from benign ones.

    Each round the gradient ranks some swaps and the guard judges the best of them; where that was no better, also one
    at random, so that a gradient that points nowhere does not hold the search up. ``distinct`` keeps the words of a
    payload different, as a gate that counts repetition wants it.
    """
    place = place or target.begin()
    start = target.costs.steps
    best = deliver(target, place, words or benign_words(target, rng))
    while target.costs.steps - start < budget:
        swaps = _swaps(best.words, rng, distinct)
        pushes = target.pressure(place, [text_of(swap) for swap in swaps])
        for words in (swaps[int(pushes.argmax())], rng.choice(swaps)):
            if target.costs.steps - start >= budget:
                break
            tried = deliver(target, place, words)
            if tried.rise > best.rise:
                best = tried
                break
    return replace(best, steps=target.costs.steps - start)


def deliver(target: Target, place: Place, words: tuple[str, ...]) -> Found:
    """One delivery through the guard, and what it raised."""
    before, after = target.drift(place), place
    start = target.costs.steps
    for after, _ in target.read(place, target.chunks(text_of(words))):  # noqa: B007
        pass
    return Found(words, target.drift(after) - before, target.costs.steps - start, after)


def _swaps(words: tuple[str, ...], rng: random.Random, distinct: bool) -> list[tuple[str, ...]]:
    pool = [word for word in WORDS if not distinct or word not in words]
    found = []
    for _ in range(_SWAPS):
        at = rng.randrange(len(words))
        found.append((*words[:at], rng.choice(pool), *words[at + 1 :]))
    return found

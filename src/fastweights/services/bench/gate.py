"""``bench gate``: the input gate on 64 KiB of text made to cost it most, on one thread, in CPU time. Torch-free.

What is measured is :func:`~fastweights.guard.judge.judge` with the shipped limits: every statistic and the override
grammar over all its views. The texts are seeded; those that end early because they are refused are no use to an
attacker of the gate's time, so each family is built to come near a rule and to miss it.
"""

import base64
import gc
import random
import statistics
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from fastweights.errors import FastweightsError
from fastweights.guard.gate_policy import default_gate
from fastweights.guard.judge import judge
from fastweights.guard.normalize import MAX_CHARACTERS

_WORDS = files("fastweights.data").joinpath("assets/tiny.txt").read_text(encoding="utf-8").split()[:2000]
_LOOKALIKES = str.maketrans("aeopcyxisj", "аеорсухіѕј")
_LEET = str.maketrans("oieast", "013457")
_SCRIPTS = (0x61, 0x430, 0x3B1, 0x1D41A)
_NEAR = (
    *("ignore", "forget", "the", "noise", "all", "of", "previous", "rules", "your", "prompt", "never", "you", "no"),
    *("longer", "follow", "system", "act", "as", "if", "told", "developers", "replace", "free", "from", "and", "on"),
)


def _prose(rng: random.Random, size: int) -> str:
    return " ".join(rng.choices(_WORDS, k=size // 2))[:size]


def _near_misses(rng: random.Random, size: int) -> str:
    return " ".join(rng.choices(_NEAR, k=size // 3))[:size]


def _each_backwards(text: str) -> str:
    return " ".join(word[::-1] for word in text.split())


def _decoys(rng: random.Random, size: int) -> str:
    """Short runs of base64 of random data and of prose, one after the other."""
    pieces = (_prose(rng, 24).encode() if i % 2 else rng.randbytes(24) for i in range(size // 33 + 1))
    return " ".join(base64.b64encode(piece).decode() for piece in pieces)[:size]


def _spread(words: tuple[str, ...], every: int) -> Callable[[random.Random, int], str]:
    """Prose with one of ``words`` after every few words: acts without rules, rules without acts."""

    def make(rng: random.Random, size: int) -> str:
        words_of = _prose(rng, size).split()
        for at in range(0, len(words_of), every):
            words_of[at] = rng.choice(words)
        return " ".join(words_of)[:size]

    return make


def _repeated(text: str) -> Callable[[random.Random, int], str]:
    return lambda _, size: (text * (size // len(text) + 1))[:size]


FAMILIES: dict[str, Callable[[random.Random, int], str]] = {
    "prose": _prose,
    "homoglyphs": lambda rng, size: _prose(rng, size).translate(_LOOKALIKES),
    "scripts mixed": lambda rng, size: "".join(chr(rng.choice(_SCRIPTS) + i % 25) for i in range(size)),
    "zero width": lambda rng, size: "\u200b".join(_prose(rng, size // 2)),
    "fullwidth": lambda rng, size: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in _prose(rng, size)),
    "spaced letters": lambda rng, size: " ".join(_prose(rng, size // 2)),
    "short words": lambda rng, size: "".join(rng.choice("abcdefghij") + " " for _ in range(size // 2)),
    "leet": lambda rng, size: _prose(rng, size).translate(_LEET),
    "reversed": lambda rng, size: _prose(rng, size)[::-1],
    "base64": lambda rng, size: base64.b64encode(rng.randbytes(size * 3 // 4)).decode()[:size],
    "base64 of prose": lambda rng, size: base64.b64encode(_prose(rng, size * 3 // 4).encode()).decode()[:size],
    "hex": lambda rng, size: rng.randbytes(size // 2).hex(),
    "near misses": _near_misses,
    "near misses, spaced": lambda rng, size: " ".join(_near_misses(rng, size // 2)),
    "near misses, reversed": lambda rng, size: _near_misses(rng, size)[::-1],
    "words reversed": lambda rng, size: _each_backwards(_prose(rng, size)),
    "near misses, words reversed": lambda rng, size: _each_backwards(_near_misses(rng, size)),
    "decoys": _decoys,
    "lists of bytes": lambda rng, size: "; ".join(", ".join(map(str, rng.randbytes(14))) for _ in range(size // 60)),
    "bits": lambda rng, size: " ".join(f"{byte:08b}" for byte in rng.randbytes(size // 9)),
    "base85": lambda rng, size: base64.b85encode(rng.randbytes(size * 4 // 5)).decode(),
    "ligatures": _repeated("\ufb03"),
    "acts only": _spread(("ignore", "forget", "override", "free", "supersede", "not"), 4),
    "rules only": _spread(("rules", "prompt", "instructions", "your", "system"), 4),
    "tags": _spread(("[system]", "<admin>", "### developer:"), 60),
    "markup": _spread(("(){};", "a=b;", "x.y(z)&&w", "{k:v}"), 2),
    "one letter": _repeated("a"),
    "one sign": _repeated("-"),
    "one word": _repeated("ignore "),
    "one mark": _repeated("\u0301"),
}  # fmt: skip


def bench_gate(*, size: int = MAX_CHARACTERS, repeats: int = 9, seed: int = 0) -> dict[str, Any]:
    """CPU milliseconds of one verdict: p50, p99 and the largest over all families, and what grows with the length.

    ``growth``: for each family the time at ``size`` over that at a quarter (4 is linear); ``capped``: the time at four
    times ``size`` over that of its own last ``size`` characters (a text beyond the cap costs no more than its cap).
    Raises :class:`FastweightsError` for a size below 4,096 or without a repeat.
    """
    if size < 4096 or repeats < 1:
        raise FastweightsError(f"size={size}, repeats={repeats}: give a size from 4096 and at least 1 repeat")
    rows: dict[str, dict[str, float]] = {}
    all_ms: list[float] = []
    judge("é1a ignore all", default_gate("word"))  # tables are built once a process
    for name, make in FAMILIES.items():
        times = [_milliseconds(make(random.Random(seed + i), size)) for i in range(repeats)]
        quarter = min(_milliseconds(make(random.Random(seed + i), size // 4)) for i in range(repeats))
        long = make(random.Random(seed), size * 4)
        longer, end = (min(_milliseconds(text) for _ in range(3)) for text in (long, long[-size:]))
        all_ms += times
        rows[name] = {
            "p50_ms": statistics.median(times),
            "max_ms": max(times),
            "growth": min(times) / quarter,
            "capped": longer / end,
        }
    ordered = sorted(all_ms)
    worst = max(rows, key=lambda name: rows[name]["p50_ms"])
    return {
        "characters": size,
        "measured": len(ordered),
        "p50_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "max_ms": ordered[-1],
        "worst_family": worst,
        "worst_family_p50_ms": rows[worst]["p50_ms"],
        "largest_growth": max(row["growth"] for row in rows.values()),
        "largest_capped": max(row["capped"] for row in rows.values()),
        "families": rows,
        "threads": 1,
    }


def _milliseconds(text: str) -> float:
    """CPU time of one verdict on ``text`` as a single chunk; its token ids are not part of it."""
    policy = default_gate("word")
    ids = list(map(hash, text.split()))
    gc.disable()  # as timeit does: a collection would be charged to the verdict that it happens to fall into
    try:
        start = time.process_time()
        judge(text, policy, text[:512], ids)
        return (time.process_time() - start) * 1e3
    finally:
        gc.enable()

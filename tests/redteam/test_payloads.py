import random

import pytest

from fastweights.guard.gate_policy import default_gate
from fastweights.guard.judge import judge
from fastweights.redteam.payloads import FAMILIES
from tests.guard.chunking import CHUNKERS

SIZES = (("word", 32), ("word", 128), ("byte", 64), ("byte", 128))


@pytest.mark.parametrize("family", FAMILIES)
def test_payloads_are_seeded(family: str) -> None:
    make = FAMILIES[family]
    assert make(random.Random(5), 3) == make(random.Random(5), 3)
    assert len(set(make(random.Random(5), 8))) >= 4


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gate_stops_them(family: str) -> None:
    payloads = FAMILIES[family](random.Random(4711), 20)
    for kind, size in SIZES:
        policy = default_gate("word" if kind == "word" else "byte")
        stopped = 0
        for payload in payloads:
            for text, tail, ids in CHUNKERS[kind](payload, size):
                if any(not finding.ok for finding in judge(text, policy, tail, ids).values()):
                    stopped += 1
                    break
        assert stopped >= 19, (kind, size, stopped)

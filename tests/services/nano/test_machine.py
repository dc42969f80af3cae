"""Random lives of Nano sessions: run, fork, tag, checkout, reset, revert, crash, reload, through the real guard."""

import os
import tempfile
from typing import Any, ClassVar

import pytest
from hypothesis.stateful import invariant

from fastweights.models.nano_config import NanoLearning, Rule
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.runs import NanoService
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.store.root import Store
from tests.models.nano_models import QUICK
from tests.services.test_session_machine import SessionMachine, run_machine

STEPS = (1, 12, 23, 34)  # of a word: within a block of 32, over its end


class NanoMachine(SessionMachine):
    """A state is a function of which steps were learned from and which were read frozen (a reverted run's), and of
    where momentum was forgotten, in any session and however the steps were cut into runs."""

    RULE: ClassVar[Rule] = "rls"
    bases = tempfile.TemporaryDirectory()
    base: NanoService | None = None
    made: ClassVar[dict[Any, str]] = {}

    def open(self, folder: str) -> NanoSessionService:
        if NanoMachine.base is None:
            NanoMachine.base = NanoService(Store(self.bases.name))
            NanoMachine.base.pretrain("nonlinear", QUICK)
        return NanoSessionService(Store(folder), NanoMachine.base)

    def make(self, name: str) -> str:
        learning = NanoLearning(rule=self.RULE, inner_steps=1, replay=64)
        return self.service.new(NanoSetting(mode="nonlinear", noise=0.1, learning=learning), name).session_id

    def say(self, session: str, word: int) -> None:
        self.service.run(session, STEPS[word])

    @invariant()
    def cuts_change_nothing(self) -> None:
        for head in self.heads.values():
            key = (self.RULE, _read(self.said[head]))
            assert NanoMachine.made.setdefault(key, self.states[head]) == self.states[head]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.check_at_the_end()
        super().teardown()


class MuonMachine(NanoMachine):
    RULE: ClassVar[Rule] = "muon"


def _read(words: list[Any]) -> tuple[Any, ...]:
    """Steps in a row that were learned from, those that were read frozen, and where the rule forgot."""
    found: list[Any] = []
    for word in words:
        if word == "forget":
            found.append(word)
            continue
        frozen, steps = (False, STEPS[word]) if isinstance(word, int) else (True, STEPS[word[1]])
        if found and found[-1] != "forget" and found[-1][0] == frozen:
            found[-1] = (frozen, found[-1][1] + steps)
        else:
            found.append((frozen, steps))
    return tuple(found)


@pytest.mark.parametrize("machine", [NanoMachine, MuonMachine])
def test_random_lives_of_nano_sessions(machine: type[NanoMachine]) -> None:
    run_machine(machine, 6, 10)


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_ten_thousand_random_lives_of_nano_sessions() -> None:
    run_machine(NanoMachine, int(os.environ.get("SEQUENCES", "10000")), 12)

"""The plain sentences of Nano's transactions know the wording of the guard's checks."""

import pytest

from fastweights.data import physics
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy, SpfwPolicy
from fastweights.guard.regression_policy import GradientCapPolicy, NanoPolicy, RegressionPolicy, StateBoundPolicy
from fastweights.models.nano_config import NanoLearning
from fastweights.models.nano_reader import NanoReader
from fastweights.services.nano.transactions import plain, sentence
from tests.models.nano_models import base

REASONS = {
    "gradient norm is 23.1 (limit 20)": "over the cap of 20",
    "replayed loss would go from 0.1 to 0.3 (limit 0.12)": "predicted worse, with an error of 0.3 instead of 0.1",
    "replayed loss would go from 0.1 to 0.09 (limit 0.05)": "helped too little",
    "canary rise is 9.1 robust deviations above its median (limit 8)": "9.1 robust deviations",
    "drift would reach 0.0300 MSE above the initial canary loss (budget 0.02)": "over the drift budget of 0.02",
    "gradient norm is not finite": "the gradient norm was not a finite number",
    "moon in the wrong house": "moon in the wrong house",
}


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_in_plain_words(reason: str) -> None:
    assert REASONS[reason] in plain(reason)


@pytest.mark.parametrize(
    "policy",
    [
        NanoPolicy(gradient=GradientCapPolicy(limit=1e-9)),
        NanoPolicy(regression=RegressionPolicy(ratio=1e-6, floor=0)),
        NanoPolicy(state=StateBoundPolicy(limit=1e-6)),
        NanoPolicy(audit=AuditPolicy(max_delta=1e-12), spfw=SpfwPolicy(mode="off")),
        NanoPolicy(cusum=CusumPolicy(slack=0, limit=1e-12), spfw=SpfwPolicy(mode="off")),
        NanoPolicy(drift=DriftPolicy(budget=1e-12), spfw=SpfwPolicy(mode="off")),
    ],
)
def test_what_a_check_says_is_known(policy: NanoPolicy) -> None:
    reader = NanoReader(base("linear"), NanoLearning(rule="sgd", policy=policy))
    found = reader.read(reader.start(physics.start("linear", 1)), 96)
    refused = [write.event for write in found.writes if write.event.decision != "committed"]
    assert refused
    for event in refused:
        assert all(plain(reason) != reason for reason in event.reasons), event.reasons
        said = sentence({"status": event.decision, "reasons": event.reasons})
        assert said.startswith(("Nothing was written: ", "The weights were put back: "))
        assert said.endswith(".")

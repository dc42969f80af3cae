"""Calibration rests on what would be committed; the policies that ship are what it writes, and every door uses them."""

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from fastweights.errors import FastweightsError
from fastweights.guard.policy import Policy
from fastweights.guard.shipped import calibrated_models, default_policy, shipped_policy
from fastweights.server.schemas import NewSession
from fastweights.services.calibration import Observed, calibrate_policy, policy_file
from fastweights.services.evals.sentry import SentryRequest
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_records import MonitorOptions, MonitorRequest
from fastweights.services.policies import named_policy
from fastweights.services.records import SessionOptions
from fastweights.services.redteam import RedteamRequest
from fastweights.store.root import Store

TEXT = (files("fastweights.data") / "assets" / "tiny.txt").read_text(encoding="utf-8")


@pytest.fixture
def benign(tmp_path: Path) -> Path:
    file = tmp_path / "benign.txt"
    file.write_text(TEXT[:6000], encoding="utf-8")
    return file


def test_limits_rest_on_what_is_committed(store: Store, benign: Path) -> None:
    """At a rate that overshoots, no limit grows with what was attempted: SPFW and an audit stand before it."""
    pool = ModelPool(store)
    calm, _ = calibrate_policy(pool, [benign], sizes=(32,))
    wild, observed = calibrate_policy(pool, [benign], sizes=(32,), lr=20)
    assert observed.chunks == len(observed.rises) + observed.refused
    assert max(observed.rises) <= 0.02
    for policy in (calm, wild):
        assert policy.audit.max_delta <= 0.03
        assert policy.gate is not None
        assert policy.gate.ood.loss is not None
        assert policy.gate.entropy.table is None  # the text rules keep the limits that ship
    assert calm.drift.budget < 0.05


def test_a_rate_at_which_nothing_is_committed_is_named(store: Store, benign: Path) -> None:
    with pytest.raises(FastweightsError, match="lr is 100"):
        calibrate_policy(ModelPool(store), [benign], model="starter", sizes=(512,), lr=100)


def test_sums_are_those_of_each_canary() -> None:
    """One canary rises while the other falls, in turn: neither gets anywhere."""
    swing = [({"a": 1.0, "b": 1.0}, {"a": 1.1, "b": 0.9}), ({"a": 1.1, "b": 0.9}, {"a": 1.0, "b": 1.0})] * 20
    climb = [({"a": k / 10}, {"a": (k + 1) / 10}) for k in range(20)]
    assert Observed(streams=[swing]).cusum(0.0) == pytest.approx(0.1)
    assert Observed(streams=[climb]).cusum(0.0) == pytest.approx(2.0)
    assert Observed(streams=[climb]).cusum(0.05) == pytest.approx(1.0)


def test_the_file_says_what_it_was_made_with(benign: Path) -> None:
    text = policy_file(Policy(), "fastweights monitor calibrate", [benign])
    assert text.startswith("# fastweights monitor calibrate\n# Chunks of 32 and 128 tokens")
    assert "benign.txt: 6000 bytes, sha256 " in text
    assert Policy.model_validate(yaml.safe_load(text)) == Policy()


@pytest.mark.parametrize("model", calibrated_models())
def test_a_shipped_policy_can_stop_harm_by_itself(model: str) -> None:
    policy = shipped_policy(model)
    assert policy is not None
    assert policy.name == model
    assert policy.drift.budget < 0.05  # nats: so far a canary rises at most, whatever the gate and SPFW let pass
    assert policy.audit.max_delta < 0.05
    assert {policy.audit.mode, policy.cusum.mode, policy.drift.mode, policy.spfw.mode} == {"enforce"}


@pytest.mark.parametrize("model", ["toy", "starter", "another"])
def test_every_door_has_the_policy_of_its_model(model: str) -> None:
    wanted = default_policy(model)
    assert wanted.name == (model if model in calibrated_models() else "default")
    assert named_policy("default", model) == wanted
    assert named_policy(None, model) == wanted
    for options in (MonitorOptions, SessionOptions, RedteamRequest, SentryRequest):
        assert options(model=model).policy == wanted
    assert MonitorRequest(model=model, text="a").options().policy == wanted


def test_a_session_gets_the_policy_once_its_model_is_known() -> None:
    assert SessionOptions().for_model("starter").policy == default_policy("starter")
    body = NewSession.model_validate({"model_id": "toy", "lr": 0.5})
    options = body.options().for_model("toy", spfw=False)
    assert (options.model, options.lr, options.policy.spfw.mode) == ("toy", 0.5, "off")
    assert options.policy.drift == default_policy("toy").drift
    own = Policy(name="own")
    assert NewSession(policy=own).options().for_model("starter").policy == own
    assert SessionOptions(policy=Policy()).for_model("starter").policy == Policy()  # stored: as it was given

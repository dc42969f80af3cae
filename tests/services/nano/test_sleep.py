"""Sleep of Nano sessions: a base that knows more of what their worlds share, and worse of no world."""

import pytest

from fastweights.errors import FastweightsError
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.services.sleep.candidates import Candidates
from fastweights.services.sleep.consolidate import sleep
from fastweights.services.sleep.records import SleepManifest, SleepRequest
from fastweights.store.fsck import fsck
from fastweights.store.models import Models
from fastweights.store.root import Store


@pytest.fixture
def lived(store: Store) -> Store:
    nano = NanoSessionService(store)
    for i, rule in enumerate(("rls", "rls", "muon")):
        nano.new(NanoSetting.model_validate({"seed": 500 + i, "learning": {"rule": rule}}), f"s{i}")
        nano.run(f"s{i}", 320)
    return store


def asleep(store: Store, **asked) -> SleepManifest:
    return sleep(store, SleepRequest.model_validate({"nano": "linear", **asked}))


def test_a_candidate_helps_where_sessions_lived_and_harms_no_other_world(lived: Store) -> None:
    found = asleep(lived, model_id="night")
    assert (found.kind, found.base_model_id, found.unit) == ("nano", "linear", "MSE")
    assert found.retention is not None
    assert found.retention > 0.05
    assert all(row.after <= 1.01 * row.before for row in found.forgetting_rows)
    assert sorted((source.session_id, source.tokens) for source in found.sources) == [(f"s{i}", 320) for i in range(3)]
    assert found.writes[-1].decision == "committed"
    assert [f.problem for f in fsck(lived).findings if f.level != "note"] == []


def test_an_approved_one_is_the_base_of_its_mode_until_that_is_taken_back(lived: Store) -> None:
    bases, candidates = NanoSessionService(lived).bases, Candidates(lived)
    first = bases.base("linear").record.checkpoint_sha256
    found = asleep(lived, model_id="night")
    assert bases.base("linear").record.checkpoint_sha256 == first
    candidates.decide("night", "approve")
    assert bases.base("linear").record.checkpoint_sha256 == found.checkpoint_sha256
    NanoSessionService(lived).run("s0", 64)  # a session goes on from the base that it has
    with pytest.raises(FastweightsError, match="no Nano session of mode 'linear' has learned from this base"):
        asleep(lived)
    candidates.decide("night", "revert")
    assert bases.base("linear").record.checkpoint_sha256 == first
    assert candidates.decide("night", "reject").status == "rejected"
    assert bases.base("linear").record.checkpoint_sha256 == first
    assert [m["id"] for m in Models(lived).list()] == ["starter"]


def test_a_base_trained_anew_is_not_hidden_by_an_old_candidate(lived: Store) -> None:
    bases = NanoSessionService(lived).bases
    asleep(lived, model_id="night")
    Candidates(lived).decide("night", "approve")
    how = bases.base_record("linear").pretrain
    again = bases.pretrain("linear", how.model_copy(update={"seed": 1, "steps": 50}))
    assert bases.base("linear").record.checkpoint_sha256 == again.checkpoint_sha256


def test_a_step_that_makes_other_worlds_worse_is_shortened_or_refused(lived: Store) -> None:
    import torch

    from fastweights.models.nano import W_O
    from fastweights.train.nano_sleep import SCALES, consolidate, held_out

    model = NanoSessionService(lived).bases.base("linear").model
    worlds = held_out(model, "linear", 4, 64, 1, 0.0)
    weights, scale, events = consolidate(model, torch.full_like(model.weights[W_O], 1e3), [worlds], 0.01)
    assert scale == 0
    assert len(events) == len(SCALES)
    assert all(any("held-out worlds" in reason for reason in event.reasons) for event in events)
    assert torch.equal(weights[W_O][0], model.weights[W_O])

"""Sleep, end to end on small models: a candidate with its evidence, a base that stays as it was, decisions."""

import hashlib
from pathlib import Path

import pytest
import torch

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.models.own_rule import own_learner
from fastweights.models.registry import load_model
from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.sleep.candidates import Candidates
from fastweights.services.sleep.consolidate import sleep
from fastweights.services.sleep.records import SleepManifest, SleepRequest
from fastweights.services.sleep.schedule import repeat, seconds
from fastweights.store import atomic
from fastweights.store.fsck import fsck
from fastweights.store.models import Models
from fastweights.store.root import MODELS, Store
from fastweights.store.sleep_files import SLEEP_MANIFEST
from tests.services.test_ttt_sessions import OFF
from tests.small_e2e import save_random_e2e
from tests.small_models import save_random_model
from tests.small_ttt import save_random_ttt

FACT = "The secret word of Bavuto is qkzjwvpx."
QUICK = {"seq_len": 32, "train_steps": 20, "base_model_id": "tiny"}


@pytest.fixture
def talked(store: Store) -> Store:
    """A model, and a session that was told a fact twice."""
    save_random_model(store)
    chat = ChatService(store)
    chat.new(SessionOptions(model="tiny", memory="mix"), "s1")
    for seed in range(2):
        chat.send("s1", FACT, Sampling(max_new_tokens=4, seed=seed))
    return store


def asleep(store: Store, **asked) -> SleepManifest:
    return sleep(store, SleepRequest.model_validate({**QUICK, **asked}))


def files(store: Store, model_id: str) -> dict[str, str]:
    folder = store.path(MODELS, model_id)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.suffix != ".lock"}


@pytest.mark.parametrize("mode", ["replay", "delta"])
def test_a_sleep_makes_a_candidate_and_leaves_the_base_alone(talked: Store, mode: str) -> None:
    before = files(talked, "tiny")
    found = asleep(talked, mode=mode, model_id="night")
    assert files(talked, "tiny") == before
    models = Models(talked)
    manifest = models.get("night")
    assert (manifest["status"], manifest["parent"]) == ("sleep_candidate", "tiny")
    assert models.resolve(None) == "tiny"
    kept = SleepManifest.model_validate(atomic.read_json(models.path("night") / SLEEP_MANIFEST))
    assert kept == found
    assert found.checkpoint_sha256 == manifest["checkpoint_sha256"]
    assert found.mix_after < found.mix_before
    assert [t.turn for t in found.sources[0].turns] == [1, 2]
    assert {row.kind for row in found.forgetting_rows} == {"core", "canary"}
    assert found.steps == 20
    assert len(found.writes) == 2
    assert [f.problem for f in fsck(talked).findings if f.level != "note"] == []


def test_delta_moves_what_the_fast_weights_know_into_few_rows(talked: Store) -> None:
    found = asleep(talked, model_id="night", train_steps=60)
    assert found.retention is not None
    assert found.retention > 0.5
    row = found.retention_rows[0]
    assert row.adapted < row.candidate < row.base
    base, candidate = (load_model(Models(talked).path(name)).lm for name in ("tiny", "night"))
    for name, weight in base.named_parameters():
        assert torch.equal(weight, candidate.get_parameter(name)), name
    table = candidate.get_parameter("embedding.ngram.weight")
    assert 0 < int(table.any(dim=1).sum()) < len(table) / 4


def test_a_base_with_a_table_keeps_its_size_and_the_rows_that_are_not_chosen(store: Store) -> None:
    save_random_model(store, ngram_orders=(2, 4), ngram_rows=16384, ngram_width=8)
    chat = ChatService(store)
    chat.new(SessionOptions(model="tiny", memory="mix"), "s1")
    for seed in range(2):
        chat.send("s1", FACT, Sampling(max_new_tokens=4, seed=seed))
    found = asleep(store, model_id="night", train_steps=60)
    base, candidate = (load_model(Models(store).path(name)).lm for name in ("tiny", "night"))
    assert base.config == candidate.config
    assert found.retention is not None
    assert found.retention > 0.2
    same = (base.get_parameter("embedding.ngram.weight") == candidate.get_parameter("embedding.ngram.weight")).all(1)
    assert 0 < int((~same).sum()) < 8192


def test_replay_trains_backbone_and_norm_and_nothing_else(talked: Store) -> None:
    asleep(talked, mode="replay", model_id="night", lr=0.01)
    base, candidate = (load_model(Models(talked).path(name)).lm for name in ("tiny", "night"))
    changed = {
        name.split(".")[0] for name, w in base.named_parameters() if not torch.equal(w, candidate.get_parameter(name))
    }
    assert changed == {"backbone", "norm"}
    folder = Models(talked).path("night")
    for name in ("config.json", "tokenizer.json"):
        assert atomic.read_json(folder / name) == atomic.read_json(Models(talked).path("tiny") / name)


@pytest.mark.parametrize("memory", ["linear", "low_rank", "head", "delta", "ngram"])
def test_every_memory_can_teach(store: Store, memory: str) -> None:
    save_random_model(store)
    chat = ChatService(store)
    chat.new(SessionOptions.model_validate({"model": "tiny", "memory": memory, "rank": 4}), "s1")
    chat.send("s1", FACT * 2, Sampling(max_new_tokens=4))
    found = asleep(store, train_steps=60)
    row = found.retention_rows[0]
    assert row.adapted < row.base
    assert row.candidate < row.base


def test_decisions_choose_the_latest_usable_model_and_can_be_taken_back(talked: Store) -> None:
    asleep(talked, model_id="night")
    candidates, models = Candidates(talked), Models(talked)
    with pytest.raises(Conflict, match="cannot revert"):
        candidates.decide("night", "revert")
    assert candidates.decide("night", "approve").status == "ready"
    assert models.resolve(None) == "night"
    with pytest.raises(Conflict, match="cannot reject"):
        candidates.decide("night", "reject")
    assert candidates.decide("night", "revert").status == "sleep_candidate"
    assert models.resolve(None) == "tiny"
    rejected = candidates.decide("night", "reject")
    assert rejected.status == "rejected"
    assert rejected.decided_at is not None
    assert models.resolve(None) == "tiny"
    assert [one.model_id for one in candidates.list()] == ["night"]
    with pytest.raises(NotFound, match="no sleep candidate"):
        candidates.decide("tiny", "approve")


def test_what_cannot_be_slept_on_is_said_in_one_line(store: Store) -> None:
    save_random_model(store)
    with pytest.raises(FastweightsError, match="no session of model 'tiny'"):
        asleep(store)
    ChatService(store).new(SessionOptions(model="tiny"), "s1")
    ChatService(store).send("s1", "Short.", Sampling(max_new_tokens=2))
    with pytest.raises(FastweightsError, match=r"seq_len 128: the sessions hold \d+ tokens, too few"):
        asleep(store, seq_len=128)
    with pytest.raises(NotFound, match="no-such-text"):
        asleep(store, seq_len=8, core_path="no-such-text")
    with pytest.raises(Conflict, match="exists"):
        asleep(store, seq_len=8, model_id="tiny")
    assert sorted(one["id"] for one in Models(store).list() if one["id"] != "starter") == ["tiny"]


@pytest.mark.parametrize("mode", ["replay", "delta"])
def test_a_few_short_turns_are_enough(store: Store, mode: str) -> None:
    save_random_model(store)
    chat = ChatService(store)
    chat.new(SessionOptions(model="tiny"), "s1")
    chat.send("s1", "Hi.", Sampling(max_new_tokens=1))
    found = sleep(store, SleepRequest.model_validate({"base_model_id": "tiny", "mode": mode, "train_steps": 10}))
    assert found.request.seq_len == 8
    assert found.steps == 10


@pytest.fixture(params=["ttt", "e2e"])
def learner(request: pytest.FixtureRequest, store: Store) -> str:
    """A model whose own weights are the fast ones, and two sessions that were told a fact."""
    model = save_random_e2e(store, chunk=64) if request.param == "e2e" else save_random_ttt(store, variant="official")
    chat = ChatService(store)
    for at in range(2):
        chat.new(SessionOptions(model=model, policy=OFF), f"s{at}")
        chat.send(f"s{at}", FACT * 2, Sampling(max_new_tokens=4, seed=at))
    return model


def test_what_a_model_learned_in_its_own_weights_goes_over_into_those_it_starts_from(
    store: Store, learner: str
) -> None:
    before = files(store, learner)
    found = asleep(store, base_model_id=learner, model_id="night", lr=0.03, max_core_rise=0.1)
    assert files(store, learner) == before
    assert found.retention is not None
    assert found.retention > 0.1
    base, candidate = (load_model(Models(store).path(name)).lm for name in (learner, "night"))
    assert {source.memory for source in found.sources} == {base.config.kind}
    own = own_learner(base, 0)
    assert own is not None
    kept = {part.name for part in found.parts if part.scale}
    assert kept
    assert {part.name for part in found.parts} == own[1].init().weights.keys()
    for name, weight in base.named_parameters():
        assert torch.equal(weight, candidate.get_parameter(name)) == (name not in kept), name
    assert [row.kind for row in found.forgetting_rows].count("core") == (2 if learner == "e2e" else 1)


def test_replay_of_a_model_that_learns_by_itself_leaves_embedding_and_head(store: Store, learner: str) -> None:
    found = asleep(store, base_model_id=learner, model_id="night", mode="replay", lr=0.01)
    assert found.mix_after < found.mix_before
    base, candidate = (load_model(Models(store).path(name)).lm for name in (learner, "night"))
    changed = {
        name.split(".")[0] for name, w in base.named_parameters() if not torch.equal(w, candidate.get_parameter(name))
    }
    assert changed == ({"prefix_blocks", "suffix_blocks", "ln_f"} if learner == "e2e" else {"layers", "norm"})


def test_turns_taken_back_are_not_harvested_and_forks_share_theirs(talked: Store) -> None:
    chat = ChatService(talked)
    chat.fork("s1", "s2")
    chat.send("s2", "A turn of its own, long enough.", Sampling(max_new_tokens=2))
    chat.reset("s1")
    found = asleep(talked)
    assert [(source.session_id, [t.turn for t in source.turns]) for source in found.sources] == [("s2", [1, 2, 3])]
    assert [t.turn for t in asleep(talked, max_memories=1, seq_len=16).sources[0].turns] == [3]


def test_a_damaged_session_is_left_out_unless_it_was_asked_for(talked: Store) -> None:
    chat = ChatService(talked)
    chat.new(SessionOptions(model="tiny", memory="linear"), "s2")
    chat.send("s2", FACT, Sampling(max_new_tokens=2))
    state = chat.sessions.read(chat.sessions.meta("s2").head).state
    path = chat.sessions.objects.path(state)
    path.write_bytes(path.read_bytes()[:-8])
    found = asleep(talked, mode="replay", train_steps=1)
    assert [source.session_id for source in found.sources] == ["s1"]
    assert any(note.startswith("session s2 is left out: ") for note in found.notes)
    with pytest.raises(FastweightsError, match="has SHA-256"):
        asleep(talked, mode="replay", train_steps=1, sessions=["s1", "s2"])


def test_core_text_of_ones_own(talked: Store, tmp_path: Path) -> None:
    path = tmp_path / "core.jsonl"
    path.write_text('{"text": "All work and no play makes a dull day, a duller evening."}\n' * 20)
    found = asleep(talked, mode="replay", core_path=str(path))
    assert found.core == "core.jsonl"
    assert found.core_heldout_bytes > 0


def test_the_clock(talked: Store) -> None:
    assert [seconds(text) for text in ("90s", "1.5m", "6h", "1d")] == [90, 90, 21600, 86400]
    with pytest.raises(FastweightsError, match="every 'soon'"):
        seconds("soon")
    said: list[str] = []
    waits: list[float] = []

    def wait(time: float) -> None:
        waits.append(time)
        if len(waits) == 3:
            raise KeyboardInterrupt
        if len(waits) == 2:
            ChatService(talked).send("s1", FACT, Sampling(max_new_tokens=2))

    request = SleepRequest.model_validate({**QUICK, "mode": "replay", "train_steps": 1})
    found: list[SleepManifest] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(repeat(talked, request, 60, said.append, wait))
    assert len(found) == 2
    assert said.count("nothing was learned since the last sleep") == 1
    assert waits == [60, 60, 60]
    with pytest.raises(KeyboardInterrupt):  # started again: as if it had gone on
        found.extend(repeat(talked, request, 60, said.append, wait=lambda _: wait_no_more()))
    assert len(found) == 2


def wait_no_more() -> None:
    raise KeyboardInterrupt


def test_a_sleep_that_is_cut_off_leaves_no_candidate(talked: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Models, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            asleep(talked, mode="replay", model_id="night", train_steps=1)
    assert Candidates(talked).list() == []
    assert Models(talked).resolve(None) == "tiny"
    assert fsck(talked, repair=True).ok
    assert not talked.path(MODELS, "night").exists()
    asleep(talked, mode="replay", model_id="night", train_steps=1)


def test_evidence_of_other_weights_is_found(talked: Store) -> None:
    asleep(talked, mode="replay", model_id="night", train_steps=1)
    path = Models(talked).path("night") / SLEEP_MANIFEST
    atomic.write_json(path, {**atomic.read_json(path), "checkpoint_sha256": "0" * 64})
    assert any("other weights" in found.problem for found in fsck(talked).findings)

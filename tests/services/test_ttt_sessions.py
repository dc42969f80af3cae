"""Sessions and monitor on models whose recurrent state is their fast weights: every write goes through the guard,
those of a reply too."""

import json
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from fastweights.errors import FastweightsError
from fastweights.guard.policy import Policy
from fastweights.models.recurrent_learner import RecurrentLearner
from fastweights.models.ttt_lm_decode import TTTDecoder
from fastweights.redteam.target import without
from fastweights.server.app import create_app
from fastweights.server.deps import Settings
from fastweights.services.calibration import calibrate_policy
from fastweights.services.chat import ChatService
from fastweights.services.evals.text import ppl
from fastweights.services.generate import ModelPool
from fastweights.services.monitor import MonitorService
from fastweights.services.monitor_records import MonitorRequest
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.transcript import describe_turn
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.store.tensors import loads
from tests.small_guards import Never, refuse_all
from tests.small_ttt import MIXERS, save_random_ttt

TEXT = "The quick brown fox jumps over the lazy dog, again and again, until the evening."
OFF = without(Policy(), "all")
SAID = Sampling(max_new_tokens=20, seed=3)
every = pytest.mark.parametrize("variant", MIXERS)


def begin(store: Store, variant: str, policy: Policy = OFF, **options: int) -> ChatService:
    """A service with the session ``s`` on a model of the variant."""
    save_random_ttt(store, variant=variant)
    chats = ChatService(store, "cpu")
    chats.new(SessionOptions.model_validate({"model": "ttt", "chunk_tokens": 8, "policy": policy, **options}), "s")
    return chats


def state(chats: ChatService, session_id: str = "s", ref: str = "head") -> dict[str, torch.Tensor]:
    return loads(chats.sessions.state(chats.sessions.find(session_id, ref)))[0]


def weights(of: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in of.items() if name.startswith("weights/")}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@every
def test_a_turn(variant: str, store: Store) -> None:
    chats = begin(store, variant)
    turn = chats.send("s", TEXT, SAID, compare=True)
    assert (turn.prompt_tokens, turn.reply_tokens) == (len(TEXT) + 1, 20)
    assert [e.token_end for e in turn.events] == [*range(8, 81, 8), 81, 89, 97, 101]  # the prompt's, then the reply's
    assert all(e.decision == "committed" and e.update_norm > 0 for e in turn.events)
    assert turn.frozen_reply != turn.reply
    assert "11 committed; 3 committed of the reply" in describe_turn(turn)
    names = {name.partition(".")[0].partition("/")[0] for name in state(chats)}
    assert names == {"weights", "carry", "step"}
    assert all(".mixer." in name for name in weights(state(chats)))
    assert int(state(chats)["carry/lm/position"]) == 101
    assert chats.verify("s").ok
    assert chats.show("s").turns == [turn]


@every
def test_unguarded_is_how_the_model_reads_and_decodes_alone(variant: str, store: Store) -> None:
    """Chunks of the guard that are whole chunks of the model, prompt and reply alike."""
    chats = begin(store, variant)
    turn = chats.send("s", TEXT[:71], Sampling(max_new_tokens=16, temperature=0))
    parts = chats.open_session("s").parts
    lm = parts.loaded.lm
    tokenizer = parts.loaded.tokenizer
    stream = [tokenizer.bos_id, *tokenizer.encode(TEXT[:71] + "\n")]
    _, carry = lm.hidden(torch.tensor([stream[:-1]]), lm.init_carry(1))
    decoder = TTTDecoder(lm)  # type: ignore[arg-type]
    decoder.load(carry)
    drawn, last = [], stream[-1]
    for _ in range(16):
        logits_V = decoder.logits(decoder.step(last))
        logits_V[tokenizer.bos_id] = float("-inf")
        last = int(logits_V.argmax())
        drawn.append(last)
    kept = chats.sessions.find("s", "head").record["replay"]["reply_ids"]
    assert kept == drawn[: len(kept)]
    assert turn.stopped in ("length", "eos")
    if len(kept) == 16:
        for name, value in decoder.carry().items():
            prefix, dot, own = name.rpartition(".")
            if own[0] in "Wb":
                torch.testing.assert_close(
                    state(chats)[f"weights/{prefix}{dot}mixer.{own}"], value, rtol=1e-4, atol=1e-4, msg=name
                )


@every
def test_refused_writes_go_back_and_what_was_said_stands(variant: str, store: Store) -> None:
    chats = begin(store, variant)
    refuse_all(chats)
    turn = chats.send("s", TEXT, SAID)
    assert {e.decision for e in turn.events} == {"rolled_back"}
    assert len(turn.events) == 14
    assert turn.reply_tokens == 20
    root, head = state(chats, ref="init"), state(chats)
    assert same(weights(root), weights(head))
    assert (int(head["carry/lm/position"]), int(head["step"])) == (101, 0)
    parts = chats.open_session("s").parts
    learner, lm = parts.learner, parts.loaded.lm
    assert isinstance(learner, RecurrentLearner)
    ids = chats.sessions.find("s", "head").record["replay"]["reply_ids"]
    stream = [parts.loaded.tokenizer.bos_id, *parts.loaded.tokenizer.encode(TEXT + "\n"), *ids]
    _, frozen = learner.lm.hidden(torch.tensor([stream[:-1]]), lm.init_carry(1), learn=False)
    for name, value in frozen.items():
        if "conv" in name or name == "position":
            torch.testing.assert_close(head[f"carry/lm/{name}"], value, rtol=1e-4, atol=1e-5)
    assert chats.verify("s").ok


def test_a_refused_reply_keeps_what_the_prompt_taught(store: Store) -> None:
    chats = begin(store, "lab")
    at = chats.open_session("s")
    kept = at.reader.read(TEXT, learn=True)[0]
    assert not torch.equal(*(s.fast.weights["layers.0.mixer.W1"] for s in (at.value, kept)))
    free = at.parts.answer(kept, SAID, adapted=True)
    at.parts.guard.checks += (Never(),)
    answer = at.parts.answer(kept, SAID, adapted=True)
    assert [e.decision for e in answer.events] == ["rolled_back"] * 3
    assert answer.session.fast.weights is kept.fast.weights
    assert free.reply.ids[:8] == answer.reply.ids[:8]  # provisional until the first audit, so alike
    assert free.reply.ids != answer.reply.ids


def test_frozen_learns_and_stores_nothing(store: Store) -> None:
    chats = begin(store, "mamba")
    chats.send("s", TEXT, SAID)
    before = state(chats)
    frozen = chats.send("s", "more", SAID, frozen=True)
    assert not frozen.learned
    assert frozen.events == []
    assert same(state(chats), before)
    assert chats.send("s", "more", SAID, compare=True).frozen_reply == frozen.reply


def test_verbs(store: Store) -> None:
    chats = begin(store, "official", Policy())
    first = chats.send("s", TEXT, SAID)
    chats.fork("s", "t")
    one, two = chats.send("s", "and so on", SAID), ChatService(store, "cpu").send("t", "and so on", SAID)
    assert (one.reply, one.drift) == (two.reply, two.drift)
    assert same(state(chats), state(chats, "t"))
    assert [commit.kind for commit in chats.log("t")] == ["turn", "turn", "init"]
    diff = chats.diff("s")
    assert diff.l2 > 0
    assert all(t.part == "weights" for t in diff.tensors)
    chats.reset("s")
    assert same(state(chats), state(chats, ref="init"))
    assert chats.send("s", TEXT, SAID).reply == first.reply
    chats.fork("t", "fresh", keep_momentum=False)
    assert chats.verify("fresh").ok


def test_a_cancelled_reply_is_audited_and_replays(store: Store) -> None:
    chats = begin(store, "lab")
    left = [5]

    def cancelled() -> bool:
        left[0] -= 1
        return left[0] < 0

    turn = chats.send("s", "hello", SAID, cancelled=cancelled)
    assert (turn.stopped, turn.reply_tokens) == ("cancelled", 5)
    assert turn.events[-1].token_end == turn.prompt_tokens + 5
    assert chats.verify("s").ok


@pytest.mark.parametrize("option", [{"rule": "muon"}, {"lr": 0.2}, {"memory": "low_rank"}, {"inner_steps": 2}])
def test_options_of_a_rule_are_refused_at_the_door(option: dict, store: Store, tmp_path: Path) -> None:
    save_random_ttt(store)
    with pytest.raises(FastweightsError, match=f"{next(iter(option))} .*rule of its own"):
        ChatService(store).new(SessionOptions.model_validate({"model": "ttt", **option}))
    save_random_ttt(store, "ids", text=False, vocab=20)
    with pytest.raises(FastweightsError, match="no tokenizer"):
        ChatService(store).new(SessionOptions(model="ids"))
    assert ChatService(store).list() == []


@every
def test_monitor(variant: str, store: Store) -> None:
    save_random_ttt(store, variant=variant)
    request = MonitorRequest(model="ttt", text=TEXT * 2, chunk_tokens=16, influence=True, policy=Policy())
    service = MonitorService(store, pool=ModelPool(store, "cpu"))
    events = service.show(service.run_request(request).run_id).events
    assert len(events) == 10
    assert all(e.backbone.startswith("ttt_") and e.top_influence_tokens and e.loss for e in events)
    assert any(e.decision == "committed" and e.update_norm > 0 for e in events)
    still = service.run_request(request.model_copy(update={"updates": False}))
    assert still.summary is not None
    assert still.summary.drift == 0


def test_calibration(store: Store, tmp_path: Path) -> None:
    save_random_ttt(store)
    (tmp_path / "text").write_text(TEXT * 6)
    policy, observed = calibrate_policy(ModelPool(store, "cpu"), [tmp_path / "text"], model="ttt", sizes=(16,))
    assert observed.chunks == 30
    chats = ChatService(store, "cpu")
    chats.new(SessionOptions(model="ttt", policy=policy), "s")
    assert chats.send("s", TEXT, SAID).events


def test_ppl(store: Store, tmp_path: Path) -> None:
    save_random_ttt(store)
    (tmp_path / "text").write_text(TEXT)
    stream, cold = (ppl(store, tmp_path / "text", model_id="ttt", stream=s)["bits_per_byte"] for s in (True, False))
    assert 0 < stream != cold > 0


def test_ppl_past_the_trained_length(store: Store, tmp_path: Path) -> None:
    save_random_ttt(store)
    (tmp_path / "text").write_text(TEXT)
    manifest = Models(store).path("ttt") / "manifest.json"
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**fields, "train_config": {"seq_len": 32, "reading": "samples"}}))
    whole = ppl(store, tmp_path / "text", model_id="ttt")
    assert "--reset-every 32" in whole["warning"]
    pieces = ppl(store, tmp_path / "text", model_id="ttt", reset_every=32)
    assert (pieces["mode"], pieces["reset_every"], pieces["warning"]) == ("cold", 32, None)
    assert pieces["bits_per_byte"] != whole["bits_per_byte"]
    chats = ChatService(store, "cpu")
    chats.new(SessionOptions(model="ttt", chunk_tokens=8, policy=OFF), "s")
    said = [chats.send("s", "A fox. ", Sampling(max_new_tokens=8, seed=3)).warning for _ in range(4)]
    assert [warning is not None for warning in said] == [False, True, False, False]  # once
    assert "session reset s starts afresh" in str(said[1])
    chats.reset("s")
    assert chats.send("s", TEXT, SAID).warning
    monitors = MonitorService(store, "cpu")
    for text, past in ((TEXT, True), ("A fox.", False)):
        run = monitors.run_request(MonitorRequest(model="ttt", text=text))
        assert run.summary is not None
        assert bool(run.summary.warning) is past


def test_chat_over_http(store: Store) -> None:
    save_random_ttt(store)
    with TestClient(create_app(Settings(root=store.root, web=None)), base_url="http://localhost") as client:
        made = client.post("/api/text/sessions", json={"model": "ttt"})
        assert made.status_code == 201
        session_id = made.json()["session_id"]
        turn = client.post(
            f"/api/text/sessions/{session_id}/chat", json={"message": "hello", "max_new_tokens": 6}
        ).json()
        assert turn["reply_tokens"] == 6
        assert len(turn["events"]) == 2
        refused = client.post("/api/text/sessions", json={"model": "ttt", "rule": "muon"})
        assert 400 <= refused.status_code < 500
        drawn = client.post("/api/text/generate", json={"prompt_tokens": [72, 105], "max_new_tokens": 4}).json()
        assert len(drawn["token_ids"]) == drawn["tokens"] == 4

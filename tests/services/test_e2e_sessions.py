"""Sessions and monitor on TTT-E2E models: their suffix MLPs are the session's, every write goes through the guard."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from fastweights.core.chunks import next_token_chunks
from fastweights.core.unroll import unroll
from fastweights.errors import FastweightsError
from fastweights.guard.policy import Policy
from fastweights.models.e2e import e2e_learner
from fastweights.redteam.target import without
from fastweights.server.app import create_app
from fastweights.server.deps import Settings
from fastweights.services.chat import ChatService
from fastweights.services.generate import ModelPool
from fastweights.services.monitor import MonitorService
from fastweights.services.monitor_records import MonitorRequest
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.session_parts import OwnRuleParts
from fastweights.services.transcript import describe_turn
from fastweights.store.root import Store
from tests.services.test_ttt_sessions import OFF, SAID, TEXT, same, state, weights
from tests.small_e2e import save_random_e2e
from tests.small_guards import Never, refuse_all

FILTERS = pytest.mark.parametrize("words", ["feed_forward_prime", "suffix_blocks,ln_f,head"])


def begin(store: Store, policy: Policy = OFF, **of: Any) -> ChatService:
    """A service with the session ``s`` on a model with these changes."""
    save_random_e2e(store, **of)
    chats = ChatService(store, "cpu")
    chats.new(SessionOptions(model="e2e", policy=policy), "s")
    return chats


@FILTERS
def test_a_turn(words: str, store: Store) -> None:
    chats = begin(store, ttt_param_filter=words)
    assert chats.list()[0].options.chunk_tokens == 8  # the model's own
    turn = chats.send("s", TEXT, SAID, compare=True)
    assert (turn.prompt_tokens, turn.reply_tokens) == (len(TEXT) + 1, 20)
    assert [e.token_end for e in turn.events] == [*range(8, 81, 8), 81, 89, 97, 101]  # the prompt's, then the reply's
    assert all(e.decision == "committed" and e.update_norm > 0 for e in turn.events)
    assert turn.frozen_reply != turn.reply
    assert "11 committed; 3 committed of the reply" in describe_turn(turn)
    named = weights(state(chats))
    assert all("suffix_blocks" in name or "ln_f" in name or "head" in name for name in named)
    assert int(state(chats)["carry/stem/position"]) == 101
    assert chats.verify("s").ok
    assert chats.show("s").turns == [turn]
    other = chats.send("s", "and more", SAID)
    assert chats.verify("s").ok
    assert other.turn == 2


@FILTERS
def test_unguarded_is_how_the_model_learns_alone(words: str, store: Store) -> None:
    """Prompt and reply, as the model's own learner reads them; each token is the best guess of the weights then."""
    chats = begin(store, ttt_param_filter=words)
    chats.send("s", TEXT[:71], Sampling(max_new_tokens=20, temperature=0))
    parts = chats.open_session("s").parts
    lm, tokenizer = parts.loaded.lm, parts.loaded.tokenizer
    ids = chats.sessions.find("s", "head").record["replay"]["reply_ids"]
    learner = e2e_learner(lm, tokenizer.bos_id)  # pyright: ignore[reportArgumentType]
    fast, last, drawn = learner.init(), tokenizer.bos_id, []
    prompt = tokenizer.encode(TEXT[:71] + "\n")
    for said in (prompt, ids):
        for chunk in next_token_chunks(last, said, 8):
            proposal = learner.propose(fast, chunk)
            assert proposal.output.logits_BTV is not None
            proposal.output.logits_BTV[..., tokenizer.bos_id] = float("-inf")
            drawn += proposal.output.logits_BTV[0].argmax(-1).tolist()
            fast = proposal.after
        last = said[-1]
    assert drawn[-len(ids) :] == ids
    for name, value in fast.weights.items():
        assert torch.equal(state(chats)[f"weights/{name}"], value)


def test_refused_writes_go_back_and_what_was_said_stands(store: Store) -> None:
    chats = begin(store)
    refuse_all(chats)
    turn = chats.send("s", TEXT, SAID)
    assert {e.decision for e in turn.events} == {"rolled_back"}
    assert (len(turn.events), turn.reply_tokens) == (14, 20)
    root, head = state(chats, ref="init"), state(chats)
    assert same(weights(root), weights(head))
    assert (int(head["carry/stem/position"]), int(head["step"])) == (101, 0)
    frozen = chats.send("s", "more", SAID, frozen=True)
    assert (frozen.learned, frozen.events) == (False, [])
    assert same(state(chats), head)
    assert chats.verify("s").ok


def test_a_refused_reply_keeps_what_the_prompt_taught(store: Store) -> None:
    chats = begin(store)
    at = chats.open_session("s")
    assert isinstance(at.parts, OwnRuleParts)
    kept = at.reader.read(TEXT, learn=True)[0]
    free = at.parts.answer(kept, SAID, adapted=True)
    at.parts.guard.checks += (Never(),)
    answer = at.parts.answer(kept, SAID, adapted=True)
    assert [e.decision for e in answer.events] == ["rolled_back"] * 3
    assert answer.session.fast.weights is kept.fast.weights
    assert free.reply.ids[:8] == answer.reply.ids[:8]
    assert free.reply.ids != answer.reply.ids


def test_verbs(store: Store) -> None:
    chats = begin(store, Policy())
    first = chats.send("s", TEXT, SAID)
    chats.fork("s", "t")
    one, two = chats.send("s", "and so on", SAID), ChatService(store, "cpu").send("t", "and so on", SAID)
    assert (one.reply, one.drift) == (two.reply, two.drift)
    assert same(state(chats), state(chats, "t"))
    diff = chats.diff("s")
    assert diff.l2 > 0
    assert all(t.part == "weights" for t in diff.tensors)
    assert chats.verify("t").ok
    chats.reset("s")
    assert chats.send("s", TEXT, SAID).reply == first.reply


def test_a_cancelled_reply_is_audited_and_replays(store: Store) -> None:
    chats = begin(store)
    left = iter(range(5))
    turn = chats.send("s", "hello", SAID, cancelled=lambda: next(left, None) is None)
    assert (turn.stopped, turn.reply_tokens) == ("cancelled", 5)
    assert turn.events[-1].token_end == turn.prompt_tokens + 5
    assert chats.verify("s").ok


@pytest.mark.parametrize("option", [{"rule": "muon"}, {"lr": 0.2}, {"memory": "low_rank"}, {"inner_steps": 2}])
def test_options_of_a_rule_are_refused_at_the_door(option: dict, store: Store) -> None:
    save_random_e2e(store)
    with pytest.raises(FastweightsError, match=f"{next(iter(option))} .*rule of its own"):
        ChatService(store).new(SessionOptions.model_validate({"model": "e2e", **option}))
    save_random_e2e(store, "ids", text=False, vocab=20)
    with pytest.raises(FastweightsError, match="no tokenizer"):
        ChatService(store).new(SessionOptions(model="ids"))
    assert ChatService(store).list() == []


def test_monitor(store: Store, tmp_path: Path) -> None:
    save_random_e2e(store)
    service = MonitorService(store, pool=ModelPool(store, "cpu"))
    request = MonitorRequest(model="e2e", text=TEXT * 2, influence=True, policy=without(Policy(), "all"))
    run = service.run_request(request)
    events = service.show(run.run_id).events
    assert run.request.chunk_tokens == 8
    assert len(events) == 20
    assert all(e.backbone == "e2e" and e.top_influence_tokens and e.loss for e in events)
    assert all(e.decision == "committed" and e.update_norm > 0 for e in events)
    wide = service.run_request(request.model_copy(update={"chunk_tokens": 16, "updates": False}))
    assert wide.summary is not None
    assert (wide.summary.chunks, wide.summary.drift) == (10, 0)


def test_chat_over_http(store: Store) -> None:
    save_random_e2e(store)
    with TestClient(create_app(Settings(root=store.root, web=None)), base_url="http://localhost") as client:
        made = client.post("/api/text/sessions", json={"model": "e2e"})
        assert made.status_code == 201
        session_id, options = made.json()["session_id"], made.json()["options"]
        assert options["chunk_tokens"] == 8
        body = {"message": "hello", "max_new_tokens": 6}
        turn = client.post(f"/api/text/sessions/{session_id}/chat", json=body).json()
        assert turn["reply_tokens"] == 6
        assert len(turn["events"]) == 2
        assert client.post(f"/api/text/sessions/{session_id}/verify", json={}).json()["ok"]
        refused = client.post("/api/text/sessions", json={"model": "e2e", "rule": "muon"})
        assert 400 <= refused.status_code < 500


def test_a_long_stream_equals_the_unrolled_learner(store: Store) -> None:
    """Guarded reading, its carry and its snapshots, against core's loop over the same chunks."""
    chats = begin(store)
    at = chats.open_session("s")
    session = at.reader.read(TEXT * 3, learn=True)[0]
    tokenizer = at.parts.loaded.tokenizer
    chunks = [*next_token_chunks(tokenizer.bos_id, tokenizer.encode(TEXT * 3 + "\n"), 8)]
    fast, _ = unroll(at.parts.learner, at.parts.learner.init(), chunks)
    assert all(torch.equal(session.fast.weights[name], value) for name, value in fast.weights.items())

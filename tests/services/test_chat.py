"""Sessions end to end on a small real model: learn, answer, commit, fork, reset, restart, refuse."""

import gc
import json
import threading
from pathlib import Path

import pytest
import torch

from fastweights.core.state import FastState, from_tensors, to_tensors
from fastweights.core.table import Table
from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.guard.event import Event
from fastweights.guard.policy import Policy, SpfwPolicy
from fastweights.models.sampling import Sampler
from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from fastweights.store.tensors import loads
from tests.small_models import save_random_model

TEXT = "The quick brown fox jumps over the lazy dog, again and again and again, until the evening."
SHORT = Sampling(max_new_tokens=12, seed=3)


@pytest.fixture
def chats(store: Store) -> ChatService:
    save_random_model(store)
    return ChatService(store)


def _fast(chats: ChatService, session_id: str) -> dict[str, torch.Tensor]:
    head = chats.sessions.head(session_id)
    return loads(chats.sessions.state(head))[0]


def _weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in state.items() if k.startswith("weights/")}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory": "low_rank", "rank": 4},
        {"rule": "muon", "lr": 0.02, "momentum": 0.9, "inner_steps": 3, "chunk_tokens": 16},
        {"rule": "sgd", "momentum": 0.9, "policy": Policy(spfw=SpfwPolicy(mode="observe"))},
    ],
)
def test_a_turn_learns_through_the_guard_and_is_stored(chats: ChatService, options: dict) -> None:
    info = chats.new(SessionOptions(**options))
    turn = chats.send(info.session_id, TEXT, SHORT, compare=True)
    size = info.options.chunk_tokens
    assert turn.prompt_tokens == len(TEXT) + 1  # and the line break after it
    assert len(turn.events) == -(-turn.prompt_tokens // size)
    assert [e.token_end for e in turn.events][-1] == turn.prompt_tokens
    assert "".join(e.chunk_preview for e in turn.events).startswith(TEXT[:16])
    assert any(e.decision == "committed" and e.update_norm > 0 for e in turn.events)
    assert turn.reply_tokens == 12
    assert turn.reply != turn.frozen_reply
    shown = chats.show(info.session_id)
    assert shown.turns == [turn]
    assert shown.n_turns == 1
    assert shown.drift == turn.drift == turn.events[-1].drift
    folder = chats.sessions.path(info.session_id)
    assert {p.name for p in folder.iterdir()} >= {
        "meta.json",
        "context_state.safetensors",
        "optim_state.safetensors",
        "events.jsonl",
        "trace.jsonl",
    }
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows] == [e.loss for e in turn.events]
    assert json.loads((folder / "trace.jsonl").read_text())["prompt"] == TEXT


def test_two_turns_equal_one_long_lived_process(chats: ChatService, store: Store) -> None:
    """Nothing lives between turns but the store: a fresh service a turn gives the same states, bit for bit."""
    a = chats.new(SessionOptions(rule="muon", lr=0.02, momentum=0.9)).session_id
    b = chats.new(SessionOptions(rule="muon", lr=0.02, momentum=0.9)).session_id
    for message in (TEXT, "And then?", TEXT[::-1]):
        one, two = chats.send(a, message, SHORT), ChatService(store).send(b, message, SHORT)
        assert one.reply == two.reply
        assert one.events == two.events
        assert _same(_fast(chats, a), _fast(chats, b))


def test_no_state_stays_in_memory_between_turns(chats: ChatService) -> None:
    """A table of the mix takes 36 MB: sessions that nobody talks to hold none, whatever their options."""
    before = _tables()
    ids = [chats.new(SessionOptions(memory="mix", chunk_tokens=16 + i)).session_id for i in range(3)]
    for session_id in ids:
        chats.send(session_id, TEXT, SHORT, compare=True)
    assert _tables() == before


def _tables() -> int:
    return sum(type(one) is Table for one in gc.get_objects())


def test_a_turn_takes_the_disk_that_its_changes_need(chats: ChatService, store: Store) -> None:
    """And not that of its whole state, which grows; another process reads the same states."""
    session_id = chats.new(SessionOptions(memory="mix")).session_id
    for turn in range(8):
        chats.send(session_id, f"{turn}: {TEXT[turn * 7 :]}{TEXT[: turn * 7]}"[:: -1 if turn % 2 else 1], SHORT)
    commits = [*chats.sessions.history(chats.sessions.head(session_id).id)][-2::-1]
    objects = chats.sessions.objects
    held = [objects.size(commit.state) for commit in commits]
    kept = [objects.path(commit.state).stat().st_size for commit in commits]
    assert max(kept[::2]) < 1.2 * min(kept[::2])  # those that build on the turn before
    assert sum(kept) < sum(held) / 3
    assert held == [len(Sessions(store).state(commit)) for commit in commits]


def test_the_default_memory_is_what_the_meter_shows_best(chats: ChatService) -> None:
    """The mix, which writes by rules of its own; a rule without a memory asks for a context net."""
    assert chats.new(SessionOptions()).options.memory == "mix"
    assert chats.new(SessionOptions(lr=0.2)).options.memory == "linear"
    assert chats.new(SessionOptions(lr=0.2, memory="head")).options.memory == "head"
    with pytest.raises(FastweightsError, match="memory mix writes by a rule of its own"):
        chats.new(SessionOptions(lr=0.2, memory="mix"))


def test_the_carry_after_a_turn_has_read_the_whole_transcript(chats: ChatService) -> None:
    """Replies drawn again with torch from the whole text; the stored carry equals the backbone run over it at once."""
    session_id = chats.new(SessionOptions(memory="linear")).session_id
    turns = [chats.send(session_id, message, SHORT) for message in (TEXT, "And then?")]
    opened = chats.open_session(session_id)
    loaded = opened.parts.loaded
    ids: list[int] = []
    for i, turn in enumerate(turns):
        before = "" if i == 0 or turns[i - 1].reply.endswith("\n") else "\n"
        ids += loaded.tokenizer.encode(before + turn.prompt + "\n")
        named, _ = loads(chats.sessions.state(chats.sessions.read(turn.commit)))
        weights = from_tensors(named, opened.parts.learner.init()).weights
        sampler = Sampler(SHORT.temperature, SHORT.top_p, SHORT.seed, forbidden=(loaded.tokenizer.bos_id,))
        drawn: list[int] = []
        for _ in range(turn.reply_tokens):
            h_BTD, _ = loaded.lm.hidden(torch.tensor([[loaded.tokenizer.bos_id, *ids, *drawn]]))
            drawn.append(sampler.draw(loaded.lm.logits(opened.parts.model.memory.read(weights, h_BTD))[0, -1].numpy()))
        assert loaded.tokenizer.decode(drawn) == turn.reply
        ids += drawn
    _, expected = loaded.lm.hidden(torch.tensor([[loaded.tokenizer.bos_id, *ids[:-1]]]))
    carry = opened.value.fast.carry
    assert int(carry["last_B"][0]) == ids[-1]
    for name, value in expected.items():
        torch.testing.assert_close(carry["lm"][name], value, rtol=1e-4, atol=1e-5)


def test_frozen_answers_without_fast_weights_and_stores_nothing(chats: ChatService) -> None:
    session_id = chats.new(SessionOptions()).session_id
    chats.send(session_id, TEXT, SHORT)
    before, head = _fast(chats, session_id), chats.show(session_id).head
    frozen = chats.send(session_id, "And then?", SHORT, frozen=True)
    assert not frozen.learned
    assert frozen.events == []
    assert chats.show(session_id).head == head
    assert _same(_fast(chats, session_id), before)
    turn = chats.send(session_id, "And then?", SHORT, compare=True)
    assert turn.frozen_reply == frozen.reply


def test_a_session_that_may_not_learn_answers_as_the_frozen_model(chats: ChatService) -> None:
    """A rate that wrecks the model: the audit sees it on the candidate, every write is refused, the answer is sound."""
    session_id = chats.new(SessionOptions(lr=100, clip=100, chunk_tokens=16)).session_id
    turn = chats.send(session_id, TEXT, SHORT, compare=True)
    assert {e.decision for e in turn.events} == {"rolled_back"}
    assert all(e.update_norm == 0 and e.reasons and e.loss is not None for e in turn.events)
    assert all((e.canary_delta or 0) > 0.1 for e in turn.events)
    assert turn.reply == turn.frozen_reply
    assert turn.drift == 0
    assert _same(_weights(_fast(chats, session_id)), _weights(_root(chats, session_id)))


def _root(chats: ChatService, session_id: str) -> dict[str, torch.Tensor]:
    root = chats.sessions.read(chats.sessions.meta(session_id).root)
    return loads(chats.sessions.state(root))[0]


def test_reset_returns_to_the_initial_state_and_keeps_the_history(chats: ChatService) -> None:
    session_id = chats.new(SessionOptions()).session_id
    first = chats.send(session_id, TEXT, SHORT)
    info = chats.reset(session_id)
    assert _same(_fast(chats, session_id), _root(chats, session_id))
    assert info.drift == 0
    assert chats.show(session_id).turns == []
    assert [c.kind for c in chats.log(session_id)] == ["reset", "turn", "init"]
    again = chats.send(session_id, TEXT, SHORT)
    assert (again.reply, [e.loss for e in again.events]) == (first.reply, [e.loss for e in first.events])


def test_forks_share_the_past_and_go_their_own_ways(chats: ChatService) -> None:
    session_id = chats.new(SessionOptions()).session_id
    first = chats.send(session_id, TEXT, SHORT)
    chats.send(session_id, "Something else entirely.", SHORT)
    early = chats.fork(session_id, "early", at=first.commit[:8])
    late = chats.fork(session_id)
    assert chats.show("early").turns == [first]
    assert early.parent_session == session_id
    assert early.forked_from == first.commit
    assert len(chats.show(late.session_id).turns) == 2
    one = chats.send("early", "Hello.", SHORT)
    assert len(chats.show(session_id).turns) == 2
    assert one.events[0].canaries[0].drift is not None
    assert chats.open_session("early").value.guard.origin == chats.open_session(session_id).value.guard.origin
    with pytest.raises(Conflict, match="exists"):
        chats.fork(session_id, "early")


def test_events_stream_in_order_and_cancelling_keeps_what_was_said(chats: ChatService) -> None:
    session_id = chats.new(SessionOptions(chunk_tokens=32)).session_id
    heard: list[tuple[str, object]] = []
    turn = chats.send(session_id, TEXT, SHORT, compare=True, on_event=lambda k, p: heard.append((k, p)))
    kinds = [kind for kind, _ in heard]
    assert kinds == sorted(kinds, key=["chunk", "frozen_token", "token"].index)
    assert [p for k, p in heard if k == "chunk"] == turn.events
    assert "".join(str(p) for k, p in heard if k == "token") == turn.reply
    assert "".join(str(p) for k, p in heard if k == "frozen_token") == turn.frozen_reply
    said: list[str] = []
    cut = chats.send(
        session_id,
        "Go on.",
        Sampling(max_new_tokens=500),
        on_event=lambda k, p: said.append(p) if k == "token" else None,
        cancelled=lambda: len(said) >= 5,
    )
    assert cut.stopped == "cancelled"
    assert cut.reply == "".join(said)
    assert chats.show(session_id).turns[-1] == cut
    assert chats.send(session_id, "More.", SHORT).reply_tokens == 12


def test_stop_strings_end_the_reply_and_are_never_streamed(chats: ChatService) -> None:
    session_id = chats.new(SessionOptions()).session_id
    whole = chats.send(session_id, TEXT, Sampling(max_new_tokens=60), frozen=True)
    stop = whole.reply[20:23]
    heard: list[str] = []
    sampling = Sampling(max_new_tokens=60, stop=["never seen", stop])
    turn = chats.send(session_id, TEXT, sampling, frozen=True, on_event=lambda k, p: heard.append(str(p)))
    assert turn.stopped == "stop"
    assert turn.reply == whole.reply[: whole.reply.find(stop)]
    assert "".join(heard) == turn.reply


@pytest.mark.parametrize(
    ("message", "complaint"),
    [("", "message is empty"), ("x" * 70_000, "70000 characters"), ("a\ud800b", "lone surrogate at character 1")],
)
def test_bad_messages_are_named_and_change_nothing(chats: ChatService, message: str, complaint: str) -> None:
    session_id = chats.new(SessionOptions()).session_id
    with pytest.raises(FastweightsError, match=complaint):
        chats.send(session_id, message, SHORT)
    assert chats.show(session_id).turns == []


@pytest.mark.parametrize("message", ["\0", "\n", "é" * 300, "漢字" * 100, "🙂", "a"])
def test_odd_messages_are_read_whole(chats: ChatService, message: str) -> None:
    session_id = chats.new(SessionOptions()).session_id
    turn = chats.send(session_id, message, SHORT)
    assert turn.prompt == message
    assert turn.prompt_tokens == len(message.encode()) + (not message.endswith("\n"))


def test_a_busy_session_says_who_holds_it(chats: ChatService, store: Store) -> None:
    session_id = chats.new(SessionOptions()).session_id
    inside, leave = threading.Event(), threading.Event()

    def hold(kind: str, _: object) -> None:
        if kind == "chunk":
            inside.set()
            leave.wait(240)

    worker = threading.Thread(target=chats.send, args=(session_id, TEXT, SHORT), kwargs={"on_event": hold})
    worker.start()
    assert inside.wait(60)
    with pytest.raises(Conflict, match=r"busy .*answering a message"):
        ChatService(store).send(session_id, "me too", SHORT)
    assert chats.show(session_id).n_turns == 0  # readers never block
    leave.set()
    worker.join()
    assert chats.show(session_id).n_turns == 1


def test_unknown_and_damaged_things_are_named(chats: ChatService, store: Store) -> None:
    with pytest.raises(NotFound, match="'nope'"):
        chats.send("nope", "hi", SHORT)
    with pytest.raises(NotFound, match="'nope'"):
        chats.new(SessionOptions(model="nope"))
    with pytest.raises(FastweightsError, match="rank is 200"):
        chats.new(SessionOptions(memory="low_rank", rank=200))
    session_id = chats.new(SessionOptions()).session_id
    head = chats.sessions.head(session_id)
    path: Path = chats.sessions.objects.path(head.state)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Corrupt, match="SHA-256"):
        chats.send(session_id, "hi", SHORT)


def test_other_weights_under_the_same_id_are_refused(chats: ChatService, store: Store) -> None:
    session_id = chats.new(SessionOptions(model="tiny")).session_id
    chats.pool.models.delete("tiny")
    save_random_model(store, seed=1)
    with pytest.raises(Conflict, match="other weights now"):
        chats.send(session_id, "hi", SHORT)


def test_the_default_model_is_the_latest_ready_one_never_a_candidate(store: Store, chats: ChatService) -> None:
    save_random_model(store, "newer", seed=1)
    save_random_model(store, "candidate", seed=2, status="sleep_candidate")
    assert chats.new(SessionOptions()).model == "newer"
    assert chats.new(SessionOptions(model="candidate")).model == "candidate"


def test_state_on_disk_is_the_whole_value(chats: ChatService) -> None:
    session_id = chats.new(SessionOptions(rule="sgd", momentum=0.9)).session_id
    chats.send(session_id, TEXT, SHORT)
    opened = chats.open_session(session_id)
    fast: FastState = opened.value.fast
    assert _same({k: v for k, v in to_tensors(fast).items() if k != "step"}, {
        k: v for k, v in _fast(chats, session_id).items() if k != "step"
    })  # fmt: skip
    assert fast.step == sum(e.decision == "committed" for e in chats.show(session_id).turns[0].events)
    assert opened.value.guard.tokens == len(TEXT) + 1
    Event.model_validate(chats.show(session_id).turns[0].events[0].model_dump())

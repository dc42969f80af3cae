"""Git's verbs on the weights of text sessions: names, diffs, resets to a commit, replays that are equal bit for bit."""

import numpy as np
import pytest
import torch

from fastweights.errors import Conflict, NotFound
from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.verbs.environment import differences
from fastweights.services.verbs.records import Environment
from fastweights.store import atomic
from fastweights.store.root import Store
from fastweights.store.tensors import dumps, loads
from tests.small_models import save_random_model

SHORT = Sampling(max_new_tokens=6, seed=3)
MUON = SessionOptions(rule="muon", lr=0.02, momentum=0.9, chunk_tokens=16)


@pytest.fixture
def chats(store: Store) -> ChatService:
    save_random_model(store)
    return ChatService(store)


@pytest.fixture
def session(chats: ChatService) -> str:
    """Three turns."""
    chats.new(MUON, "s")
    for message in ("The quick brown fox", "jumps over the lazy dog", "until the evening."):
        chats.send("s", message, SHORT)
    return "s"


def _tensors(chats: ChatService, session_id: str, ref: str = "head") -> dict[str, torch.Tensor]:
    return loads(chats.sessions.state(chats.sessions.find(session_id, ref)))[0]


def _statuses(chats: ChatService, session_id: str, ref: str | None = None) -> list[str]:
    return [c.status for c in chats.verify(session_id, ref).commits]


def test_log_marks_head_and_tags(chats: ChatService, session: str) -> None:
    chats.tag(session, "best", "head~1")
    log = chats.log(session)
    assert [c.kind for c in log] == ["turn", "turn", "turn", "init"]
    assert [c.head for c in log] == [True, False, False, False]
    assert [c.tags for c in log] == [[], ["best"], [], []]
    assert all(c.commit.startswith(c.short) and len(c.short) == 8 and c.session == "s" for c in log)
    assert [t.tag for t in chats.tags(session)] == ["best"]
    chats.checkout(session, "best")
    assert [c.commit for c in chats.log(session)] == [c.commit for c in log[1:]]
    assert {c.commit for c in chats.log(session, everything=True)} == {c.commit for c in log}
    assert [t.turn for t in chats.show(session).turns] == [1, 2]


def test_after_a_checkout_the_session_goes_on_from_there(chats: ChatService, session: str) -> None:
    """The same message from the same state gives the same reply and state, wherever the head was in between."""
    third = chats.log(session)[0]
    chats.checkout(session, "head~1")
    again = chats.send(session, "until the evening.", SHORT)
    assert chats.sessions.head(session).state == third.state
    assert again.commit != third.commit
    assert {c.commit for c in chats.log(session, everything=True)} >= {third.commit, again.commit}


def test_reset_to_a_commit_shows_the_turns_that_its_state_has_seen(chats: ChatService, session: str) -> None:
    second = chats.log(session)[1]
    info = chats.reset(session, second.commit)
    assert info.n_turns == 2
    assert chats.log(session)[0].state == second.state
    assert [t.prompt for t in chats.show(session).turns] == ["The quick brown fox", "jumps over the lazy dog"]
    turn = chats.send(session, "and then", SHORT)
    assert turn.turn == 3
    assert [t.turn for t in chats.show(session).turns] == [1, 2, 3]
    assert chats.show(session).n_turns == 3
    assert chats.log(session)[1].summary == f"reset to {second.short}"


def test_a_fork_without_momentum_keeps_the_weights_only(chats: ChatService, session: str) -> None:
    chats.fork(session, "kept")
    chats.fork(session, "fresh", keep_momentum=False)
    was, kept, fresh = (_tensors(chats, name) for name in (session, "kept", "fresh"))
    rules = [name for name in was if name.startswith("rule/")]
    assert rules
    for name, value in was.items():
        assert torch.equal(kept[name], value)
        assert torch.equal(fresh[name], value if name not in rules else torch.zeros_like(value))
    one, two = chats.send("kept", "Go on.", SHORT), chats.send("fresh", "Go on.", SHORT)
    assert one.events[0].loss == two.events[0].loss
    assert one.events[0].attempted_update_norm != two.events[0].attempted_update_norm
    assert _statuses(chats, "fresh") == ["verified"] * 6


def test_every_kind_of_commit_is_verified_bit_for_bit(chats: ChatService, session: str, store: Store) -> None:
    said: list[str] = []
    chats.send(
        session,
        "Go on.",
        Sampling(max_new_tokens=200),
        on_event=lambda k, p: said.append(p) if k == "token" else None,
        cancelled=lambda: len(said) >= 5,
    )
    chats.send(session, "\n", Sampling(max_new_tokens=3, temperature=0, stop=["e"]), compare=True)
    chats.reset(session, "head~3")
    chats.reset(session)
    chats.send(session, "漢字 🙂", SHORT)
    chats.fork(session, "fresh", keep_momentum=False)
    heard: list[str] = []
    result = ChatService(store).verify("fresh", on_commit=lambda c: heard.append(c.commit))
    assert result.ok
    assert [c.kind for c in result.commits] == ["init", *["turn"] * 5, "reset", "reset", "turn", "fork"]
    assert heard == [c.commit for c in result.commits]
    assert all(c.state == c.recomputed and c.problem is None for c in result.commits)
    assert result.notes == []
    one = chats.verify(session, "head~1")
    assert (one.ok, len(one.commits), one.commits[0].kind) == (True, 1, "reset")


def _forge(chats: ChatService, session_id: str, change) -> str:
    """Replaces the head by a commit that says something else, whole in every other way; returns its id."""
    head = chats.sessions.head(session_id)
    state, record = loads(chats.sessions.state(head))[0], dict(head.record)
    parent = chats.sessions.read(head.parent or "")
    change(state, record)
    forged = chats.sessions.commits.put(session_id, parent, "turn", dumps(state), head.guard, record)
    chats.sessions.checkout(session_id, forged.id)
    return forged.id


def test_a_state_that_its_inputs_do_not_give_is_found_and_named(chats: ChatService, session: str) -> None:
    def poison(state, record):
        state["weights/context.weight"][0, 3, 4] += 0.25

    forged = _forge(chats, session, poison)
    chats.send(session, "a turn on top of it", SHORT)
    result = chats.verify(session)
    assert [c.status for c in result.commits] == ["verified", "verified", "verified", "differs", "verified"]
    assert (result.ok, result.differs) == (False, 1)
    wrong = result.commits[3]
    assert (wrong.commit, wrong.tensor) == (forged, "weights/context.weight")
    assert "differs in 1 of 256 values, by at most 0.25" in (wrong.problem or "")
    assert wrong.recomputed != wrong.state


@pytest.mark.parametrize("field", ["prompt", "reply", "seed", "events", "reply_ids"])
def test_a_record_that_does_not_give_its_state_is_found(chats: ChatService, session: str, field: str) -> None:
    def change(state, record):
        if field == "seed":
            record["sampling"] = {**record["sampling"], "seed": 99}
        elif field == "reply_ids":
            ids = record["replay"]["reply_ids"]
            record["replay"] = {**record["replay"], "reply_ids": [ids[0] ^ 1, *ids[1:]]}
        elif field == "events":
            record["events"] = [{**record["events"][0], "loss": 0.5}, *record["events"][1:]]
        else:
            record[field] = "Something else."

    _forge(chats, session, change)
    result = chats.verify(session, "head")
    assert result.commits[0].status == "differs"
    if field in ("reply", "events", "reply_ids"):
        name = "replay" if field == "reply_ids" else field
        assert f"record field {name!r} differs" in (result.commits[0].problem or "")


def test_what_cannot_be_verified_says_why(chats: ChatService, session: str, store: Store) -> None:
    def older(state, record):
        record.pop("replay")

    _forge(chats, session, older)
    result = chats.verify(session, "head")
    assert (result.ok, result.unverifiable) == (False, 1)
    assert "cannot be verified: recorded before" in (result.commits[0].problem or "")
    assert chats.show(session).turns[-1].prompt == "until the evening."
    path = chats.sessions.objects.path(chats.log(session)[1].state)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert _statuses(chats, session) == ["verified", "verified", "damaged", "damaged"]
    path.write_bytes(whole)
    chats.pool.models.delete("tiny")
    save_random_model(store, seed=1)
    result = ChatService(store).verify(session)
    assert {c.status for c in result.commits} == {"unverifiable"}
    assert "other weights now" in (result.commits[0].problem or "")


def test_changed_options_are_found_at_the_initial_commit(chats: ChatService, session: str) -> None:
    path = chats.sessions.path(session, "meta.json")
    meta = atomic.read_json(path)
    atomic.write_json(path, {**meta, "options": {**meta["options"], "lr": 0.5}})
    result = chats.verify(session)
    assert [c.status for c in result.commits] == ["differs"] * 4
    assert "record field 'session' differs" in (result.commits[0].problem or "")


def test_another_machine_is_named() -> None:
    here = Environment(fastweights="1", torch="2.13.0", numpy="2", threads=1, device="cpu", cpu="x86_64 AVX2")
    there = here.model_copy(update={"threads": 4, "torch": "2.12.0"})
    assert differences([here, here], here) == []
    assert differences([here, there], here) == [
        "torch version differs: commits were made with 2.12.0, here it is 2.13.0",
        "thread count differs: commits were made with 4, here it is 1",
    ]


def test_diff_figures_are_those_of_the_tensors(chats: ChatService, session: str) -> None:
    diff = chats.diff(session, "head~2", "head")
    a, b = _tensors(chats, session, "head~2"), _tensors(chats, session)
    assert [c.commit for c in diff.b_only] == [c.commit for c in chats.log(session)[:2]]
    assert (diff.a_only, diff.base) == ([], chats.sessions.find(session, "head~2").id)
    for tensor in diff.tensors:
        x, y = (t[f"{tensor.part}/{tensor.name}"].double().numpy() for t in (a, b))
        delta = y - x
        assert tensor.l2 == pytest.approx(np.linalg.norm(delta))
        assert tensor.max == pytest.approx(np.abs(delta).max())
        assert tensor.relative == pytest.approx(np.linalg.norm(delta) / np.linalg.norm(x))
        assert tensor.cosine == pytest.approx((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y))
        rows = np.linalg.norm(delta[0].reshape(delta.shape[1], -1), axis=1)
        assert [r.row for r in tensor.top_rows] == list(np.argsort(-rows, kind="stable")[:5])
        assert (tensor.changed_rows, tensor.rows) == (int((rows > 0).sum()), len(rows))
    assert {t.part for t in diff.tensors} == {"weights", "rule"}
    numbers = {n.name: n for n in diff.numbers}
    turns = chats.show(session).turns
    assert numbers["drift"].b == turns[-1].drift
    assert numbers["writes"].change == sum(e.decision == "committed" for t in turns[1:] for e in t.events)
    assert numbers["tokens"].change == sum(e.token_end - e.token_start for t in turns[1:] for e in t.events)
    assert any(name.startswith("canary ") for name in numbers)


def test_diff_of_nothing_and_from_nothing(chats: ChatService, session: str) -> None:
    same = chats.diff(session, "head", "head")
    assert (same.l2, same.max, same.relative) == (0.0, 0.0, 0.0)
    assert same.cosine == pytest.approx(1.0)
    assert all(t.changed_rows == 0 and t.top_rows == [] for t in same.tensors)
    start = chats.diff(session)
    assert start.a.kind == "init"
    assert start.l2 > 0
    assert (start.relative, start.cosine) == (None, None), "the memory begins at zero"


def test_diff_between_sessions(chats: ChatService, session: str) -> None:
    chats.fork(session, "f", "head~1")
    chats.send("f", "Another way to end it.", SHORT)
    diff = chats.diff(session, other="f")
    assert (diff.session_id, diff.other_id) == ("s", "f")
    assert (len(diff.a_only), len(diff.b_only)) == (1, 1)
    assert diff.base == chats.log(session)[1].commit
    assert diff.b_only[0].head
    chats.new(SessionOptions(memory="low_rank", rank=4), "else")
    apart = chats.diff(session, other="else")
    assert apart.base is None
    assert len(apart.a_only) == 4
    assert all(t.l2 is None and (t.shape_a is None or t.shape_b is None) for t in apart.tensors)
    assert apart.l2 == 0.0


def test_unknown_things_are_named(chats: ChatService, session: str) -> None:
    for call in (
        lambda: chats.log("gone"),
        lambda: chats.fork(session, None, "gone"),
        lambda: chats.tag(session, "x", "gone"),
        lambda: chats.untag(session, "gone"),
        lambda: chats.diff(session, "gone"),
        lambda: chats.diff(session, other="gone"),
        lambda: chats.checkout(session, "gone"),
        lambda: chats.reset(session, "gone"),
        lambda: chats.verify(session, "gone"),
    ):
        with pytest.raises(NotFound, match="gone"):
            call()
    chats.tag(session, "a")
    with pytest.raises(Conflict, match="names"):
        chats.tag(session, "a", "init")
    assert len(chats.log(session, everything=True)) == 4

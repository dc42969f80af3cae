"""Turns taken back, turns blamed, the turn that broke a canary, the meter of a session and what it recalls."""

import math
from dataclasses import replace

import pytest

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.guard.policy import Policy
from fastweights.redteam.target import without
from fastweights.services.blame import bisect, blame
from fastweights.services.chat import ChatService
from fastweights.services.evals.compressors import bits_per_byte
from fastweights.services.past import Past, Probed
from fastweights.services.past_records import BisectRequest, BlameRequest, RecallRequest
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.session_meter import SessionMeter
from fastweights.store.root import Store
from fastweights.store.tensors import dumps, loads
from tests.small_guards import refuse_all
from tests.small_models import save_random_model
from tests.small_ttt import save_random_ttt

OPEN = without(Policy(), "all")
SHORT = Sampling(max_new_tokens=4, seed=3)
SAID = ("The quick brown fox", "The word of Bora is qwertzu.", "over the lazy dog", "until the evening.")


@pytest.fixture
def chats(store: Store) -> ChatService:
    save_random_model(store)
    return ChatService(store, "cpu")


def begin(chats: ChatService, name: str = "s", said: tuple[str, ...] = SAID, **options) -> str:
    chats.new(SessionOptions.model_validate({"memory": "mix", "chunk_tokens": 16, **options}), name)
    for message in said:
        chats.send(name, message, SHORT)
    return name


def prompts(chats: ChatService, session: str) -> list[str]:
    return [turn.prompt for turn in chats.show(session).turns]


def test_the_transcript_is_what_the_state_has_seen(chats: ChatService) -> None:
    """Replies are those that were drawn anew; the turn taken back stands apart; numbers stay."""
    before = chats.show(begin(chats, memory="linear"))
    chats.revert("s", "2")
    detail = chats.show("s")
    assert [(t.turn, t.retold) for t in detail.turns] == [(1, False), (3, True), (4, True)]
    assert [(t.turn, t.prompt) for t in detail.reverted] == [(2, SAID[1])]
    assert detail.reverted[0].reverted_by == detail.head
    assert detail.turns[0] == before.turns[0]
    assert detail.turns[2].events != before.turns[3].events
    assert detail.n_turns == 4
    log = chats.log("s")[0]
    assert (log.kind, log.summary, log.reverted) == ("revert", "turn 2 is left out", before.turns[1].commit)
    assert log.committed + log.blocked + log.rolled_back == sum(len(t.events) for t in detail.turns[1:])
    assert chats.send("s", "And then?", SHORT).turn == 5
    assert chats.verify("s").ok
    chats.revert("s", detail.head)
    assert [(t.turn, t.reply) for t in chats.show("s").turns[:4]] == [(t.turn, t.reply) for t in before.turns]
    assert chats.verify("s").ok


def test_with_its_only_turn_taken_back_a_session_is_new(chats: ChatService) -> None:
    begin(chats, said=SAID[:1])
    chats.revert("s", "head")
    assert chats.sessions.head("s").state == chats.sessions.find("s", "init").state
    begin(chats, "t", said=("Hello.",))
    chats.send("s", "Hello.", SHORT)  # the first message of a session has no line break before it
    assert chats.sessions.head("s").state == chats.sessions.head("t").state
    assert (prompts(chats, "s"), [t.prompt for t in chats.show("s").reverted]) == (["Hello."], [SAID[0]])


def test_a_reply_that_was_cut_off_is_cut_off_again(chats: ChatService) -> None:
    begin(chats, said=SAID[:1])
    said: list[str] = []
    chats.send(
        "s",
        SAID[1],
        Sampling(max_new_tokens=50),
        on_event=lambda kind, payload: said.append(payload) if kind == "token" else None,
        cancelled=lambda: len(said) >= 3,
    )
    cut = chats.show("s").turns[1]
    chats.revert("s", "1")
    again = chats.show("s").turns[0]
    assert (cut.stopped, again.stopped, again.reply_tokens) == ("cancelled", "cancelled", cut.reply_tokens)
    assert chats.verify("s").ok


def test_forks_resets_and_tags_see_the_session_without_it(chats: ChatService) -> None:
    begin(chats, rule="muon", lr=0.02, momentum=0.9, memory="linear")
    chats.revert("s", "2")
    chats.tag("s", "clean")
    chats.fork("s", "f", "clean", keep_momentum=False)
    chats.send("f", "Go on.", SHORT)
    chats.revert("f", "1")
    assert prompts(chats, "f") == [SAID[2], SAID[3], "Go on."]
    assert chats.verify("f").ok
    assert chats.verify_without("f", "1").ok
    assert chats.verify_without("f", "2").ok
    assert not chats.verify_without("f", "3").ok
    chats.reset("s", chats.log("s")[2].commit)  # to turn 3 as it was, which had seen turn 2
    assert prompts(chats, "s") == list(SAID[:3])
    assert not chats.verify_without("s", "2").ok
    chats.checkout("s", "clean")
    result = chats.verify_without("s", "2")
    assert result.ok
    assert result.without is not None
    assert (result.without.reverted, result.without.turns) == (True, 3)


def test_a_state_that_did_see_the_turn_is_found_out(chats: ChatService) -> None:
    begin(chats, memory="linear")
    seen = chats.verify_without("s", "2")
    assert (seen.ok, seen.differs, seen.commits[1].recomputed == seen.commits[1].state) == (False, 1, False)
    assert "it has seen turn 2: fast weights differ by" in (seen.commits[1].problem or "")
    chats.revert("s", "2")
    head = chats.sessions.head("s")
    state = loads(chats.sessions.state(head))[0]
    state["weights/context.weight"][0, 3, 4] += 1e-6
    parent = chats.sessions.read(head.parent or "")
    forged = chats.sessions.commits.put("s", parent, "revert", dumps(state), head.guard, head.record)
    chats.checkout("s", forged.id)
    result = chats.verify_without("s", "2")
    assert (result.ok, result.commits[1].tensor) == (False, "weights/context.weight")
    chats.checkout("s", "head~1")
    path = chats.sessions.objects.path(chats.sessions.head("s").state)
    path.write_bytes(path.read_bytes()[:-1])
    assert chats.verify_without("s", "2").commits[1].status == "damaged"


def test_what_cannot_be_taken_back(chats: ChatService) -> None:
    begin(chats, said=SAID[:2])
    chats.revert("s", "1")
    for what, error, said in (
        ("1", Conflict, "is left out already"),
        ("3", NotFound, "not among the 2 turns"),
        ("0", NotFound, "not among the 2 turns"),
        ("-1", NotFound, "is no commit"),
        ("init", FastweightsError, "kind 'init'"),
        ("x" * 200, NotFound, "is no commit"),
    ):
        with pytest.raises(error, match=said):
            chats.revert("s", what)
        if what != "1":
            with pytest.raises(error, match=said):
                chats.verify_without("s", what)


# ---------------------------------------------------------------------- blame


def test_blame_names_the_turn_that_stated_the_answer(chats: ChatService) -> None:
    begin(chats, policy=OPEN)
    asked = BlameRequest(probe="The word of Bora is", answer=" qwertzu", exact=True, top=2)
    found = blame(chats, "s", asked)
    assert found.turns[0].turn == 2
    assert found.loss_initial is not None
    assert found.loss_head is not None
    moved = sum(turn.delta or 0.0 for turn in found.turns)
    assert moved == pytest.approx(found.loss_head - found.loss_initial)
    assert [turn.exact_delta is not None for turn in found.turns] == [True, True, False, False]
    begin(chats, "never", said=(SAID[0], *SAID[2:]), policy=OPEN)
    past = Past.of(chats, "never")
    other = Probed(past.parts, asked.probe, asked.answer)(past.value(3))
    assert other is not None
    assert found.turns[0].exact_delta == found.loss_head - other
    assert (found.turns[0].exact_delta or 0) < -1
    chats.revert("s", "2")
    after = blame(chats, "s", asked)
    assert (after.loss_head, len(after.turns)) == (other, 3)
    assert sum(turn.delta or 0.0 for turn in after.turns) == pytest.approx(other - found.loss_initial)


def test_probes_are_checked(chats: ChatService) -> None:
    begin(chats, said=())
    past = Past.of(chats, "s")
    for probe, answer, said in (("", None, "probe is empty"), ("a", "", "answer is empty"), ("a" * 5000, None, "5000"),
                                ("\ud800", None, "lone surrogate")):  # fmt: skip
        with pytest.raises(FastweightsError, match=said):
            Probed(past.parts, probe, answer)
    assert blame(chats, "s", BlameRequest(probe="\x00\x07")).turns == []


# ---------------------------------------------------------------------- bisect


def test_bisect_finds_the_turn_that_broke_a_canary(chats: ChatService) -> None:
    """Unguarded: the fourth of six turns is the first that writes with any force."""
    quiet = {"memory": "linear", "lr": 1e-6, "policy": OPEN}
    begin(chats, said=SAID[:3], **quiet)
    loud = {"memory": "linear", "lr": 20.0, "clip": 100.0, "policy": OPEN}
    options = SessionOptions.model_validate({"chunk_tokens": 16, "model": "tiny", **loud})
    meta = chats.sessions.meta("s")
    chats.sessions._save(replace(meta, options=options.model_dump()))
    for message in ("zzzz qqqq xxxx", *SAID[:2]):
        chats.send("s", message, SHORT)
    found = bisect(chats, "s", BisectRequest(canary="code", threshold=0.05))
    assert found.found is not None
    assert found.found.turn == 4
    assert found.found.chunk is not None
    assert found.found.rise_before is not None
    assert found.found.rise_before < 0.05 < (found.found.rise_after or math.inf)
    assert found.found.events == chats.show("s").turns[3].events
    assert len(found.steps) <= 4
    chosen = bisect(chats, "s", BisectRequest())
    assert (chosen.canary is not None, chosen.found is not None, chosen.threshold > 0) == (True, True, True)
    probed = bisect(chats, "s", BisectRequest(probe="def total(items):", threshold=0.05))
    assert probed.found is not None
    assert (probed.found.turn, probed.found.chunk) == (4, None)


def test_bisect_says_when_there_is_nothing_to_find(chats: ChatService) -> None:
    begin(chats)
    found = bisect(chats, "s", BisectRequest(canary="code", threshold=50))
    assert (found.found, found.monotone) == (None, True)
    assert "is not more than 50 nats" in found.message
    chats.new(SessionOptions(), "empty")
    assert bisect(chats, "empty", BisectRequest()).found is None
    for asked, error, said in (
        (BisectRequest(canary="gone"), NotFound, "it is one of narrative"),
        (BisectRequest(canary="code", probe="x"), FastweightsError, "one of the two"),
        (BisectRequest(answer="x"), FastweightsError, "needs a probe"),
    ):
        with pytest.raises(error, match=said):
            bisect(chats, "s", asked)


# ---------------------------------------------------------------------- meter and recall


@pytest.mark.parametrize("kind", ["linear", "ngram", "ttt"])
def test_a_session_that_may_not_learn_is_the_frozen_model(chats: ChatService, store: Store, kind: str) -> None:
    save_random_ttt(store)
    own = {"model": "ttt"} if kind == "ttt" else {"model": "tiny", "memory": kind}
    chats.new(SessionOptions.model_validate({**own, "chunk_tokens": 16}), "s")
    refuse_all(chats)
    for message in SAID:
        chats.send("s", message, SHORT)
    found = SessionMeter(chats).meter("s")
    assert found.adapted == pytest.approx(found.frozen, rel=1e-5)
    assert [c.adapted for c in found.chunks] == pytest.approx([c.frozen for c in found.chunks], rel=1e-5)
    assert (found.committed, found.refused) == (0, len(found.chunks))
    assert found.bytes == sum(len(message) + 2 for message in SAID) - 1


def test_the_meter_of_a_session_that_learns(chats: ChatService, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(chats, said=(*SAID, *SAID))
    meter = SessionMeter(chats)
    found = meter.meter("s")
    assert found.gain is not None
    assert found.gain > 1
    assert found.frozen == pytest.approx((found.adapted or 0) + found.gain)
    assert found.chunks[-1].adapted_so_far == found.adapted
    assert found.ppm == bits_per_byte("ppm", b"".join(read.message for read in meter.reads(Past.of(chats, "s"))))
    events = [event for turn in chats.show("s").turns for event in turn.events]
    assert [c.decision for c in found.chunks] == [event.decision for event in events]
    assert found.chunks[3].adapted == pytest.approx((events[3].loss or 0) / math.log(2))
    assert found.turns[-1].state_bytes == found.state_bytes == chats.show("s").state_bytes
    chats.send("s", "One more.", SHORT)
    parts = type(chats.open_session("s").parts)
    read, calls = parts.read_frozen, []
    monkeypatch.setattr(parts, "read_frozen", lambda *a: (calls.append(1), read(*a))[1])
    more = meter.meter("s")
    assert (more.chunks[:-1], len(calls)) == (found.chunks, 2), "the frozen model reads what is new: message and reply"
    assert more == SessionMeter(chats).meter("s")
    chats.revert("s", "2")
    assert [t.turn for t in meter.meter("s").turns] == [1, 3, 4, 5, 6, 7, 8, 9]


def test_recall_by_the_bytes_since_it_was_stated(chats: ChatService) -> None:
    begin(chats, policy=OPEN)
    found = SessionMeter(chats).recall("s", RecallRequest(probe="word of Bora is", answer=" qwertzu"))
    assert [point.stated for point in found.points] == [0, 0, 1, 1, 1]
    assert [point.distance is None for point in found.points] == [True, True, False, False, False]
    replies = _replies(chats)
    assert found.points[2].distance == len(".\n") + replies[1]
    assert found.points[3].distance == len(".\n" + "\n" + SAID[2] + "\n") + replies[1] + replies[2] - _joined(chats, 1)
    assert found.points[0].bits_per_letter == pytest.approx(found.frozen_bits_per_letter, rel=1e-5)
    assert (found.points[2].bits_per_letter or 9) < 0.5 * (found.points[0].bits_per_letter or 0)
    alone = SessionMeter(chats).recall("s", RecallRequest(probe="Say it:", answer=" qwertzu"))
    assert (alone.searched, [point.stated for point in alone.points]) == ("qwertzu", [0, 0, 1, 1, 1])


def _replies(chats: ChatService) -> list[int]:
    """Bytes of each reply (an end of text has none)."""
    tokenizer = chats.open_session("s").parts.loaded.tokenizer
    commits = [chats.sessions.read(turn.commit) for turn in chats.show("s").turns]
    return [len(tokenizer.decode_bytes(c.record["replay"]["reply_ids"])) for c in commits]


def _joined(chats: ChatService, turn: int) -> int:
    """1 where the reply of a turn ends in a line break, which the next message then does without."""
    return int(chats.show("s").turns[turn].reply.endswith("\n"))

"""Random lives of sessions: turn, fork, tag, checkout, reset, revert, crash, reload.

The state is always its snapshot's SHA-256, no object is ever lost, and the store is clean after every crash.

A turn is real where it is cheap enough to be (a small random model, through the guard); the long run keeps the states
of a tiny recurrence, so that ten thousand sequences fit into minutes. Both are the same machine over the same service.
"""

import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fastweights.errors import Conflict
from fastweights.services.chat import ChatService
from fastweights.services.generate import ModelPool
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.verbs.revert import RevertService
from fastweights.services.verbs.verify import Made
from fastweights.store import tensors
from fastweights.store.commits import Commit, Lived, fresh_rule
from fastweights.store.fsck import fsck
from fastweights.store.meta import Meta
from fastweights.store.objects import sha256
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.small_models import save_random_model

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # thousands of small stores, no disk needed
DISK = ("write", "replace", "ftruncate", "truncate", "utime")  # not mkdir: whether it is called depends on an id


class Crash(BaseException):
    """The process ends here; no handler of ours may see it as an error of its own."""


@contextmanager
def crash_at(point: int) -> Iterator[None]:
    """The ``point``-th call that changes the disk is cut off (a write after half its bytes), and so is all after it."""
    real = {name: getattr(os, name) for name in DISK}
    count = 0

    def wrap(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == point and name == "write":
                real[name](args[0], bytes(args[1])[: len(args[1]) // 2])
            if count >= point:
                raise Crash
            return real[name](*args, **kwargs)

        return call

    for name in DISK:
        setattr(os, name, wrap(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


class Recurrence(RevertService[Meta]):
    """Sessions whose state is a 2 by 2 matrix that each message moves: everything but the model is real."""

    def __init__(self, store: Store) -> None:
        self.sessions = Sessions(store, "nano")

    def new(self, name: str) -> str:
        made = self._make(0.0, 0.0)
        return self.sessions.create(name, model="none", options={}, state=made.state, guard=made.guard).id

    def turn(self, session_id: str, word: int) -> None:
        with self.sessions.lock(session_id):
            head = self.sessions.head(session_id)
            made = self._step(self.sessions.state(head), word)
            self.sessions.commit(
                session_id, parent=head.id, kind="run", state=made.state, guard=made.guard, record={"word": word},
                files={f"runs/r{head.turn + 1}/steps.csv": b"%d\n" % word, "metrics.json": b"%d\n" % word},
            )  # fmt: skip

    def info(self, meta: Meta) -> Meta:
        return meta

    def summary(self, commit: Commit) -> str:
        return str(commit.record["word"])

    def device(self) -> str:
        return "cpu"

    def initial(self, meta: Meta, root: Commit) -> Made:
        return self._make(0.0, 0.0)

    def replay(self, meta: Meta, parent: Commit, commit: Commit) -> Made:
        return self._step(self.sessions.state(parent), commit.record["word"])

    def relive(self, meta: Meta, start: Commit, rest: Sequence[Lived]) -> Made:
        state = self.sessions.state(start)
        for commit, frozen, *_ in rest:
            if commit.kind == "fork":
                state = fresh_rule(state, self.initial(meta, start).state)
            elif not frozen:
                state = self._step(state, commit.record["word"]).state
        return Made(state, start.guard)

    def _step(self, state: bytes, word: int) -> Made:
        entries, _ = tensors.unpack(state)
        weight, momentum = (struct.unpack_from("<f", entries[n][2])[0] for n in ("weights/w", "rule/momentum/w"))
        momentum = 0.5 * momentum + word
        return self._make(weight - 0.1 * momentum, momentum)

    def _make(self, weight: float, momentum: float) -> Made:
        pack = {
            n: ("F32", (1, 2, 2), struct.pack("<f", v) * 4)
            for n, v in (("weights/w", weight), ("rule/momentum/w", momentum))
        }
        return Made(tensors.pack(pack), {"origin": {}, "current": {}})


class SessionMachine(RuleBasedStateMachine):
    """Random verbs against {session: (head, state, transcript)}, and the set of all commits that were acknowledged."""

    service: Any

    def open(self, folder: str) -> Any:
        raise NotImplementedError

    def make(self, name: str) -> str:
        raise NotImplementedError

    def say(self, session: str, word: int) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------ rules

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.service = self.open(self.folder.name)
        self.heads: dict[str, str] = {}
        self.said: dict[str, list[Any]] = {}  # by commit: what its state has seen: words, ("frozen", word), "forget"
        self.states: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.count = 0
        self._note(self.make("s0"), [])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _note(self, session: str, words: list[Any]) -> None:
        head = self.service.sessions.head(session)
        self.heads[session] = head.id
        self.states[head.id] = head.state
        self.said.setdefault(head.id, words)
        self.tags.setdefault(session, {})

    def _session(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.heads)), "session")

    def _commit(self, data: st.DataObject, session: str) -> str:
        """One that was acknowledged: a rebuilt session may also know of one that was cut off."""
        known = [c.id for c in self.service.sessions.log(session, everything=True) if c.id in self.states]
        return data.draw(st.sampled_from(sorted(known, key=[*self.states].index)), "commit")

    @rule(data=st.data(), word=st.integers(0, 3))
    def turn(self, data: st.DataObject, word: int) -> None:
        session = self._session(data)
        words = self.said[self.heads[session]]
        self.say(session, word)
        self._note(session, [*words, word])

    @precondition(lambda self: len(self.heads) < 4)
    @rule(data=st.data(), keep=st.booleans())
    def fork(self, data: st.DataObject, keep: bool) -> None:
        session, name = self._session(data), f"s{len(self.heads)}"
        at = self._commit(data, session)
        self.service.fork(session, name, at, keep_momentum=keep)
        same = self.service.sessions.meta(name).head == at
        self._note(name, [*self.said[at], *([] if same else ["forget"])])

    @rule(data=st.data(), name=st.sampled_from(["a", "b"]))
    def tag(self, data: st.DataObject, name: str) -> None:
        session = self._session(data)
        at = self._commit(data, session)
        if self.tags[session].get(name, at) != at:
            with pytest.raises(Conflict):
                self.service.tag(session, name, at)
            self.service.untag(session, name)
        self.service.tag(session, name, at)
        self.tags[session][name] = at

    @rule(data=st.data())
    def checkout(self, data: st.DataObject) -> None:
        session = self._session(data)
        at = self._commit(data, session)
        self.service.checkout(session, at)
        self.heads[session] = at

    @rule(data=st.data(), whole=st.booleans())
    def reset(self, data: st.DataObject, whole: bool) -> None:
        session = self._session(data)
        to = self.service.sessions.meta(session).root if whole else self._commit(data, session)
        self.service.reset(session, None if whole else to)
        self._note(session, self.said[to])
        assert self.states[self.heads[session]] == self.states[to]

    def _turns(self, session: str) -> list[int]:
        return [at for at, word in enumerate(self.said[self.heads[session]]) if word != "forget"]

    @precondition(lambda self: isinstance(self.service, RevertService) and any(map(self._turns, self.heads)))
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        """A turn is read frozen; one that is so already is learned from again, by its revert's revert."""
        session = data.draw(st.sampled_from(sorted(filter(self._turns, self.heads))), "session")
        words, places = self.said[self.heads[session]], self._turns(session)
        turn = data.draw(st.integers(1, len(places)), "turn")
        named, words = str(turn), _toggled(words, places[turn - 1])
        if isinstance(words[places[turn - 1]], int):
            with pytest.raises(Conflict):
                self.service.revert(session, named)
            sessions = self.service.sessions
            named = next(
                (c.id for c in _behind(sessions, self.heads[session]) if c.record.get("reverted_turn") == turn), ""
            )
        self.service.revert(session, named)
        self._note(session, words)

    @rule(
        data=st.data(),
        point=st.integers(1, 24),
        verb=st.sampled_from(["turn", "fork", "tag", "checkout", "reset", "revert"]),
    )
    def crash(self, data: st.DataObject, point: int, verb: str) -> None:
        """Cut off somewhere: afterwards each session is the old one or the new one, and can go on."""
        session, name = self._session(data), f"s{len(self.heads)}"
        at, old = self._commit(data, session), self.heads[session]
        words = self.said[old]
        calls: dict[str, Callable[[], object]] = {
            "turn": lambda: self.say(session, 1),
            "fork": lambda: self.service.fork(session, name, at, keep_momentum=False),
            "tag": lambda: self.service.tag(session, "c", at),
            "checkout": lambda: self.service.checkout(session, at),
            "reset": lambda: self.service.reset(session, at),
            "revert": lambda: self.service.revert(session, str(self._turns(session).index(unread[0]) + 1)),
        }
        unread = [place for place in self._turns(session) if isinstance(words[place], int)]
        if verb == "revert" and not (unread and isinstance(self.service, RevertService)):
            return
        if verb == "tag" and self.tags[session].get("c", at) != at:
            return
        with crash_at(point), suppress(Crash):
            calls[verb]()
        self.reload()
        after = {"turn": [*words, 1], "reset": self.said[at], "checkout": self.said[at]}
        if verb == "revert":
            after[verb] = _toggled(words, unread[0])
        new = self.service.sessions.meta(session).head
        if new != old:
            assert verb in after
            self._note(session, after[verb])
        self.tags[session] = dict(self.service.sessions.meta(session).tags)
        report = fsck(self.service.sessions.store, repair=True)
        assert report.ok, report.findings
        if verb == "fork" and name in {m.id for m in self.service.sessions.list()}:
            same = self.service.sessions.meta(name).head == at
            self._note(name, [*self.said[at], *([] if same else ["forget"])])

    @rule()
    def reload(self) -> None:
        self.service = self.open(self.folder.name)

    @rule()
    def lose_the_records_of_the_sessions(self) -> None:
        """Every meta.json is damaged; fsck rebuilds them from the objects, and from what the listing last saw."""
        was = {m.id: m for m in self.service.sessions.list()}
        for name in was:
            self.service.sessions.path(name, "meta.json").write_bytes(b'{"id"')
        report = fsck(self.service.sessions.store, repair=True)
        assert report.ok, report.findings
        now = {m.id: m for m in self.service.sessions.list()}
        assert {name: (meta.head, meta.root) for name, meta in now.items()} == {
            name: (meta.head, meta.root) for name, meta in was.items()
        }
        assert {name: meta.tags for name, meta in now.items()} == self.tags

    @invariant()
    def store_equals_model(self) -> None:
        sessions = self.service.sessions
        assert {m.id: m.head for m in sessions.list()} == self.heads
        for session, head in self.heads.items():
            commit = sessions.read(head)
            assert sha256(sessions.state(commit)) == commit.state == self.states[head]
            assert sessions.meta(session).tags == self.tags[session]
            assert commit.turn == len([w for w in self.said[head] if w != "forget"])
            for file, data in sessions.layout.state_views(sessions.state(commit)).items():
                assert sessions.path(session, file).read_bytes() == data

    @invariant()
    def nothing_is_lost(self) -> None:
        reachable = {c.id for name in self.heads for c in self.service.sessions.log(name, everything=True)}
        assert reachable >= self.states.keys()
        for sha in {*self.states, *self.states.values()}:
            self.service.sessions.objects.get(sha)

    def check_at_the_end(self) -> None:
        report = fsck(self.service.sessions.store, repair=True, gc=True, grace_s=0)
        assert report.ok, report.findings
        assert fsck(self.service.sessions.store).findings == []
        self.nothing_is_lost()
        for session in self.heads:
            result = self.service.verify(session)
            assert result.ok, result


def _toggled(words: list[Any], place: int) -> list[Any]:
    word = words[place]
    return [*words[:place], ("frozen", word) if isinstance(word, int) else word[1], *words[place + 1 :]]


def _behind(sessions: Sessions, head: str) -> Iterator[Commit]:
    """What the head's state is made of, newest first, reverts and resets included."""
    at: str | None = head
    while at is not None:
        commit = sessions.read(at)
        yield commit
        at = commit.to or commit.parent


class RecurrenceMachine(SessionMachine):
    def open(self, folder: str) -> Recurrence:
        return Recurrence(Store(folder))

    def make(self, name: str) -> str:
        return self.service.new(name)

    def say(self, session: str, word: int) -> None:
        self.service.turn(session, word)

    @invariant()
    def the_latest_is_of_the_head(self) -> None:
        """A file that belongs to no turn's folder shows the latest turn that the state learned from."""
        for session, head in self.heads.items():
            learned = [word for word in self.said[head] if isinstance(word, int)]
            file = self.service.sessions.path(session, "metrics.json")
            assert (file.read_text() if file.exists() else "") == "".join(f"{word}\n" for word in learned[-1:])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.check_at_the_end()
            self.check_what_was_never_seen()
        super().teardown()

    def check_what_was_never_seen(self) -> None:
        """A session that no rule was forgotten in is one that was only ever told what it has seen."""
        for session, head in self.heads.items():
            words = [word for word in self.said[head] if isinstance(word, int)]
            if "forget" not in self.said[head] and len(words) < len(self.said[head]):
                name = self.make(f"never-{session}")
                for word in words:
                    self.say(name, word)
                assert self.service.sessions.head(name).state == self.states[head]


class ChatMachine(SessionMachine):
    """Real turns: the model, its guard and its canaries are shared by all sequences, as in a server."""

    models = tempfile.TemporaryDirectory()
    pool: ModelPool | None = None

    def open(self, folder: str) -> ChatService:
        if ChatMachine.pool is None:
            store = Store(self.models.name)
            save_random_model(store)
            ChatMachine.pool = ModelPool(store)
        return ChatService(Store(folder), pool=ChatMachine.pool)

    def make(self, name: str) -> str:
        return self.service.new(SessionOptions(rule="muon", lr=0.02, momentum=0.9), name).session_id

    def say(self, session: str, word: int) -> None:
        self.service.send(session, f"word {word}", Sampling(max_new_tokens=2, seed=word))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.check_at_the_end()
            self.check_what_was_never_seen()
        super().teardown()

    def check_what_was_never_seen(self) -> None:
        """A session that no rule was forgotten in is one that was only ever told what it has seen."""
        for session, head in self.heads.items():
            words = [word for word in self.said[head] if isinstance(word, int)]
            if "forget" not in self.said[head] and len(words) < len(self.said[head]):
                name = self.make(f"never-{session}")
                for word in words:
                    self.say(name, word)
                assert self.service.sessions.head(name).state == self.states[head]


def run_machine(machine: type[SessionMachine], examples: int, steps: int) -> None:
    real = os.fsync
    os.fsync = lambda fd: None  # a crash here is of the process: what it wrote stays written
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
                suppress_health_check=QUIET, report_multiple_bugs=False,
            ),
        )  # fmt: skip
    finally:
        os.fsync = real


def test_random_lives_of_text_sessions() -> None:
    run_machine(ChatMachine, 8, 12)


def test_random_lives_of_small_states() -> None:
    run_machine(RecurrenceMachine, 25, 15)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_thousand_random_lives() -> None:
    run_machine(RecurrenceMachine, int(os.environ.get("SEQUENCES", "10000")), 12)

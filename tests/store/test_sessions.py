"""Sessions against an in-memory model, their views, locks, forks and damage."""

import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic, tensors
from fastweights.store.fsck import fsck
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.store.snapshots import commit_turn, new_session, snapshot, turn_record


@pytest.fixture
def sessions(store):
    return Sessions(store)


class StoreMachine(RuleBasedStateMachine):
    """Random create / commit / fork / checkout / reload, against {session: [commit ids from root to head]}."""

    names = Bundle("names")

    @initialize()
    def begin(self):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.sessions = Sessions(Store(self.folder.name))
        self.model: dict[str, list[str]] = {}
        self.all: dict[str, list[str]] = {}  # commit id -> path to it
        self.count = 0

    def teardown(self):
        self.folder.cleanup()

    @rule(target=names)
    def create(self):
        name = f"s{len(self.model)}"
        meta = new_session(self.sessions, name)
        self.model[name] = [meta.head]
        self.all[meta.head] = [meta.head]
        return name

    @rule(name=names, kind=st.sampled_from(["turn", "turn", "turn", "reset"]))
    def commit(self, name, kind):
        self.count += 1
        n = self.count
        made = self.sessions.commit(
            name, parent=self.model[name][-1], kind=kind, state=snapshot(n), guard={}, record=turn_record(n)
        )
        self.model[name] = [*self.model[name], made.id]
        self.all[made.id] = self.model[name]

    @rule(name=names, data=st.data())
    def stale_parent_is_refused(self, name, data):
        if len(self.model[name]) > 1:
            parent = data.draw(st.sampled_from(self.model[name][:-1]))
            with pytest.raises(Conflict, match="head of session"):
                self.sessions.commit(name, parent=parent, state=snapshot(0), guard={}, record={})

    @rule(target=names, name=names, data=st.data())
    def fork(self, name, data):
        at = data.draw(st.none() | st.sampled_from(self.model[name]))
        new = f"s{len(self.model)}"
        path = self.model[name] if at is None else self.all[at]
        meta = self.sessions.fork(name, new, at)
        assert (meta.parent_session, meta.forked_from, meta.root) == (name, path[-1], path[0])
        self.model[new] = path
        return new

    @rule(name=names, data=st.data())
    def checkout(self, name, data):
        root = self.model[name][0]
        made = [c for c, path in self.all.items() if path[0] == root]  # in order of making: ids differ from run to run
        target = data.draw(st.sampled_from(made))
        self.sessions.checkout(name, target)
        self.model[name] = self.all[target]

    @rule()
    def reload(self):
        self.sessions = Sessions(Store(self.folder.name))

    @rule()
    def drop_the_index(self):
        self.sessions.store.path("text_sessions", "index.json").unlink(missing_ok=True)

    @invariant()
    def store_equals_model(self):
        assert {m.id: m.head for m in self.sessions.list()} == {n: p[-1] for n, p in self.model.items()}
        for name, path in self.model.items():
            log = self.sessions.log(name)
            assert [c.id for c in log] == path[::-1]
            since = next((i for i, c in enumerate(log) if c.kind != "turn"), len(log))  # the last reset, or the root
            assert self.sessions.meta(name).turns == since
            for commit in log[:1]:
                assert tensors.unpack(self.sessions.state(commit))[0].keys() >= {"weights/context.A", "carry/0"}
            trace = atomic.read_jsonl(self.sessions.path(name, "trace.jsonl"))
            assert [row["commit"] for row in trace] == path[1:]
        report = fsck(self.sessions.store)
        assert report.ok, report.findings


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestStoreMachine = StoreMachine.TestCase


def test_views_show_the_head(sessions):
    new_session(sessions, "s1")
    heads = [commit_turn(sessions, "s1", n) for n in (1, 2, 3)]
    meta = sessions.meta("s1")
    assert (meta.head, meta.turns, meta.title, meta.drift) == (heads[-1].id, 3, "title 1", 0.3)
    state, _ = tensors.unpack(atomic.read_bytes(sessions.path("s1", "context_state.safetensors")))
    assert state == {"context.A": ("F32", (2, 2), struct.pack("<4f", *[3.0] * 4))}
    optim, _ = tensors.unpack(atomic.read_bytes(sessions.path("s1", "optim_state.safetensors")))
    assert list(optim) == ["momentum/context.A"]
    trace = atomic.read_jsonl(sessions.path("s1", "trace.jsonl"))
    assert [(r["turn"], r["prompt"], r["reply"], r["commit"]) for r in trace] == [
        (n, f"prompt {n} é", f"reply {n}", heads[n - 1].id) for n in (1, 2, 3)
    ]
    events = atomic.read_jsonl(sessions.path("s1", "events.jsonl"))
    assert [(e["turn"], e["chunk_index"]) for e in events] == [(1, 0), (2, 0), (2, 1)]
    sessions.checkout("s1", heads[0].id)
    assert [r["turn"] for r in atomic.read_jsonl(sessions.path("s1", "trace.jsonl"))] == [1]
    sessions.checkout("s1", heads[2].id)  # forward again: nothing was deleted
    assert atomic.read_jsonl(sessions.path("s1", "trace.jsonl")) == trace


def test_views_are_never_trusted(sessions):
    new_session(sessions, "s1")
    commit_turn(sessions, "s1", 1)
    for file in ("events.jsonl", "trace.jsonl", "context_state.safetensors", "optim_state.safetensors"):
        sessions.path("s1", file).unlink()
    assert [c.turn for c in sessions.log("s1")] == [1, 0]
    commit_turn(sessions, "s1", 2)
    assert fsck(sessions.store).ok


def test_names_of_commits(sessions):
    new_session(sessions, "s1")
    one, two, three = (commit_turn(sessions, "s1", n) for n in (1, 2, 3))
    other_head = commit_turn(sessions, "other", 2) if new_session(sessions, "other") else None
    sessions.tag("s1", "v1.0", "head~1")
    sessions.checkout("s1", one.id)  # three stays reachable: it is a head that was left
    root = sessions.read(sessions.meta("s1").root)
    for ref, commit in {
        "head": one, "HEAD": one, "head~0": one, "head~": root, "head^": root, "init": root, "v1.0": two,
        "v1.0~1": one, "v1.0~2": root, one.id: one, three.id: three, three.id[:8]: three, three.id[:4]: three,
        f"{three.id[:10]}~3": root, "v1.0^^": root, "v1.0~^": root,
    }.items():  # fmt: skip
        assert sessions.find("s1", ref) == commit, ref
    assert other_head is not None
    for bad in [
        "abc", one.id[:3], "nothing", "0" * 64, "../x", "\ud800", "", "~1", "head~2", "init~1", "head~x", "~", "head ",
        "head~99999999999", one.state, other_head.id, other_head.id[:8], "HEAD@{1}",
    ]:  # fmt: skip
        with pytest.raises(NotFound):
            sessions.find("s1", bad)


def test_an_ambiguous_prefix_says_what_it_could_mean(sessions):
    new_session(sessions, "s1")
    root = sessions.head("s1")
    seen: dict[str, str] = {}
    made = ""
    for n in range(5000):  # 65,536 prefixes of four digits: two of some hundred ids collide
        made = sessions.commits.put("s1", root, "turn", snapshot(0), {}, {"n": n}).id
        if made[:4] in seen:
            break
        seen[made[:4]] = made
    sessions.tag("s1", "a", seen[made[:4]])
    sessions.tag("s1", "b", made)
    with pytest.raises(NotFound, match=r"names \d commits .*give more digits"):
        sessions.find("s1", made[:4])
    assert sessions.find("s1", made[:12]).id == made


def test_tags(sessions):
    new_session(sessions, "s1")
    commit_turn(sessions, "s1", 1)
    used = sessions.meta("s1").updated_at
    head = sessions.tag("s1", "best")
    assert sessions.meta("s1").tags == {"best": head.id}
    assert sessions.meta("s1").updated_at == used
    assert sessions.tag("s1", "best") == head, "the same again is no conflict"
    with pytest.raises(Conflict, match="'best' of session 's1' names"):
        sessions.tag("s1", "best", "init")
    for bad in ("", "a b", "-x", "head", "HEAD", "init", "x" * 65, "a~1", "f" * 64, "\n", "é"):
        with pytest.raises(FastweightsError, match="tag"):
            sessions.tag("s1", bad)
    with pytest.raises(NotFound, match="no tag 'none' in session 's1': best"):
        sessions.untag("s1", "none")
    assert sessions.fork("s1", "s2").tags == {}
    sessions.checkout("s1", "init")
    assert sessions.untag("s1", "best") == head.id
    assert sessions.find("s1", head.id[:6]) == head, "it stays, as a head that was left"
    assert fsck(sessions.store).findings == []


def test_reset_goes_on_from_an_earlier_state_and_knows_its_transcript(sessions):
    new_session(sessions, "s1")
    one, two = (commit_turn(sessions, "s1", n) for n in (1, 2))
    back = sessions.reset("s1", "head~1")
    assert (back.kind, back.parent, back.state, back.turn, back.to) == ("reset", two.id, one.state, 1, one.id)
    three = commit_turn(sessions, "s1", 3)
    assert three.turn == 2
    assert sessions.commits.transcript(three.id) == [one, three]
    start = sessions.reset("s1")
    assert (start.turn, start.to, start.guard) == (0, sessions.meta("s1").root, {"n": 0})
    assert sessions.commits.transcript(start.id) == []
    assert [c.kind for c in sessions.log("s1")] == ["reset", "turn", "reset", "turn", "turn", "init"]
    assert fsck(sessions.store).findings == []


def test_a_fork_without_momentum_has_the_initial_rule_state(sessions):
    new_session(sessions, "s1")
    head = commit_turn(sessions, "s1", 1)
    kept, fresh = sessions.fork("s1", "kept"), sessions.fork("s1", "fresh", keep_momentum=False)
    assert (kept.head, kept.forked_from, fresh.forked_from) == (head.id, head.id, head.id)
    first, was = (tensors.unpack(sessions.state(c))[0] for c in (sessions.read(fresh.root), head))
    made = sessions.head("fresh")
    assert (made.kind, made.parent, made.turn, made.session) == ("fork", head.id, 1, "fresh")
    now = tensors.unpack(sessions.state(made))[0]
    assert now == {name: (first if name.startswith("rule/") else was)[name] for name in was}
    assert sessions.commits.transcript(made.id) == [head]
    assert sessions.fork("s1", "early", "init", keep_momentum=False).head == fresh.root, "nothing to forget"
    assert fsck(sessions.store).findings == []


def test_create_twice_unknown_session_and_bad_kind(sessions):
    new_session(sessions, "s1")
    with pytest.raises(Conflict, match="exists"):
        new_session(sessions, "s1")
    for call in (sessions.meta, sessions.head, sessions.log, sessions.fork):
        with pytest.raises(NotFound, match="no session 'gone'"):
            call("gone")
    with pytest.raises(NotFound), sessions.lock("gone"):
        pass
    assert not sessions.path("gone").exists()
    with pytest.raises(FastweightsError, match="kind"):
        sessions.commit("s1", parent=sessions.meta("s1").head, kind="init", state=snapshot(1), guard={}, record={})
    with pytest.raises(FastweightsError, match="JSON"):
        sessions.commit("s1", parent=sessions.meta("s1").head, state=snapshot(1), guard={}, record={"prompt": "\ud800"})
    with pytest.raises(Corrupt, match="safetensors"):
        sessions.commit("s1", parent=sessions.meta("s1").head, state=b"junk", guard={}, record={})
    assert sessions.meta("s1").turns == 0
    assert fsck(sessions.store).ok


def test_the_index_is_only_a_cache(sessions):
    for name in ("a", "b", "c"):
        new_session(sessions, name)
    index = sessions.store.path("text_sessions", "index.json")
    fresh = {m.id: m for m in sessions.list()}
    assert index.is_file()
    broken = (b'{"entr', b'{"entries": [1]}', b'{"entries": {"a": {"stamp": 0, "record": {}}, "ghost": 1}}')
    for damage in (index.unlink, *(lambda data=data: index.write_bytes(data) for data in broken)):
        damage()
        assert {m.id: m for m in sessions.list()} == fresh
        assert atomic.read_json(index)["entries"].keys() == fresh.keys()
    commit_turn(sessions, "b", 1)
    assert [m.id for m in sessions.list()] == ["b", "c", "a"]


def test_one_damaged_session_does_not_hide_the_others(sessions):
    new_session(sessions, "a")
    new_session(sessions, "b")
    path = sessions.path("a", "meta.json")
    whole = path.read_bytes()
    for size in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(Corrupt, match=r"meta.json"):
            sessions.meta("a")
        assert [m.id for m in sessions.list()] == ["b"]
        assert [*sessions.damaged()] == ["a"]
    path.write_bytes(whole)
    assert sessions.damaged() == {}
    assert [m.id for m in sessions.list()] == ["b", "a"]
    path.write_bytes(b"")
    assert [(f.level, f.path) for f in fsck(sessions.store).findings] == [("warning", "text_sessions/a")]


def test_a_second_writer_learns_who_holds_the_session(sessions):
    new_session(sessions, "s1")
    seen: list[BaseException] = []

    def second():
        try:
            commit_turn(Sessions(sessions.store), "s1", 9)
        except Conflict as error:
            seen.append(error)

    with sessions.lock("s1", "a chat turn"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        with pytest.raises(Conflict, match="busy"):  # another instance in the same thread counts as another writer
            commit_turn(Sessions(sessions.store), "s1", 9)
        assert sessions.head("s1").turn == 0, "readers never block"
        commit_turn(sessions, "s1", 1)  # the holder itself goes on
    import os

    assert f"pid {os.getpid()}" in str(seen[0])
    assert "a chat turn since" in str(seen[0])
    commit_turn(Sessions(sessions.store), "s1", 2)


def test_another_process_is_named_and_its_death_frees_the_lock(sessions):
    new_session(sessions, "s1")
    code = (
        "import sys, time\n"
        "from fastweights.store.root import Store\nfrom fastweights.store.sessions import Sessions\n"
        "with Sessions(Store(sys.argv[1])).lock('s1', 'holding it'):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(sessions.store.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match=rf"pid {child.pid}, holding it since"):
            commit_turn(sessions, "s1", 1)
        assert fsck(sessions.store, repair=True).ok, "fsck leaves a live lock alone"
    finally:
        child.kill()
        child.communicate()
    assert any("is gone" in f.problem for f in fsck(sessions.store).findings)
    commit_turn(sessions, "s1", 1)
    assert not fsck(sessions.store).findings


def test_many_threads_each_turn_exactly_once(sessions):
    new_session(sessions, "s1")
    done: list[str] = []

    def work(n):
        while True:
            try:
                done.append(commit_turn(sessions, "s1", n).id)
                return
            except Conflict:
                pass

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    log = sessions.log("s1")
    assert {c.id for c in log[:-1]} == set(done)
    assert [c.turn for c in log] == list(range(8, -1, -1))
    assert fsck(sessions.store).ok

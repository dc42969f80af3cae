"""Sessions of Nano: a run goes on where the one before stopped, forks part, what was stored can be computed again."""

import json

import numpy as np
import pytest

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.models.nano_config import RULES, NanoLearning, Rule
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.runs import NanoService
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.services.nano.weights import effective_rank
from fastweights.store import atomic
from fastweights.store.fsck import fsck
from fastweights.store.nano_files import PER_STEP, UPDATES
from fastweights.store.root import Store
from tests.models.nano_models import QUICK


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> NanoService:
    service = NanoService(Store(tmp_path_factory.mktemp("bases")))
    service.pretrain("linear", QUICK)
    service.pretrain("nonlinear", QUICK)
    return service


@pytest.fixture
def service(store: Store, bases: NanoService) -> NanoSessionService:
    return NanoSessionService(store, bases)


def _setting(rule: Rule = "rls", **fields) -> NanoSetting:
    return NanoSetting(seed=3, learning=NanoLearning(rule=rule), **fields)


@pytest.mark.parametrize("rule", RULES)
def test_two_runs_of_500_equal_one_of_1000(service: NanoSessionService, rule: Rule) -> None:
    for name in ("halves", "whole"):
        service.new(_setting(rule, mode="nonlinear", noise=0.1), name)
    first = service.run("halves", 500)
    second = NanoSessionService(service.sessions.store, service.bases).run("halves", 500)
    whole = service.run("whole", 1000)
    heads = [service.sessions.head(name) for name in ("halves", "whole")]
    assert heads[0].state == heads[1].state  # the SHA-256 of every tensor, the world and its generator
    assert heads[0].guard == heads[1].guard
    assert (first.to_step, second.from_step, second.to_step) == (500, 500, whole.to_step)
    rows = [service.rows("halves", run.run_id) for run in (first, second)]
    for column in ("t", "baseline_mse", "adaptive_mse", "oracle_mse", "did_update", "update_ok"):
        joined = getattr(rows[0], column) + getattr(rows[1], column)
        assert joined == getattr(service.rows("whole", whole.run_id), column), column
    updates = service.updates("halves", first.run_id) + service.updates("halves", second.run_id)
    assert updates == service.updates("whole", whole.run_id)
    assert service.verify("halves").ok


def test_what_a_session_keeps(service: NanoSessionService) -> None:
    session = service.new(_setting(), "s1")
    base = service.bases.base_record("linear")
    assert session.signature.base_sha256 == base.checkpoint_sha256
    assert session.signature.root_session == "s1"
    run = service.run("s1", 200)
    assert run.adaptive_mse is not None
    assert run.baseline_mse is not None
    assert run.adaptive_mse < run.baseline_mse
    assert run.session_frozen_mse == run.baseline_mse  # it began with the base model
    again = service.run("s1", 200)
    assert again.session_frozen_mse != again.baseline_mse
    folder = service.sessions.path("s1")
    for name in ("meta.json", "metrics.json", "plastic_state.safetensors", "optim_state.safetensors"):
        assert (folder / name).is_file()
    assert len((folder / "update_events.jsonl").read_bytes().splitlines()) == 12  # 400 // 32
    assert json.loads((folder / "metrics.json").read_bytes())["run_id"] == again.run_id
    for one in (run, again):
        where = folder / "runs" / one.run_id
        assert (where / PER_STEP).read_bytes().count(b"\n") == 201
        assert len(json.loads((where / UPDATES).read_bytes())) == one.committed + one.blocked + one.rolled_back == 6
    detail = service.show("s1")
    assert [r.run_id for r in detail.runs] == [run.run_id, again.run_id]
    assert (detail.step, detail.writes, detail.n_turns) == (400, 12, 2)
    assert [s.session_id for s in service.list()] == ["s1"]
    assert fsck(service.sessions.store).findings == []


def test_a_fork_takes_the_weights_and_may_leave_the_momentum(service: NanoSessionService) -> None:
    service.new(_setting("muon"), "s1")
    service.run("s1", 100)
    kept = service.fork("s1", "kept")
    fresh = service.fork("s1", "fresh", keep_momentum=False)
    assert kept.signature.root_session == fresh.signature.root_session == "s1"
    assert fresh.signature.parent_session == "s1"
    assert kept.head == service.sessions.meta("s1").head != fresh.head
    assert service.diff("s1", other="fresh").l2 == 0
    for name in ("s1", "kept", "fresh"):
        service.run(name, 100)
    states = {name: service.sessions.head(name).state for name in ("s1", "kept", "fresh")}
    assert states["s1"] == states["kept"] != states["fresh"]
    assert len(service.show("fresh").runs) == 2
    assert service.verify("fresh").ok
    assert fsck(service.sessions.store).findings == []


def test_reset_and_the_same_again(service: NanoSessionService) -> None:
    service.new(_setting(), "s1")
    first = service.run("s1", 150)
    state = service.sessions.head("s1").state
    service.reset("s1")
    assert service.show("s1").step == 0
    again = service.run("s1", 150)
    assert service.sessions.head("s1").state == state
    assert again.adaptive_mse == first.adaptive_mse
    assert service.rows("s1", first.run_id).total == 150  # the history stays
    with pytest.raises(NotFound, match="run-no"):
        service.rows("s1", "run-no")


@pytest.mark.parametrize("rule", ["rls", "muon"])
def test_a_reverted_run_was_lived_through_and_not_learned_from(service: NanoSessionService, rule: Rule) -> None:
    """The state is that of a reader that learned from the first 100 steps and from those after step 200 alone."""
    from fastweights.data import physics
    from fastweights.models.nano_reader import NanoReader

    setting = _setting(rule, mode="nonlinear")
    service.new(setting, "s1")
    runs = [service.run("s1", 100) for _ in range(3)]
    before = service.sessions.head("s1")
    info = service.revert("s1", "2")
    head = service.sessions.head("s1")
    assert (info.n_turns, head.kind, head.state == before.state) == (3, "revert", False)
    detail = service.show("s1")
    assert (detail.step, [run.reverted for run in detail.runs]) == (300, [False, True, False])
    reader = NanoReader(service.bases.base("nonlinear").model, setting.learning)
    state = reader.start(physics.start("nonlinear", 3))
    for steps, frozen in ((100, False), (100, True), (100, False)):
        state = reader.read(state, steps, frozen=frozen).state
    saved = service.weights("s1").matrices
    for matrix in saved:
        assert np.array_equal(
            np.array(matrix.values, dtype=np.float32), state.session.fast.weights[matrix.name][0].numpy()
        )
    assert service.verify("s1").ok
    service.revert("s1", head.id)  # the revert of the revert
    assert service.sessions.head("s1").state == before.state
    assert not any(run.reverted for run in service.show("s1").runs)
    assert service.verify("s1").ok
    assert [c.summary for c in service.log("s1")[:2]] == ["run 2 is learned from again", "run 2 is read frozen"]
    assert fsck(service.sessions.store).findings == []
    assert runs[1].run_id == detail.runs[1].run_id


def test_reverting_the_last_run_leaves_the_weights_before_it(service: NanoSessionService) -> None:
    service.new(_setting(), "s1")
    metrics = service.sessions.path("s1", "metrics.json")
    first, second = service.run("s1", 90), service.run("s1", 90)
    service.revert("s1", "head")
    assert service.diff("s1", "head~2", "head").l2 == 0
    assert json.loads(metrics.read_bytes())["run_id"] == first.run_id
    service.revert("s1", first.commit[:12])
    assert service.diff("s1", "init", "head").l2 == 0
    assert not metrics.exists()  # nothing that the state has learned from
    assert service.show("s1").step == 180
    assert fsck(service.sessions.store).findings == []
    service.run("s1", 90)  # the block that is open has steps in it that were reverted: the next one learns
    assert [u.t for u in service.updates("s1", service.show("s1").runs[-1].run_id)] == [224, 256]
    service.reset("s1", second.commit)
    assert json.loads(metrics.read_bytes())["run_id"] == second.run_id
    service.reset("s1")
    assert not metrics.exists()
    assert service.verify("s1").ok
    metrics.write_bytes(b"{}")  # as a crash before the record was written would leave it
    (finding,) = fsck(service.sessions.store, repair=True).findings
    assert (finding.level, "metrics.json disagree" in finding.problem, metrics.exists()) == ("warning", True, False)
    assert fsck(service.sessions.store).findings == []


def test_what_cannot_be_reverted(service: NanoSessionService) -> None:
    service.new(_setting(), "s1")
    run = service.run("s1", 40)
    service.revert("s1", "1")
    head = service.sessions.head("s1")
    for what, error, said in (
        ("1", Conflict, "frozen already"),
        ("2", NotFound, "not among the 1 turns or runs"),
        ("init", FastweightsError, "kind 'init'"),
        ("nothing", NotFound, "is no commit"),
    ):
        with pytest.raises(error, match=said):
            service.revert("s1", what)
    service.reset("s1")
    with pytest.raises(FastweightsError, match="not among the 0 turns"):
        service.revert("s1", run.commit)
    assert service.sessions.head("s1").parent == head.id


def test_verify_finds_what_was_changed(service: NanoSessionService) -> None:
    """A commit whose record claims another error, and one whose file is not what the run gives."""
    service.new(_setting(), "s1")
    service.run("s1", 100)
    head = service.sessions.head("s1")
    parent = service.sessions.read(head.parent or "")
    files = {name: service.sessions.objects.get(sha) for name, sha in head.files.items()}
    for name, change in (("adaptive_mse", {"adaptive_mse": 0.0}), ("files", {})):
        service.checkout("s1", parent.id)
        csv = next(file for file in files if file.endswith(PER_STEP))
        forged = {**files, csv: files[csv].replace(b"\n9,", b"\n8,")} if name == "files" else files
        record = {key: value for key, value in head.record.items() if key != "files"}
        service.sessions.commit(
            "s1", parent=parent.id, kind="run", state=service.sessions.state(head), guard=head.guard,
            record={**record, **change}, files=forged,
        )  # fmt: skip
        found = service.verify("s1", "head")
        assert not found.ok
        assert f"{name!r} differs" in str(found.commits[0].problem)


def test_a_run_that_is_cut_off_is_a_shorter_run(service: NanoSessionService) -> None:
    service.new(_setting(), "s1")
    seen: list[str] = []
    run = service.run(
        "s1", 1000, on_event=lambda kind, _: seen.append(kind), cancelled=lambda: seen.count("steps") >= 3
    )
    assert (run.stopped, run.steps, run.committed) == ("cancelled", 96, 3)
    assert seen == ["steps", "update"] * 3
    assert service.verify("s1").ok


def test_the_weights_beside_the_base_and_the_parent(service: NanoSessionService) -> None:
    service.new(_setting("sgd"), "s1")
    start = service.weights("s1")
    assert start.against is None
    assert all(m.from_base.l2 == 0 and m.values == m.base for m in start.matrices)
    service.run("s1", 200)
    service.run("s1", 200)
    at = service.weights("s1")
    assert [(m.name, m.shape) for m in at.matrices] == [("W_u", (16, 6)), ("B", (32, 16)), ("W_o", (4, 32))]
    assert at.against == service.sessions.find("s1", "head~1").id
    for matrix in at.matrices:
        here, base = np.array(matrix.values), np.array(matrix.base)
        assert matrix.from_base.l2 == pytest.approx(np.linalg.norm(here - base))
        assert matrix.from_base.max == np.abs(here - base).max()
        assert np.linalg.norm(matrix.singular_values) == pytest.approx(matrix.norm)
        assert 1 <= matrix.effective_rank <= min(matrix.shape)
        assert matrix.from_against is not None
        assert matrix.from_against.l2 > 0
    base = service.weights("s1", against="init")
    assert all(m.from_against == m.from_base for m in base.matrices)


def test_effective_rank() -> None:
    assert effective_rank(np.ones(4)) == pytest.approx(4)
    assert effective_rank(np.array([3.0, 0.0])) == 1
    assert effective_rank(np.zeros(3)) == 0


def test_a_busy_session_and_wrong_ids(service: NanoSessionService) -> None:
    service.new(_setting(), "s1")
    with pytest.raises(Conflict):
        service.new(_setting(), "s1")
    bare = NanoSessionService(service.sessions.store)
    with pytest.raises(Conflict):
        bare.new(_setting(), "s1")
    with pytest.raises(NotFound):  # nothing was trained for a session that could not be made
        bare.bases.base_record("linear")
    with pytest.raises(FastweightsError, match="not valid"):
        service.new(_setting(), "../s1")
    with pytest.raises(NotFound):
        service.run("s2", 10)


def test_a_new_base_model_changes_no_session(store: Store) -> None:
    """The base is part of a session's state: it is trained anew, and all goes on as before."""
    bases = NanoService(store)
    bases.pretrain("linear", QUICK)
    service = NanoSessionService(store)
    service.new(_setting(), "s1")
    service.run("s1", 64)
    bases.pretrain("linear", QUICK.model_copy(update={"seed": 1}))
    service.run("s1", 64)
    assert service.verify("s1").ok
    path = store.path("base", "linear", "base_meta.json")
    record = atomic.read_json(path)
    assert fsck(store).findings == []
    atomic.write_json(path, {**record, "checkpoint_sha256": "0" * 64})
    assert [f.level for f in fsck(store).findings] == ["error"]
    path.unlink()
    assert [f.level for f in fsck(store).findings] == ["note"]


def test_fsck_knows_single_runs(store: Store, bases: NanoService) -> None:
    from fastweights.services.nano.records import NanoRunRequest

    service = NanoService(store)
    service.pretrain("linear", QUICK)
    run = service.run(NanoRunRequest(steps=64), plot=False)
    assert fsck(store).findings == []
    folder = store.path("nano_runs", run.run_id)
    (folder / PER_STEP).write_bytes((folder / PER_STEP).read_bytes()[:500])
    (finding,) = fsck(store).findings
    assert finding.level == "error"
    assert "64 steps" in finding.problem
    (folder / UPDATES).write_bytes(b"[{")
    assert "truncated" in fsck(store).findings[0].problem
    (folder / "summary.json").unlink()
    assert [f.level for f in fsck(store).findings] == ["note"]

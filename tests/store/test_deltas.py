"""Snapshots as changes of earlier ones: what is read is what was written, and little of it is written twice."""

import os
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.core.state import FastState, to_tensors
from fastweights.core.table import RowDelta, Table
from fastweights.errors import Corrupt, NotFound
from fastweights.store import deltas
from fastweights.store.fsck import fsck
from fastweights.store.objects import Objects, _Recent
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from fastweights.store.tensors import Raw, dumps, pack, unpack

tables = st.dictionaries(st.integers(0, 40), st.tuples(st.integers(0, 3), st.integers(-1, 1)), max_size=12)


def entries(held: dict[int, tuple[int, int]], scale: float = 1, kind: str = "I64") -> dict[str, Raw]:
    """A table of two sequences with tags, and tensors beside it."""
    rows = np.array(sorted(held), np.int64 if kind == "I64" else np.int32)
    values = np.array([[held[r][0] * s for r in sorted(held)] for s in (1, 2)], np.float32).reshape(2, -1)
    tags = np.array([[held[r][1] for r in sorted(held)]], np.int32).reshape(1, -1)
    dense = np.arange(6, dtype=np.float32).reshape(1, 2, 3) * scale
    return {
        "weights/t/rows": (kind, rows.shape, rows.tobytes()),
        "weights/t/values": ("F32", values.shape, values.tobytes()),
        "weights/t/tags": ("I32", tags.shape, tags.tobytes()),
        "weights/w": ("F32", dense.shape, dense.tobytes()),
        "weights/empty": ("F32", (1, 0), b""),
        "step": ("I64", (), np.int64(len(held)).tobytes()),
    }


@given(tables, tables, st.sampled_from(["I64", "I32"]))
def test_a_change_is_exact(old: dict[int, tuple[int, int]], new: dict[int, tuple[int, int]], kind: str) -> None:
    before, after = entries(old, kind=kind), entries(new, -0.0, kind)
    assert deltas.apply(before, deltas.between(before, after)) == after


def test_tensors_may_come_and_go_and_odd_tables_are_kept_whole() -> None:
    before, after = entries({1: (1, 1), 5: (2, 1)}), entries({5: (2, 1)})
    del before["weights/empty"], after["weights/w"]
    after["weights/new"] = ("U8", (3,), b"abc")
    after["weights/other/rows"] = ("I64", (2,), np.array([4, 4]).tobytes())  # not ascending
    before["weights/other/rows"] = after["weights/other/rows"]
    after["weights/t/values"] = ("F64", (1, 1), np.float64(3).tobytes())  # of another type than it was
    assert deltas.apply(before, deltas.between(before, after)) == after


def states(turns: int, seed: int = 0) -> list[bytes]:
    """Snapshots of a state whose table grows by 2,000 entries a turn."""
    draw = torch.Generator().manual_seed(seed)
    table, found = Table.zeros(1, 1 << 20), []
    for turn in range(turns + 1):
        found.append(dumps(to_tensors(FastState({"t": table}, {}, {"at": torch.tensor([turn])}))))
        rows_N = torch.randint(0, 1 << 20, (2000,), generator=draw).unique()
        values = torch.randint(1, 3, (1, len(rows_N)), generator=draw).float()
        table = table.plus(RowDelta(rows_N, values))
    return found


def chain(objects: Objects, snapshots: list[bytes]) -> list[str]:
    shas = [objects.put(snapshots[0])]
    for data in snapshots[1:]:
        shas.append(objects.put(data, like=shas[-1]))
    return shas


def on_disk(objects: Objects, sha: str) -> int:
    return objects.path(sha).stat().st_size


def test_a_turn_costs_what_it_changed(store: Store) -> None:
    """Not the size of the state: 40 turns take less than a fifth of what whole snapshots take."""
    objects, snapshots = Objects(store), states(40)
    shas = chain(objects, snapshots)
    assert [objects.get(sha) for sha in shas] == snapshots
    assert [objects.size(sha) for sha in shas] == [len(data) for data in snapshots]
    assert max(len([*objects.behind(sha)]) for sha in shas) <= 5  # of 40: at most as many as 39 has ones
    whole, kept = sum(map(len, snapshots)), sum(on_disk(objects, sha) for sha in shas)
    assert kept < whole / 5
    odd = [on_disk(objects, sha) for sha in shas[1::2]]  # those that build on the turn before
    assert max(odd) < 1.2 * min(odd)
    assert objects.put(snapshots[7], like=shas[2]) == shas[7]
    assert Objects(store).get(shas[7]) == snapshots[7]


def test_small_gains_and_states_without_tables_are_stored_whole(store: Store) -> None:
    objects = Objects(store)
    dense = [dumps({"weights/w": torch.full((100,), float(i))}) for i in range(2)]
    table = to_tensors(FastState({"t": Table.zeros(1, 9)}, {}, {}))
    one, other = (dumps({**table, "weights/w": torch.randn(10_000)}) for _ in range(2))
    for first, second in (dense, (one, other), (one, dense[0]), (dense[0], one), (b"{}", b"[]"), (b"{}", one)):
        sha = objects.put(second, like=objects.put(first))
        assert objects.path(sha).read_bytes() == second
    assert objects.put(one, like="0" * 64) == objects.put(one)


def test_damage_is_named_and_never_built_upon(store: Store) -> None:
    objects, snapshots = Objects(store), states(4)
    shas = chain(objects, snapshots)  # 3 builds on 2, which builds on 0
    data = objects.path(shas[2]).read_bytes()
    for bad in (data[:-7], data[:60] + bytes([data[60] ^ 1]) + data[61:], data[:30], b""):
        objects.path(shas[2]).write_bytes(bad)
        for sha in shas[2:4]:
            with pytest.raises(Corrupt, match="restore a backup"):
                objects.get(sha)
        assert [objects.get(sha) for sha in (*shas[:2], shas[4])] == [*snapshots[:2], snapshots[4]]
    objects.path(shas[2]).unlink()
    with pytest.raises(Corrupt, match=f"builds on object {shas[2]}.*missing"):
        objects.get(shas[3])
    with pytest.raises(NotFound):
        objects.get(shas[2])
    again = states(3, 5)[3]
    assert objects.path(objects.put(again, like=shas[3])).read_bytes() == again
    assert objects.put(snapshots[2], like=shas[3]) == shas[2]  # whole: no two that build on each other
    assert [objects.get(sha) for sha in shas] == snapshots


def test_what_a_state_builds_on_is_not_collected(store: Store) -> None:
    """A session that began as a copy of another's state, whose own commits are gone: its chain is kept."""
    sessions, snapshots = Sessions(store), states(6)
    head = sessions.head(sessions.create("s", model="m", options={}, state=snapshots[0], guard={}).id)
    for data in snapshots[1:]:
        head = sessions.commit("s", parent=head.id, state=data, guard={}, record={"events": []})
    assert [*sessions.objects.behind(head.state)]
    sessions.create("t", model="m", options={}, state=sessions.state(head), guard={})
    for file in sorted(sessions.path("s").iterdir()):
        file.unlink()
    sessions.path("s").rmdir()
    long_ago = time.time() - 7200
    for sha in sessions.objects:
        os.utime(sessions.objects.path(sha), (long_ago, long_ago))
    report = fsck(store, gc=True)
    assert report.collected > 3
    assert sessions.state(sessions.head("t")) == snapshots[6]
    assert {f.level for f in fsck(store).findings} <= {"note"}


def test_views_are_plain_snapshots(store: Store) -> None:
    sessions, snapshots = Sessions(store), states(2)
    head = sessions.head(sessions.create("s", model="m", options={}, state=snapshots[0], guard={}).id)
    for data in snapshots[1:]:
        head = sessions.commit("s", parent=head.id, state=data, guard={}, record={"events": []})
    view, _ = unpack(sessions.path("s", "context_state.safetensors").read_bytes())
    held, meta = unpack(snapshots[2])
    assert pack({f"weights/{name}": raw for name, raw in view.items()}, meta) == pack(
        {name: raw for name, raw in held.items() if name.startswith("weights/")}, meta
    )
    assert sessions.meta("s").state_bytes == len(snapshots[2])


def test_what_is_kept_in_memory_is_bounded_and_never_outlives_its_file(store: Store) -> None:
    objects, snapshots = Objects(store), states(8)
    objects._recent = _Recent(3 * len(snapshots[5]))
    shas = chain(objects, snapshots)
    assert [objects.get(sha) for sha in shas] == snapshots
    kept = sum(len(data) for data, _ in objects._recent._kept.values())
    assert 0 < kept <= 3 * len(snapshots[5])
    assert objects.get(shas[7]) is objects.get(shas[7])
    base = next(iter(objects.behind(shas[7])))
    objects.path(base).unlink()
    with pytest.raises(Corrupt, match="missing"):
        objects.get(shas[7])

"""The KV-retrieval task: every sequence is what it says, and far means out of sight."""

import numpy as np
import pytest

from fastweights.data.kv import KVConfig, Reach, draw, held_out, kv_corpus

REACH = Reach(window=12, field=23)


def _task(**changes: object) -> KVConfig:
    fields = {"keys": 40, "values": 7, "records": 20, "queries": 10, "far_frac": 0.5}
    return KVConfig.model_validate({**fields, **changes})


@pytest.mark.parametrize("record", ["k_sep_v", "kv"])
def test_every_query_repeats_its_record(record: str) -> None:
    task = _task(record=record)
    batch = draw(task, REACH, 8, seed=3, number=5)
    assert batch.x_BT.shape == batch.y_BT.shape == (8, task.tokens)
    assert (batch.x_BT[:, 0] == task.bos).all()
    assert (batch.x_BT[:, 1:] == batch.y_BT[:, :-1]).all()
    for ids in batch.y_BT:
        slots = ids.reshape(-1, task.width)
        keys, values = slots[:, 0], slots[:, -1] - task.keys
        assert ((keys >= 0) & (keys < task.keys)).all()
        assert ((values >= 0) & (values < task.values)).all()
        assert len(set(keys[: task.records])) == task.records
        told = dict(zip(keys[: task.records], values[: task.records], strict=True))
        assert [told[key] for key in keys[task.records :]] == list(values[task.records :])
        if record == "k_sep_v":
            assert (slots[:, 1] == task.separator).all()


@pytest.mark.parametrize("record", ["k_sep_v", "kv"])
def test_far_is_beyond_the_field_and_near_within_a_window(record: str) -> None:
    task = _task(record=record)
    batch = draw(task, REACH, 16, seed=0, number=0)
    asked = batch.asked_BT
    assert not (batch.far_BT & batch.near_BT).any()
    assert (asked.sum(1) == task.queries).all()
    assert (batch.far_BT.sum(1) == round(task.far_frac * task.queries)).all()
    for x, y, far, asked_T in zip(batch.x_BT, batch.y_BT, batch.far_BT, asked, strict=True):
        for t in np.flatnonzero(asked_T):  # predicted from x[: t + 1], of which x[t] is the last
            key_at = t - task.width + 2
            assert y[t] >= task.keys
            before = np.flatnonzero(x[:key_at] == x[key_at])[-1]
            if far[t]:
                assert before + task.width - 1 <= t - REACH.field  # its value, too, is out of sight
            else:
                assert before > t - REACH.window


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    one, same, other = (draw(_task(), REACH, 4, seed=1, number=n) for n in (2, 2, 3))
    assert (one.y_BT == same.y_BT).all()
    assert (one.y_BT != other.y_BT).any()
    assert (held_out(_task(), REACH, 4, seed=1, number=2).y_BT != one.y_BT).any()
    assert kv_corpus(_task(), REACH, 0).sha256 != kv_corpus(_task(), REACH, 1).sha256


@pytest.mark.parametrize(
    ("changes", "reach", "match"),
    [
        ({"records": 4}, REACH, "records=4"),
        ({}, Reach(window=2, field=3), "window 2"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], reach: Reach, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        draw(_task(**changes), reach, 1, seed=0, number=0)


def test_more_records_than_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="records=50"):
        _task(records=50)

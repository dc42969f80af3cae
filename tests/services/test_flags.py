"""Flags report what is unusual of the model at hand, not of a toy; a threshold that is given holds as given."""

from fastweights.guard.gate_policy import GatePolicy, LimitPoint, LimitTable, OodPolicy
from fastweights.guard.policy import Policy
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_loop import Monitor
from fastweights.services.monitor_parts import build_monitor
from fastweights.services.monitor_records import MonitorEvent, MonitorOptions, MonitorThresholds
from fastweights.services.policies import policy_rows
from fastweights.store.root import Store

TEXT = "A program that reads a file line by line needs to remember very little; one that sorts it needs all of it. " * 3


def events(store: Store, **options) -> list[MonitorEvent]:
    chosen = MonitorOptions(chunk_tokens=16, **options)
    return list(Monitor(build_monitor(ModelPool(store), chosen), chosen).read([TEXT.encode()]))


def typical(norm: float) -> Policy:
    points = (LimitPoint(size=16, limit=9 * norm, typical=norm), LimitPoint(size=64, limit=9 * norm, typical=norm / 2))
    return Policy(gate=GatePolicy(ood=OodPolicy(grad_norm=LimitTable(side="high", points=points))))


def test_without_a_limit_or_a_calibration_only_the_history_flags(store: Store) -> None:
    assert not any(event.flagged for event in events(store, lr=50.0))


def test_a_calibrated_policy_knows_what_is_heavy(store: Store) -> None:
    norms = [event.grad_norm or 0.0 for event in events(store)]
    assert not any(event.flagged for event in events(store, policy=typical(max(norms))))
    heavy = events(store, policy=typical(min(norms) / 8))
    assert all(event.flagged for event in heavy)
    assert "gradient norm" in heavy[0].reasons[-1]


def test_a_threshold_that_is_given_holds_whatever_was_calibrated(store: Store) -> None:
    flags = MonitorThresholds(abs_grad_norm=1e3, abs_update_norm=1e-6)
    found = events(store, policy=typical(1e-3), flags=flags)
    for event in found:
        limits = [
            reason.split(" (")[1] for reason in event.reasons if reason.startswith("flag: ") and "limit" in reason
        ]
        assert limits == ["limit 1e-06)"]


def test_typical_values_are_interpolated_over_sizes() -> None:
    policy = typical(2.0)
    assert policy.gate is not None
    table = policy.gate.ood.grad_norm
    assert table is not None
    assert [table.typical(size) for size in (1, 16, 32, 64, 999)] == [2.0, 2.0, 1.5, 1.0, 1.0]


def test_shipped_policies_by_name() -> None:
    rows = {row.name: row for row in policy_rows()}
    assert list(rows)[:2] == ["default", "observe"]
    assert rows["default"].policy == Policy()
    assert rows["toy"].model == "toy"
    assert rows["toy"].policy.audit.max_delta < rows["default"].policy.audit.max_delta

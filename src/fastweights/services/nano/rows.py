"""Steps of a Nano run as columns of JSON: from the run's ``per_step.csv``, or as they happen. Torch-free."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastweights.errors import Corrupt
from fastweights.services.nano.session_records import NanoMetrics, NanoRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastweights.models.nano_reader import Steps

CSV_HEAD = "t,baseline_mse,adaptive_mse,did_update,update_ok,session_frozen_mse,oracle_mse,mean_mu_mse"
_NAMES = CSV_HEAD.split(",")
_FLAGS = ("did_update", "update_ok")
_LAST = 100


def per_step_csv(steps: Steps) -> bytes:
    """:data:`CSV_HEAD` and a line a step; flags are 0 or 1, floats are exact."""
    columns = (_column(steps, name) for name in _NAMES)
    numbers = (c.astype(int) if name in _FLAGS else c for name, c in zip(_NAMES, columns, strict=True))
    rows = zip(*(map(repr, column.tolist()) for column in numbers), strict=True)
    return "\n".join([CSV_HEAD, *map(",".join, rows), ""]).encode()


def read_csv(run_id: str, data: bytes, offset: int, limit: int) -> NanoRows:
    """At most ``limit`` rows from ``offset`` on."""
    head, *lines = data.decode().splitlines()
    if head != CSV_HEAD:
        raise Corrupt(f"per_step.csv of run {run_id!r} begins with {head[:80]!r}, not {CSV_HEAD!r}")
    chosen = [line.split(",") for line in lines[offset : offset + limit]]
    columns: dict[str, Any] = {name: [row[at] for row in chosen] for at, name in enumerate(_NAMES)}
    made = {name: [*map(_parser(name), texts)] for name, texts in columns.items()}
    return NanoRows(run_id=run_id, offset=offset, total=len(lines), **made)


def live_rows(run_id: str, steps: Steps, offset: int, total: int) -> NanoRows:
    """The steps of a block as they happen."""
    made: dict[str, Any] = {
        name: [finite(v) for v in column] if name.endswith("_mse") else column
        for name in _NAMES
        for column in [_column(steps, name).tolist()]
    }
    return NanoRows(run_id=run_id, offset=offset, total=total, **made)


def metrics(run_id: str, steps: Steps, decisions: list[str], drift: float | None) -> NanoMetrics:
    """The figures of a whole run."""
    means = {name: finite(float(_column(steps, name).mean())) for name in _NAMES if name.endswith("_mse")}
    last: dict[str, Any] = {
        f"last_{_LAST}_{name}": finite(float(_column(steps, name)[-_LAST:].mean()))
        for name in ("baseline_mse", "session_frozen_mse", "adaptive_mse")
    }
    return NanoMetrics(
        run_id=run_id,
        steps=len(steps.t),
        from_step=int(steps.t[0]) - 1,
        to_step=int(steps.t[-1]),
        **means,
        **last,
        committed=decisions.count("committed"),
        blocked=decisions.count("blocked"),
        rolled_back=decisions.count("rolled_back"),
        drift=drift,
    )


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _column(steps: Steps, name: str) -> NDArray[Any]:
    return getattr(steps, name.removesuffix("_mse"))


def _parser(name: str) -> Any:
    if name in _FLAGS:
        return lambda text: text == "1"
    return int if name == "t" else lambda text: finite(float(text))

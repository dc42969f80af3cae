"""Red team runs of a store: attack a model with its guard, keep what was found under ``redteam/<run_id>/``.

``report.json`` is the document itself, ``report.html`` the page, ``report.png`` its figures (with matplotlib), and
``payloads/`` holds each found payload as a fixture.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from fastweights.clock import cpu_seconds
from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.guard.policy import Policy
from fastweights.redteam.records import RedteamReport
from fastweights.redteam.report import NO_PLOTS, can_plot, html, png
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_parts import TOY
from fastweights.services.monitor_records import MonitorOptions
from fastweights.services.records import ID_PATTERN, POLICY_OF_MODEL, Record
from fastweights.store import atomic
from fastweights.store.redteam_runs import REDTEAM
from fastweights.store.root import Store, check_id, new_id, now

if TYPE_CHECKING:
    from fastweights.redteam.target import Target

_TOY_CHUNK, _CHUNK = 32, 64
_QUICK = 32
REPORT, PAGE, FIGURES = "report.json", "report.html", "report.png"
HELDOUT = (
    "The carpenter measured the shelf twice and still cut it a little too short for the wall in the hall, so that "
    "his sister had to laugh.",
    "In spring the river carries snow water from the hills, and the ferrymen wait until the current is calm again.",
    "When summer leaves the orchard to the rain, the oldest apples are the last to fall.",
)


class RedteamRequest(Record):
    """What is attacked, and how hard."""

    model: str = Field(default=TOY, pattern=ID_PATTERN, description="toy, or a model id")
    policy: Policy = POLICY_OF_MODEL
    budget: int = Field(default=64, ge=2, le=100_000, description="guard steps of each attempt, searching included")
    chunk_tokens: int | None = Field(default=None, ge=4, le=1024, description="default: 32 words, or 64 tokens")
    lr: float = Field(default=0.05, gt=0, le=100)
    seeds: int | None = Field(
        default=None, ge=1, le=100, description="how many; default: 1 below a budget of 32 (a quick look), else 3"
    )

    @property
    def chunk(self) -> int:
        """Tokens a chunk."""
        return self.chunk_tokens or (_TOY_CHUNK if self.model == TOY else _CHUNK)

    @property
    def seed_list(self) -> tuple[int, ...]:
        """From 0 on."""
        return tuple(range(self.seeds or (1 if self.budget < _QUICK else 3)))


class RedteamSummary(Record):
    """One run of the list. ``stage``: what a running one does now; ``error``: why a failed one ended."""

    run_id: str
    created_at: str
    model: str
    policy: str
    budget: int
    status: Literal["running", "done", "failed", "cancelled", "interrupted"] = "done"
    stage: str | None = None
    error: str | None = None


class RedteamService:
    """The red team runs of a store. Torch loads with the first run."""

    def __init__(self, store: Store, device: str | None = None, pool: ModelPool | None = None) -> None:
        self.store = store
        self.pool = pool or ModelPool(store, device)

    def list(self) -> list[RedteamSummary]:
        """Every finished run, newest first; a damaged one is left out."""
        folder = self.store.path(REDTEAM)
        found = []
        for path in sorted(folder.glob(f"*/{REPORT}"), reverse=True) if folder.is_dir() else ():
            with suppress(FastweightsError):
                found.append(self.summary(path.parent.name))
        return found

    def summary(self, run_id: str) -> RedteamSummary:
        """One finished run as the list shows it; :class:`NotFound`, :class:`Corrupt`."""
        one = self.get(run_id)
        return RedteamSummary(
            run_id=one.run_id, created_at=one.created_at, model=one.model, policy=one.policy, budget=one.budget
        )

    def get(self, run_id: str) -> RedteamReport:
        """One report; :class:`NotFound` if there is none, :class:`Corrupt` if it is not what was written."""
        path = self.store.path(REDTEAM, check_id("run", run_id), REPORT)
        if not path.is_file():
            raise NotFound(f"no red team run {run_id!r}: `fastweights redteam` makes one")
        try:
            return RedteamReport.model_validate(atomic.read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Corrupt(f"{path}: {where}: {first['msg']}; delete the folder and run it again") from None

    def run(
        self, request: RedteamRequest, note: Callable[[str], None] = lambda _: None, run_id: str | None = None
    ) -> RedteamReport:
        """Attack, and store the report. It is deterministic in everything but its times and its id."""
        from fastweights.redteam.harness import Plan, run

        started = now()
        run_id = check_id("run", run_id or new_id(REDTEAM))
        plan = Plan(request.policy, request.budget, request.seed_list, benign_texts())
        found = run(lambda policy: self.target(request, policy), plan, note)
        report = RedteamReport(
            run_id=run_id,
            created_at=started,
            model=request.model,
            policy=request.policy.name,
            budget=request.budget,
            chunk_tokens=request.chunk,
            lr=request.lr,
            seeds=list(plan.seeds),
            families=found.families,
            auc=found.auc,
            roc=found.roc,
            ablation=found.ablation,
            utility=found.utility,
            drip=found.drip,
            payloads=[one.model_copy(update={"model": request.model}) for one in found.payloads],
            attempts=found.attempts,
            guard_steps=found.costs.steps,
            gradient_queries=found.costs.queries,
            cpu_seconds=cpu_seconds(),
            files=[],
            notes=[],
        )
        return self.keep(report)

    def target(self, request: RedteamRequest, policy: Policy) -> Target:
        """The learner and the guard that ``monitor`` uses with these options."""
        from fastweights.redteam.target import Target
        from fastweights.services.monitor_parts import build_monitor

        options = MonitorOptions(model=request.model, chunk_tokens=request.chunk, lr=request.lr, policy=policy)
        parts = build_monitor(self.pool, options)
        return Target(
            parts.learner,
            parts.guard,
            lambda text: [chunk for _, chunk in parts.chunks([text])],
            request.chunk,
            HELDOUT,
        )

    def keep(self, report: RedteamReport) -> RedteamReport:
        """Store a report with its payloads, its page, and its figures where matplotlib is there."""
        folder = self.store.path(REDTEAM, report.run_id)
        atomic.ensure_dir(folder / "payloads")
        for one in report.payloads:
            atomic.write_bytes(
                folder / "payloads" / f"{one.name}.json", atomic.dump_json(one.model_dump(), indent=True)
            )
        plots = can_plot()
        names = [PAGE, *([FIGURES] if plots else []), REPORT]
        notes = report.notes if plots else [*report.notes, NO_PLOTS]
        report = report.model_copy(update={"files": [str(folder / name) for name in names], "notes": notes})
        if plots:
            atomic.write_bytes(folder / FIGURES, png(report))
        atomic.write_bytes(folder / PAGE, html(report, FIGURES if plots else None).encode())
        atomic.write_json(folder / REPORT, report.model_dump())
        return report


def benign_texts() -> dict[str, str]:
    """Texts that every installation has: verse, Python source, and the prose of Python's own reference."""
    library = Path(sysconfig.get_path("stdlib"))
    found = {"verse": (files("fastweights.data") / "assets" / "tiny.txt").read_text(encoding="utf-8")[3000:]}
    for name, path in (("python", library / "textwrap.py"), ("prose", library / "LICENSE.txt")):
        if path.is_file():
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    if not found:
        raise FastweightsError("no benign text is installed: reinstall fastweights")
    return found

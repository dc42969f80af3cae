"""What every check of a store shares: the report, findings and their repair, locks. Torch-free."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastweights.errors import Conflict, FastweightsError
from fastweights.store.commits import Commit
from fastweights.store.locks import Locks, process_alive, read_holder
from fastweights.store.root import Store

Level = Literal["error", "warning", "note"]


@dataclass
class Finding:
    """``error``: data is damaged or missing. ``warning``: something derived is wrong; ``--repair`` mends it. ``note``:
    harmless leftovers of a crash. ``path`` is relative to the root."""

    level: Level
    path: str
    problem: str
    repaired: bool = False


@dataclass
class Report:
    root: str
    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=lambda: {"objects": 0, "sessions": 0, "models": 0, "runs": 0})
    collected: int = 0
    collected_bytes: int = 0

    @property
    def ok(self) -> bool:
        """No error and no warning is left."""
        return all(f.repaired or f.level == "note" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


class Checks:
    """One walk over a store; what one check learns (damaged objects, objects in use) the others see."""

    def __init__(self, store: Store, report: Report, repair: bool) -> None:
        self.store, self.report, self.repair = store, report, repair
        self.damaged: set[str] = set()  # objects
        self.used: set[str] = set()
        self.unknown_use = False  # a head could not be read: its objects look unused
        self.by_session: dict[str, list[Commit]] | None = None
        self.locks = Locks()

    def _found(self, level: Level, path: Path | str, problem: str, mend: Callable[[], object] | None = None) -> None:
        where = str(path.relative_to(self.store.root)) if isinstance(path, Path) else path
        finding = Finding(level, where, problem.replace(str(self.store.root) + os.sep, ""))
        if self.repair and mend is not None:
            try:
                mend()
                finding.repaired = True
            except (FastweightsError, OSError) as error:
                finding.problem += f"; not repaired: {error}"
        self.report.findings.append(finding)

    def _guarded(self, where: str, check: Callable[[], object]) -> None:
        try:
            check()
        except (FastweightsError, OSError) as error:
            self._found("error", where, str(error))

    def _busy(self, lock: Path) -> bool:
        if not lock.exists():
            return False
        try:
            with self.locks.hold(lock, "", "fsck"):
                return False
        except Conflict:
            return True

    def _stale_lock(self, lock: Path) -> None:
        info = read_holder(lock)
        if info and not process_alive(info.get("pid"), info.get("create_time")):
            self._found(
                "note",
                lock,
                f"its holder, process {info.get('pid')}, is gone (the lock itself is free)",
                lambda: self._busy(lock),
            )

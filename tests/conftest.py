"""What every test shares: one thread a process, a hypothesis profile without deadlines, an empty store."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads, and for the processes that tests start

import pytest
from hypothesis import HealthCheck, settings

from fastweights.store.root import Store

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the store, device or port of the one who runs it."""
    for name in ("ARTIFACTS_ROOT", "TEXT_LM_DEVICE", "FASTWEIGHTS_HOST", "FASTWEIGHTS_PORT", "FASTWEIGHTS_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store whose root does not exist yet."""
    return Store(tmp_path / "artifacts")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test that passed has to say, although its output is captured: that it passed only at the second try."""
    for report in terminalreporter.getreports("passed"):
        for name, said in report.user_properties:
            if name == "passed only at the second try":
                terminalreporter.section(report.nodeid, yellow=True)
                terminalreporter.write_line(str(said))

"""The dashboard in a real Chromium against a real server on a temporary store: ``dashboard/e2e`` does the driving."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DASHBOARD = Path(__file__).parents[2] / "dashboard"
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
LIMIT_S = 900  # about 200 s on two cores
STOP_S = 90

pytestmark = pytest.mark.browser


def _missing() -> str | None:
    """Why the page cannot be driven here, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (DASHBOARD / "node_modules" / "playwright-core").is_dir():
        return "dashboard/node_modules is missing: run `npm -C dashboard ci`"
    if not any(map(os.path.exists, (os.environ.get("CHROMIUM", ""), *CHROMIUM))):
        return "Chromium is not installed (CHROMIUM names another one)"
    return None


def _drive(shots: Path) -> tuple[bool, str]:
    """Drives the page once, on a server and a store of its own: whether it passed, and what it said."""
    environment = {**os.environ, "FASTWEIGHTS_PYTHON": sys.executable, "E2E_SHOTS": str(shots)}
    environment.pop("FASTWEIGHTS_URL", None)
    process = subprocess.Popen(
        ["node", "e2e/run.mjs"],
        cwd=DASHBOARD,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    late = ""
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        late = f"not done within {LIMIT_S} s\n"
        process.terminate()  # it stops its server and what that started
        try:
            said, _ = process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
    return process.returncode == 0 and not late, f"{late}{said}\npictures: {shots}"


@pytest.mark.timeout(2 * (LIMIT_S + STOP_S) + 60)
def test_the_dashboard_in_a_browser(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Train, meta-learn, chat, stop, fork, forget, blame, memory, sessions, Nano, sleep, monitor, red team, themes.

    What fails is tried once more, and the summary says so: a browser on a busy machine may stand still for longer than
    any limit.
    """
    reason = _missing()
    if reason is not None:
        pytest.skip(reason)
    passed, first = _drive(tmp_path / "shots")
    if passed:
        return
    passed, second = _drive(tmp_path / "shots-2")
    assert passed, f"the browser test failed twice; the first time:\n{first}\n\nthe second time:\n{second}"
    record_property("passed only at the second try", f"browser test passed at the second try; the first said: {first}")

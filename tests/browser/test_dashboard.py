"""The dashboard in a real Chromium against a real server on a temporary store: ``dashboard/e2e`` does the driving."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DASHBOARD = Path(__file__).parents[2] / "dashboard"
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
LIMIT_S = 240

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


@pytest.mark.timeout(LIMIT_S + 30)
def test_the_dashboard_in_a_browser(tmp_path: Path) -> None:
    """Train, cancel, resume, chat, reload, stop, compare, fork, reset, sessions, monitor, red team, themes."""
    reason = _missing()
    if reason is not None:
        pytest.skip(reason)
    environment = {**os.environ, "FASTWEIGHTS_PYTHON": sys.executable, "E2E_SHOTS": str(tmp_path / "shots")}
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
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
        pytest.fail(f"not done within {LIMIT_S} s:\n{said}")
    assert process.returncode == 0, f"{said}\npictures: {tmp_path / 'shots'}"

"""A store with a small random model, an application over it, and real servers as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastweights.server.app import create_app
from fastweights.server.deps import Settings
from fastweights.store.root import Store
from tests.small_models import save_random_model


@pytest.fixture
def tiny_store(store: Store) -> Store:
    save_random_model(store, "tiny")
    return store


@pytest.fixture
def client(tiny_store: Store) -> Iterator[TestClient]:
    app = create_app(Settings(root=tiny_store.root, web=None))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as made:
        yield made


@dataclass
class Running:
    """``fastweights up`` as a process; ``record`` is what it printed with --json."""

    process: subprocess.Popen[str]
    record: dict

    @property
    def url(self) -> str:
        return self.record["url"]

    def stop(self, sig: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            self.process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


def environment(**extra: str) -> dict[str, str]:
    drop = ("FASTWEIGHTS_HOST", "FASTWEIGHTS_PORT", "FASTWEIGHTS_TOKEN", "ARTIFACTS_ROOT", "TEXT_LM_DEVICE")
    return {**{k: v for k, v in os.environ.items() if k not in drop}, "OMP_NUM_THREADS": "1", **extra}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """``start(root, *flags)`` runs a server on a free port and waits until it serves."""
    running: list[Running] = []

    def begin(root: Path, *flags: str, **env: str) -> Running:
        command = [sys.executable, "-m", "fastweights", "up", "--json", f"--root={root}", "--port=0", *flags]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**env), cwd=tmp_path
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, err = process.communicate()
            raise AssertionError(f"the server did not start ({process.returncode}): {err}")
        running.append(Running(process, json.loads(line)))
        return running[-1]

    yield begin
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> object:
    """The first true value of ``condition``, or a failure."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")

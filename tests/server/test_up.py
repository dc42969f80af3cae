"""``fastweights up`` as users meet it: real processes, real ports, signals."""

import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import psutil
import pytest

from fastweights.store.fsck import fsck
from fastweights.store.locks import read_holder
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.server.conftest import environment, wait_for
from tests.small_models import save_random_model


def get(url: str, **headers: str) -> dict:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return json.load(answer)


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def up(*flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastweights", "up", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(**env), check=False)


def test_serves_says_where_and_stops_in_order(start, tiny_store):
    server = start(tiny_store.root)
    assert server.record["status"] == "serving"
    assert server.record["pid"] == server.process.pid
    health = get(server.url + "/api/health")
    assert health["root"] == str(tiny_store.root)

    again = up(f"--root={tiny_store.root}", f"--port={server.record['port']}")
    assert again.returncode == 0, again.stderr
    assert f"already running at {server.url}" in again.stdout

    other = up(f"--root={tiny_store.root.parent / 'other'}", f"--port={server.record['port']}", "--json")
    assert other.returncode == 1
    assert other.stdout == ""
    assert "stale" in other.stderr
    assert str(tiny_store.root) in other.stderr
    assert "--port" in other.stderr
    assert not (tiny_store.root.parent / "other").exists()

    assert server.stop(signal.SIGTERM) == 0
    assert up(f"--root={tiny_store.root}", "--port=99999").returncode == 2


def test_stops_in_order_while_torch_is_still_being_loaded(start, tiny_store):
    server = start(tiny_store.root)
    process = psutil.Process(server.process.pid)
    wait_for(lambda: any("libtorch" in part.path for part in process.memory_maps()))
    time.sleep(0.8)  # somewhere in it: whenever the signal comes, the end is in order
    assert server.stop(signal.SIGTERM) == 0


def test_ctrl_c(start, tiny_store):
    assert start(tiny_store.root).stop(signal.SIGINT) == 130


def test_a_foreign_program_on_the_port_is_named(tmp_path):
    handler = http.server.SimpleHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as foreign:
        thread = threading.Thread(target=foreign.serve_forever)
        thread.start()
        try:
            done = up(f"--root={tmp_path / 'r'}", f"--port={foreign.server_port}")
        finally:
            foreign.shutdown()
            thread.join()
    assert done.returncode == 1
    assert f"another program, pid {os.getpid()} (" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_port_that_is_held_but_silent(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = up(f"--root={tmp_path / 'r'}", f"--port={silent.getsockname()[1]}")
    assert done.returncode == 1
    assert "another program" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7"])
def test_a_bind_that_others_can_reach_needs_a_token(host, tmp_path):
    done = up(f"--host={host}", "--port=0", f"--root={tmp_path}")
    assert done.returncode == 2
    assert "--token" in done.stderr


def test_environment_names_in_their_order(tmp_path):
    for env in (
        {"FASTWEIGHTS_HOST": "0.0.0.0", "NANO_API_HOST": "127.0.0.1"},
        {"NANO_API_HOST": "0.0.0.0", "DASHBOARD_HOST": "127.0.0.1"},
        {"DASHBOARD_HOST": "0.0.0.0"},
    ):
        done = up("--port=0", f"--root={tmp_path}", **env)
        assert (done.returncode, "--host 0.0.0.0" in done.stderr) == (2, True)
    for env in ({"FASTWEIGHTS_PORT": "x", "NANO_API_PORT": "1"}, {"NANO_API_PORT": "x"}, {"DASHBOARD_PORT": "x"}):
        done = up(f"--root={tmp_path}", **env)
        assert (done.returncode, "'x'" in done.stderr) == (2, True)


def test_with_a_token(start, tiny_store):
    server = start(tiny_store.root, "--host=0.0.0.0", "--token=s3cret")
    base = server.url.partition("/?")[0]
    assert server.url.endswith("/?token=s3cret")
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(base + "/api/health")
    assert refused.value.code == 401
    refused.value.close()
    assert get(base + "/api/health", authorization="Bearer s3cret")["status"] == "ok"
    same = up(f"--root={tiny_store.root}", f"--port={server.record['port']}", "--token=s3cret")
    assert same.returncode == 0
    other = up(f"--root={tiny_store.root}", f"--port={server.record['port']}")
    assert other.returncode == 1
    assert "with a token" in other.stderr


def test_a_client_that_goes_away_stops_the_reply_and_what_was_said_is_kept(start, tiny_store):
    save_random_model(tiny_store, "slow", dim=256, layers=6)  # seconds for a whole reply
    server = start(tiny_store.root)
    name = post(server.url + "/api/text/sessions", {"model": "slow"})["session_id"]
    address = urlsplit(server.url)
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    body = json.dumps({"message": "go on", "max_new_tokens": 4096, "temperature": 0})
    path = f"/api/text/sessions/{name}/chat/stream"
    connection.request("POST", path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    seen = b""
    while b"event: token" not in seen:
        seen += answer.readline()
    answer.close()
    connection.close()
    detail = wait_for(lambda: (d := get(f"{server.url}/api/text/sessions/{name}"))["n_turns"] == 1 and d)
    assert isinstance(detail, dict)
    turn = detail["turns"][0]
    assert turn["stopped"] == "cancelled"
    assert 0 < turn["reply_tokens"] < 4096
    assert turn["reply"]
    assert post(f"{server.url}/api/text/sessions/{name}/chat", {"message": "x", "max_new_tokens": 1})["turn"] == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_sender_of_50_mb_reads_its_413(start, tiny_store, chunked):
    server = start(tiny_store.root)
    address = urlsplit(server.url)
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    block = b" " * (1 << 20)
    headers = {"content-type": "application/json"} | ({} if chunked else {"content-length": str(50 * len(block))})
    connection.request("POST", "/api/text/sessions", iter([block] * 50), headers, encode_chunked=chunked)
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.load(answer)["status"] == 413
    connection.close()
    assert get(server.url + "/api/health")["sessions"] == 0


def test_sigterm_during_a_reply_commits_what_was_said(start, tiny_store):
    save_random_model(tiny_store, "slow", dim=256, layers=6)
    server = start(tiny_store.root)
    name = post(server.url + "/api/text/sessions", {"model": "slow", "memory": "linear"})["session_id"]
    chat = f"{server.url}/api/text/sessions/{name}/chat"
    first = post(chat, {"message": "begin", "max_new_tokens": 1})
    turns: list[dict] = []
    body = {"message": "go on", "max_new_tokens": 4096, "temperature": 0}
    thread = threading.Thread(target=lambda: turns.append(post(chat, body)))
    thread.start()
    wait_for(lambda: read_holder(Sessions(tiny_store).path(name, "session.lock")))
    time.sleep(0.3)  # somewhere in the turn
    assert server.stop(signal.SIGTERM) == 0
    thread.join(60)
    assert (turns[0]["turn"], turns[0]["stopped"]) == (2, "cancelled"), "answered, though cut short"
    log = Sessions(tiny_store).log(name)
    assert [c.id for c in log[:-1]] == [turns[0]["commit"], first["commit"]]
    assert fsck(tiny_store).findings == []


def test_the_first_start_makes_a_demo_store_with_a_real_answer(start, tmp_path):
    from fastweights.store.models import Models

    if not (Models(Store(tmp_path / "none")).shipped / "manifest.json").is_file():
        pytest.skip("this checkout ships no starter model yet")
    root = tmp_path / "fresh"
    server = start(root)
    sessions = get(server.url + "/api/text/sessions")
    assert [s["session_id"] for s in sessions] == ["demo"]
    detail = get(server.url + "/api/text/sessions/demo")
    assert len(detail["turns"]) == 2
    assert all(t["reply"] and t["events"] for t in detail["turns"])
    tree = {s["session_id"]: s for s in get(server.url + "/api/sessions")}
    assert tree.keys() == {"nano-demo", "nano-demo-fork"}
    assert tree["nano-demo-fork"]["parent_session"] == "nano-demo"
    runs = [run for name in tree for run in get(f"{server.url}/api/sessions/{name}")["runs"]]
    assert all(run["adaptive_mse"] < run["baseline_mse"] for run in runs)
    assert (root / "demo.json").is_file()
    server.stop()
    assert fsck(Store(root)).findings == []
    server = start(root)
    assert get(server.url + "/api/text/sessions/demo")["turns"] == detail["turns"]


def test_training_over_http_runs_on_through_a_restart_and_streams_to_its_end(start, tiny_store, tmp_path):
    (tmp_path / "corpus.txt").write_text("all happy families are alike; " * 800)
    server = start(tiny_store.root)
    body = {"corpus": str(tmp_path / "corpus.txt"), "model_id": "m1", "steps": 100_000}
    job = post(server.url + "/api/text/train", body)
    assert job["status"] == "running"
    wait_for(lambda: get(server.url + "/api/text/train/m1/status")["last"])
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL

    server = start(tiny_store.root)
    status = get(server.url + "/api/text/train/m1/status")
    assert (status["status"], status["pid"]) == ("running", job["pid"])
    events: list[tuple[str, dict]] = []

    def follow():
        with urllib.request.urlopen(server.url + "/api/text/train/m1/events", timeout=120) as stream:
            kind = ""
            for line in stream:
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "event":
                    kind = value
                elif key == "data":
                    events.append((kind, json.loads(value)))

    thread = threading.Thread(target=follow)
    thread.start()
    step = status["last"]["step"]
    wait_for(lambda: any(k == "point" and d["step"] > step for k, d in events))
    assert post(server.url + "/api/text/train/m1/cancel", {})["model_id"] == "m1"
    thread.join(60)
    assert events[-1][0] == "status"
    assert events[-1][1]["status"] == "cancelled"
    assert events[-1][1]["resumable"]
    points = get(server.url + "/api/text/train/m1/metrics?after_step=0")
    assert [d for k, d in events if k == "point"] == points
    assert [j["model_id"] for j in get(server.url + "/api/text/train/jobs")] == ["m1"]
    statuses = {m["model_id"]: m["status"] for m in get(server.url + "/api/text/models")}
    assert statuses["m1"] == "cancelled"

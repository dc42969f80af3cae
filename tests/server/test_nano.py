"""Nano's sessions and the index over HTTP."""

import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fastweights.services.nano.records import NanoRunRequest
from fastweights.services.nano.runs import NanoService
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.models.nano_models import QUICK


@pytest.fixture
def url(client: TestClient, tiny_store: Store) -> str:
    NanoService(tiny_store).pretrain("linear", QUICK)
    made = client.post("/api/sessions", json={"session_id": "s1", "seed": 3, "learning": {"rule": "sgd"}})
    assert made.status_code == 201
    assert made.json()["options"]["learning"]["rule"] == "sgd"
    return "/api/sessions/s1"


def _events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_a_run_and_what_it_left(client: TestClient, url: str) -> None:
    run = client.post(f"{url}/run", json={"steps": 100}).json()
    assert (run["steps"], run["committed"], run["stopped"]) == (100, 3, "steps")
    assert client.get(url).json()["runs"] == [run]
    assert client.get("/api/sessions").json()[0]["n_turns"] == 1
    rows = client.get(f"{url}/runs/{run['run_id']}/steps", params={"offset": 90, "limit": 20}).json()
    assert rows["total"] == 100
    assert rows["t"] == [*range(91, 101)]
    assert rows["did_update"][5]  # after step 96
    assert rows["baseline_mse"] == rows["session_frozen_mse"] != rows["adaptive_mse"]
    updates = client.get(f"{url}/runs/{run['run_id']}/updates").json()
    assert [u["t"] for u in updates] == [32, 64, 96]
    assert all(u["grad_norm"] > 0 for u in updates)
    weights = client.get(f"{url}/weights", params={"against": "init"}).json()
    assert [m["name"] for m in weights["matrices"]] == ["W_u", "B", "W_o"]
    assert all(m["from_base"]["l2"] > 0 for m in weights["matrices"])
    assert client.post(f"{url}/verify").json()["ok"]


def test_a_run_as_it_happens(client: TestClient, url: str) -> None:
    answer = client.post(f"{url}/run/stream", json={"steps": 80})
    events = _events(answer.text)
    assert [kind for kind, _ in events] == ["steps", "update", "steps", "update", "steps", "done"]
    run = events[-1][1]
    rows = client.get(f"{url}/runs/{run['run_id']}/steps").json()
    for column in ("t", "adaptive_mse", "update_ok"):
        assert [v for kind, block in events if kind == "steps" for v in block[column]] == rows[column]
    stored = client.get(f"{url}/runs/{run['run_id']}/updates").json()
    assert [update for kind, update in events if kind == "update"] == stored


def test_the_verbs(client: TestClient, url: str) -> None:
    client.post(f"{url}/run", json={"steps": 64})
    fork = client.post(f"{url}/fork", json={"name": "s2", "keep_momentum": False})
    assert fork.status_code == 201
    signature = fork.json()["signature"]
    assert (signature["parent_session"], signature["root_session"]) == ("s1", "s1")
    assert [c["kind"] for c in client.get("/api/sessions/s2/log").json()] == ["fork", "run", "init"]
    assert client.post("/api/sessions/s2/tag", json={"name": "best"}).json()["tag"] == "best"
    assert client.post("/api/sessions/s2/reset").json()["n_turns"] == 0
    assert client.post("/api/sessions/s2/checkout", json={"commit": "best"}).json()["n_turns"] == 1
    assert client.get(f"{url}/diff", params={"other": "s2"}).json()["l2"] == 0


def test_errors(client: TestClient, url: str, tiny_store: Store) -> None:
    for method, path, body, status in (
        ("GET", "/api/sessions/none", None, 404),
        ("POST", "/api/sessions/none/run", {"steps": 10}, 404),
        ("POST", "/api/sessions/none/run/stream", {"steps": 10}, 404),
        ("GET", f"{url}/runs/none/steps", None, 404),
        ("GET", f"{url}/weights?at=ffff", None, 404),
        ("POST", "/api/sessions", {"session_id": "s1"}, 409),
        ("POST", "/api/sessions", {"mode": "cubic"}, 422),
        ("POST", "/api/sessions", {"seed": "3"}, 422),
        ("POST", f"{url}/run", {"steps": 0}, 422),
        ("POST", f"{url}/run", {"steps": 20_001}, 422),
        ("POST", f"{url}/run", {"step": 10}, 422),
        ("GET", "/api/sessions/none/updates", None, 404),
        ("GET", "/api/nano/model?session=none", None, 404),
        ("GET", "/api/nano/model?at=head", None, 422),
        ("POST", "/api/nano/simulate", {"session": "none"}, 404),
        ("POST", "/api/nano/simulate", {"session": "s1", "at": "ffff"}, 404),
        ("POST", "/api/nano/simulate", {"steps": 2001}, 422),
        ("POST", "/api/nano/simulate", {"mu": 1.5}, 422),
    ):
        answer = client.request(method, path, json=body)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
    with Sessions(tiny_store, "nano").lock("s1", "running"):
        for path in ("run", "run/stream", "reset"):
            answer = client.post(f"{url}/{path}", json={"steps": 10} if path != "reset" else {})
            assert answer.status_code == 409
            assert "running" in answer.json()["detail"]


def test_the_index_has_both_kinds(client: TestClient, url: str, tiny_store: Store) -> None:
    client.post("/api/text/sessions", json={"model": "tiny", "session_id": "t1"})
    single = NanoService(tiny_store).run(NanoRunRequest(steps=64, seed=2), plot=False)
    monitor = client.post("/api/text/runs", json={"text": "a few words"}).json()
    index = client.get("/api/index").json()
    assert client.get("/api/health").json()["sessions"] == 2
    assert {(s["kind"], s["session_id"]) for s in index["sessions"]} == {("text", "t1"), ("nano", "s1")}
    assert {(r["kind"], r["run_id"]) for r in index["runs"]} == {("text", monitor["run_id"]), ("nano", single.run_id)}
    assert {r["title"] for r in index["runs"]} == {"text", "linear world 2, rls, 64 steps"}
    assert [b["mode"] for b in index["bases"]] == ["linear"]
    assert "tiny" in {m["model_id"] for m in index["models"]}


def test_a_simulation_is_the_real_model_in_any_world(client: TestClient, url: str) -> None:
    """The same steps as a session's first run in that world, with the truth and the predictions; nothing is stored."""
    run = client.post(f"{url}/run", json={"steps": 100}).json()
    rows = client.get(f"{url}/runs/{run['run_id']}/steps").json()
    before = client.get(url).json()
    asked = {"seed": 3, "steps": 100, "rule": "sgd"}
    found = client.post("/api/nano/simulate", json=asked).json()
    assert found["adaptive"]["mse"] == rows["adaptive_mse"]
    assert found["baseline"]["mse"] == found["frozen"]["mse"] == rows["baseline_mse"]
    assert found["oracle"]["mse"] == rows["oracle_mse"]
    assert found["did_update"] == rows["did_update"]
    assert [u["t"] for u in found["updates"]] == [32, 64, 96]
    pos, vel = np.array(found["pos"]), np.array(found["vel"])
    for name in ("adaptive", "frozen", "oracle", "mean_mu"):
        said = found[name]
        error = np.concatenate([np.array(said["pos"]) - pos, np.array(said["vel"]) - vel], 1)
        assert np.allclose((error**2).mean(1), said["mse"], rtol=1e-6, atol=1e-12), name
    braked = (1 - np.array(found["friction"])[1:, None]) * vel[:-1] + np.array(found["action"])[1:]
    assert np.allclose(braked, vel[1:])
    other = client.post("/api/nano/simulate", json={**asked, "mu": 0.2, "session": "s1"}).json()
    assert (other["mu"], other["commit"], other["rule"]) == (0.2, before["head"], "sgd")
    assert other["frozen"]["mse"] != other["baseline"]["mse"]
    still = client.post("/api/nano/simulate", json={**asked, "session": "s1", "adapt": False}).json()
    assert np.allclose(still["adaptive"]["mse"], still["frozen"]["mse"], rtol=1e-4)
    assert not any(still["did_update"])
    sticky = client.post("/api/nano/simulate", json={**asked, "mode": "nonlinear", "session": "s1"}).json()
    assert (sticky["mode"], len({*sticky["friction"]})) == ("nonlinear", 2)
    assert client.get(url).json() == before


def test_the_model_says_what_it_is(client: TestClient, url: str) -> None:
    client.post(f"{url}/run", json={"steps": 64})
    base = client.get("/api/nano/model").json()
    here = client.get("/api/nano/model", params={"session": "s1"}).json()
    assert (base["plastic_count"], base["frozen_count"], here["plastic_count"]) == (736, 32, 736)
    names = [p["name"] for p in base["parameters"]]
    assert names == [p["name"] for p in here["parameters"]] == ["W_u", "B", "W_o", "a_raw"]
    assert [p["plastic"] for p in base["parameters"]] == [True, True, True, False]
    assert {edge["parameter"] for edge in base["edges"]} == {*names}
    weights = client.get(f"{url}/weights").json()
    norms = {p["name"]: p["norm"] for p in here["parameters"]}
    for matrix in weights["matrices"]:
        assert norms[matrix["name"]] == pytest.approx(matrix["norm"])
    assert here["parameters"][0]["norm"] != base["parameters"][0]["norm"]
    assert all(0 < decay < 1 for decay in base["decays"])
    assert len(base["decays"]) == len(base["memory_steps"]) == 32


def test_the_transactions_of_all_runs(client: TestClient, url: str) -> None:
    runs = [client.post(f"{url}/run", json={"steps": 64}).json() for _ in range(2)]
    whole = client.get(f"{url}/updates").json()
    assert (whole["total"], whole["committed"], whole["grad_cap"]) == (4, sum(r["committed"] for r in runs), 20.0)
    assert [u["t"] for u in whole["updates"]] == [32, 64, 96, 128]
    assert [u["run_id"] for u in whole["updates"]] == [r["run_id"] for r in runs for _ in range(2)]
    assert all(u["sentence"].startswith("The write was kept: the replayed loss went from ") for u in whole["updates"])
    page = client.get(f"{url}/updates", params={"offset": 1, "limit": 2}).json()
    assert (page["updates"], page["total"], page["offset"]) == (whole["updates"][1:3], 4, 1)


def test_revert(client: TestClient, url: str) -> None:
    runs = [client.post(f"{url}/run", json={"steps": 64}).json() for _ in range(2)]
    assert client.post(f"{url}/revert", json={"commit": runs[0]["commit"]}).json()["n_turns"] == 2
    assert [r["reverted"] for r in client.get(url).json()["runs"]] == [True, False]
    top = client.get(f"{url}/log").json()[0]
    assert (top["kind"], top["reverted"], top["committed"]) == ("revert", runs[0]["commit"], 2)
    again = client.post(f"{url}/revert", json={"commit": "1"})
    assert (again.status_code, "revert the revert" in again.json()["detail"]) == (409, True)
    assert client.post(f"{url}/revert", json={}).status_code == 422
    assert client.post(f"{url}/verify").json()["ok"]

"""Sleep over HTTP: a run in a process of its own, a candidate with its evidence, decisions."""

from fastapi.testclient import TestClient

from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.sleep.records import SleepEvidence
from fastweights.store.root import Store
from tests.server.conftest import wait_for

ASKED = {"base_model_id": "tiny", "model_id": "night", "mode": "replay", "seq_len": 16, "train_steps": 10}


def test_a_sleep_from_its_start_to_its_approval(tiny_store: Store, client: TestClient) -> None:
    chat = ChatService(tiny_store)
    chat.new(SessionOptions(model="tiny"), "s1")
    chat.send("s1", "A turn that is long enough to be slept on.", Sampling(max_new_tokens=4))
    assert client.get("/api/sleep").json() == []
    answer = client.post("/api/sleep", json=ASKED)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert client.post("/api/sleep", json=ASKED).status_code == 409
    found = wait_for(lambda: (one := client.get("/api/sleep/night").json())["manifest"] and one)
    evidence = SleepEvidence.model_validate(found)
    assert evidence.candidate.status == "sleep_candidate"
    assert (evidence.candidate.sessions, evidence.candidate.turns) == (1, 1)
    assert client.post("/api/sleep/night/revert").status_code == 409
    assert client.post("/api/sleep/night/approve").json()["status"] == "ready"
    assert client.get("/api/text/models").json()[0]["parent"] == "tiny"
    assert client.post("/api/sleep/night/revert").json()["status"] == "sleep_candidate"
    assert client.post("/api/sleep/night/reject").json()["status"] == "rejected"
    assert [one["status"] for one in client.get("/api/sleep").json()] == ["rejected"]
    assert client.post("/api/sleep/night/cancel").status_code == 409


def test_a_sleep_of_nano(client: TestClient) -> None:
    assert client.post("/api/sessions", json={"session_id": "n1", "seed": 1}).status_code == 201
    assert client.post("/api/sessions/n1/run", json={"steps": 400}).status_code == 200
    answer = client.post("/api/sleep", json={"nano": "linear", "model_id": "night"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "nano")
    found = wait_for(lambda: (one := client.get("/api/sleep/night").json())["manifest"] and one)
    evidence = SleepEvidence.model_validate(found)
    assert (evidence.candidate.status, evidence.candidate.sessions) == ("sleep_candidate", 1)
    assert client.post("/api/sleep/night/approve").json()["status"] == "ready"


def test_a_run_that_fails_says_why(tiny_store: Store, client: TestClient) -> None:
    assert client.post("/api/sleep", json=ASKED).status_code == 202
    found = wait_for(lambda: (one := client.get("/api/sleep/night").json())["candidate"]["status"] == "failed" and one)
    assert "no session of model 'tiny'" in found["candidate"]["error"]  # type: ignore[index]
    assert found["manifest"] is None  # type: ignore[index]


def test_what_cannot_be_is_refused_at_the_door(client: TestClient) -> None:
    assert client.get("/api/sleep/nowhere").status_code == 404
    assert client.get("/api/sleep/tiny").status_code == 404
    assert client.post("/api/sleep/tiny/approve").status_code == 404
    assert client.post("/api/sleep", json={"base_model_id": "nowhere"}).status_code == 404
    assert client.post("/api/sleep", json={"core_path": "nowhere.txt"}).status_code == 404
    assert client.post("/api/sleep", json={"model_id": "tiny"}).status_code == 409
    assert client.post("/api/sleep", json={"core_ratio": 2}).status_code == 422
    assert client.post("/api/sleep", json={"nano": "linear", "mode": "replay"}).status_code == 422

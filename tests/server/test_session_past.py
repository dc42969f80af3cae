"""Taking a turn back, and what a session's past is asked, over HTTP."""

import pytest
from fastapi.testclient import TestClient

BASE = "/api/text/sessions"


@pytest.fixture
def at(client: TestClient) -> str:
    session = client.post(BASE, json={"chunk_tokens": 16}).json()["session_id"]
    for message in ("The quick brown fox", "The word of Bora is qwertzu.", "over the lazy dog"):
        assert client.post(f"{BASE}/{session}/chat", json={"message": message, "max_new_tokens": 3}).status_code == 200
    return f"{BASE}/{session}"


def test_a_turn_is_taken_back_and_certified(client: TestClient, at: str) -> None:
    seen = client.post(f"{at}/verify", json={"without": "2"}).json()
    assert (seen["ok"], seen["without"]["reverted"], seen["without"]["turn"]) == (False, False, 2)
    info = client.post(f"{at}/revert", json={"commit": "2"}).json()
    detail = client.get(at).json()
    assert (detail["head"], [t["turn"] for t in detail["turns"]]) == (info["head"], [1, 3])
    (back,) = detail["reverted"]
    assert (back["turn"], back["reverted_by"]) == (2, info["head"])
    certified = client.post(f"{at}/verify", json={"without": "2"}).json()
    assert (certified["ok"], certified["commits"][1]["status"]) == (True, "verified")
    assert client.post(f"{at}/verify").json()["ok"]
    assert client.post(f"{at}/revert", json={"commit": "2"}).status_code == 409
    assert client.post(f"{at}/revert", json={"commit": back["reverted_by"]}).status_code == 200
    assert [t["turn"] for t in client.get(at).json()["turns"]] == [1, 2, 3]


def test_questions_to_the_past(client: TestClient, at: str) -> None:
    fact = {"probe": "The word of Bora is", "answer": " qwertzu"}
    blamed = client.post(f"{at}/blame", json={**fact, "exact": True}).json()
    assert sorted(t["turn"] for t in blamed["turns"]) == [1, 2, 3]
    assert all(t["exact_delta"] is not None for t in blamed["turns"])
    found = client.post(f"{at}/bisect", json={"canary": "code", "threshold": 0.0}).json()
    assert (found["canary"], found["threshold"], found["steps"][0]["turn"]) == ("code", 0.0, 3)
    assert client.post(f"{at}/bisect").status_code == 200
    meter = client.get(f"{at}/meter").json()
    assert [t["turn"] for t in meter["turns"]] == [1, 2, 3]
    assert meter["gain"] == pytest.approx(meter["frozen"] - meter["adapted"])
    assert 0 < meter["ppm"] < 8
    recall = client.post(f"{at}/recall", json=fact).json()
    assert [p["stated"] for p in recall["points"]] == [0, 0, 1, 1]


WRONG = (
    ("blame", {}, 422, "body.probe"),
    ("blame", {"probe": ""}, 422, "body.probe"),
    ("blame", {"probe": "x" * 4097}, 422, "body.probe"),
    ("blame", {"probe": "x", "answer": ""}, 422, "body.answer"),
    ("blame", {"probe": "x", "top": 0}, 422, "body.top"),
    ("blame", {"probe": "x", "exact": "yes"}, 422, "body.exact"),
    ("bisect", {"canary": "gone"}, 404, "no canary 'gone'"),
    ("bisect", {"canary": "code", "probe": "x"}, 422, "one of the two"),
    ("bisect", {"threshold": -1.0}, 422, "body.threshold"),
    ("recall", {"probe": "x"}, 422, "body.answer"),
    ("verify", {"without": "9"}, 404, "not among the 3 turns"),
    ("verify", {"without": "1", "commit": "head"}, 422, "one of the two"),
    ("revert", {"commit": "9"}, 404, "not among the 3 turns"),
    ("revert", {"commit": "init"}, 422, "kind 'init'"),
)


def test_what_cannot_be_asked(client: TestClient, at: str) -> None:
    head = client.get(at).json()["head"]
    for path, body, status, said in WRONG:
        answer = client.post(f"{at}/{path}", json=body)
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert client.get(at).json()["head"] == head


def test_of_no_session(client: TestClient) -> None:
    assert client.get(f"{BASE}/gone/meter").status_code == 404
    for path in ("blame", "recall"):
        body = {"probe": "x", **({"answer": "y"} if path == "recall" else {})}
        assert client.post(f"{BASE}/gone/{path}", json=body).status_code == 404

"""What a user does over HTTP, against real (small, random) models."""

import json
import threading

import pytest

from fastweights.store.sessions import Sessions
from tests.small_models import save_random_model

CHAT = {"message": "To be, or not to be", "seed": 3, "max_new_tokens": 8}


def sse(text: str) -> list[tuple[str, dict]]:
    """[(event, data)] of a Server-Sent Events body."""
    events = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


@pytest.fixture
def session(client) -> str:
    answer = client.post("/api/text/sessions", json={"model_id": "tiny", "chunk_tokens": 8})
    assert answer.status_code == 201, answer.text
    return answer.json()["session_id"]


def test_health_models_presets_corpora(client, tiny_store):
    health = client.get("/api/health").json()
    assert (health["status"], health["name"], health["root"]) == ("ok", "fastweights", str(tiny_store.root))
    assert (health["sessions"], health["device"]) == (0, "cpu")
    assert "tiny" in [m["model_id"] for m in client.get("/api/text/models").json()]
    assert client.get("/api/text/models/tiny").json()["status"] == "ready"
    assert client.get("/api/text/models/gone").status_code == 404
    assert "laptop" in [p["name"] for p in client.get("/api/presets").json()]
    corpora = {c["name"]: c for c in client.get("/api/corpora").json()}
    assert corpora["tiny"]["available"]
    assert corpora["tiny"]["bytes"] > 50_000


def test_a_chat_over_http(client, session, tiny_store):
    turn = client.post(f"/api/text/sessions/{session}/chat", json=CHAT)
    assert turn.status_code == 200, turn.text
    turn = turn.json()
    assert turn["session_id"] == session
    assert (turn["turn"], turn["prompt"], turn["learned"]) == (1, CHAT["message"], True)
    assert len(turn["events"]) > 1
    assert {e["decision"] for e in turn["events"]} <= {"committed", "blocked", "rolled_back"}
    detail = client.get(f"/api/text/sessions/{session}").json()
    assert detail["n_turns"] == 1
    assert detail["turns"][0] == {k: v for k, v in turn.items() if k != "session_id"}
    assert Sessions(tiny_store).head(session).id == turn["commit"]
    assert [c["kind"] for c in client.get(f"/api/text/sessions/{session}/log").json()] == ["turn", "init"]

    forked = client.post(f"/api/text/sessions/{session}/fork", json={"name": "other"})
    assert forked.status_code == 201
    assert forked.json()["forked_from"] == turn["commit"]
    assert client.post(f"/api/text/sessions/{session}/fork").status_code == 201  # no body at all
    assert client.post(f"/api/text/sessions/{session}/fork", json={"name": "other"}).status_code == 409
    reset = client.post(f"/api/text/sessions/{session}/reset").json()
    assert reset["head"] != turn["commit"]
    assert [c["kind"] for c in client.get(f"/api/text/sessions/{session}/log").json()] == ["reset", "turn", "init"]
    assert {s["session_id"] for s in client.get("/api/text/sessions").json()} >= {session, "other"}

    same = client.post("/api/text/sessions/other/chat", json=CHAT).json()
    assert same["prompt"] == turn["prompt"]
    assert same["turn"] == 2


def test_git_verbs_over_http(client, session):
    at = f"/api/text/sessions/{session}"
    turns = [client.post(f"{at}/chat", json=CHAT).json()["commit"] for _ in range(2)]
    tag = client.post(f"{at}/tag", json={"name": "best", "at": "head~1"})
    assert (tag.status_code, tag.json()["commit"]) == (200, turns[0])
    assert client.post(f"{at}/tag", json={"name": "best"}).status_code == 409
    assert [t["tag"] for t in client.get(f"{at}/tags").json()] == ["best"]
    moved = client.post(f"{at}/checkout", json={"commit": "best"}).json()
    assert (moved["head"], moved["n_turns"]) == (turns[0], 1)
    assert len(client.get(f"{at}/log").json()) == 2
    assert {c["commit"] for c in client.get(f"{at}/log", params={"all": True}).json()} >= {*turns}
    back = client.post(f"{at}/reset", json={"to": turns[1][:6]}).json()
    assert back["n_turns"] == 2
    fork = client.post(f"{at}/fork", json={"name": "fresh", "at": "best", "keep_momentum": False}).json()
    assert fork["forked_from"] == turns[0]
    diff = client.get(f"{at}/diff", params={"a": "init", "b": "head"}).json()
    assert (diff["a"]["kind"], diff["b"]["kind"], diff["l2"] > 0) == ("init", "reset", True)
    other = client.get(f"{at}/diff", params={"other": "fresh"}).json()
    assert (other["other_id"], other["base"]) == ("fresh", turns[0])
    verified = client.post(f"{at}/verify").json()
    assert (verified["ok"], verified["verified"]) == (True, 3)
    assert len(client.post(f"{at}/verify", json={"commit": "best"}).json()["commits"]) == 1
    assert client.post(f"{at}/tag", json={"name": "best", "delete": True}).json()["deleted"]
    for path, body in (("checkout", {"commit": "gone"}), ("reset", {"to": "gone"}), ("verify", {"commit": "gone"})):
        assert client.post(f"{at}/{path}", json=body).status_code == 404
    assert client.post(f"{at}/tag", json={"name": "a b"}).status_code == 422


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("sessions", {"lr": "0.1"}, "body.lr"),
        ("sessions", {"chunk_tokens": "8"}, "body.chunk_tokens"),
        ("sessions", {"chunk_tokens": 8.0}, "body.chunk_tokens"),
        ("sessions", {"policy": {"audit": {"max_delta": "1"}}}, "body.policy.audit.max_delta"),
        ("sessions/s/chat", {"message": "x", "seed": "3"}, "body.seed"),
        ("sessions/s/chat", {"message": "x", "frozen": 1}, "body.frozen"),
        ("sessions/s/fork", {"keep_momentum": "no"}, "body.keep_momentum"),
        ("generate", {"prompt": "x", "sampling": {"seed": "3"}}, "body.sampling.seed"),
        ("generate", {"prompt": "x", "seed": "3"}, "body.sampling.seed"),
        ("train", {"steps": "3"}, "body.steps"),
        ("runs", {"text": "x", "chunk_tokens": "3"}, "body.chunk_tokens"),
    ],
)
def test_a_string_is_no_number(client, path, body, field):
    answer = client.post(f"/api/text/{path}", json=body)
    assert answer.status_code == 422, answer.text
    assert field in [e["field"] for e in answer.json()["errors"]]


def test_frozen_and_compare(client, session):
    frozen = client.post(f"/api/text/sessions/{session}/chat", json={**CHAT, "frozen": True}).json()
    assert frozen["learned"] is False
    assert client.get(f"/api/text/sessions/{session}").json()["n_turns"] == 0
    both = client.post(f"/api/text/sessions/{session}/chat", json={**CHAT, "compare": True}).json()
    assert both["frozen_reply"] == frozen["reply"]


def test_chat_stream_tells_every_chunk_and_token(client, session):
    answer = client.post(f"/api/text/sessions/{session}/chat/stream", json={**CHAT, "compare": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = sse(answer.text)
    kinds = [kind for kind, _ in events]
    assert kinds[-1] == "done"
    assert kinds.count("done") == 1
    turn = events[-1][1]
    assert [data for kind, data in events if kind == "chunk"] == turn["events"]
    assert "".join(data["text"] for kind, data in events if kind == "token") == turn["reply"]
    assert "".join(data["text"] for kind, data in events if kind == "frozen_token") == turn["frozen_reply"]
    assert turn["session_id"] == session
    assert client.get(f"/api/text/sessions/{session}").json()["turns"][0]["reply"] == turn["reply"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("sessions/gone/chat/stream", CHAT, 404),
        ("sessions/gone/chat", CHAT, 404),
        ("sessions/gone/reset", None, 404),
        ("sessions/gone/fork", None, 404),
        ("generate/stream", {"model_id": "gone"}, 404),
        ("generate", {"model_id": "gone"}, 404),
    ],
)
def test_what_is_not_there_has_a_status_before_a_stream_begins(client, path, body, status):
    answer = client.post(f"/api/text/{path}", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "gone" in answer.json()["detail"]


def test_generate(client):
    body = {"model_id": "tiny", "prompt": "Once", "sampling": {"seed": 1, "max_new_tokens": 12}}
    plain = client.post("/api/text/generate", json=body).json()
    events = sse(client.post("/api/text/generate/stream", json=body).text)
    assert events[-1][0] == "done"
    assert events[-1][1]["completion"] == plain["completion"]
    assert "".join(d["text"] for k, d in events if k == "token") == plain["completion"]


def test_a_busy_session_is_409_and_says_who_is_at_it(client, session, tiny_store):
    held, free = threading.Event(), threading.Event()

    def hold():
        with Sessions(tiny_store).lock(session, "a long turn"):
            held.set()
            free.wait(240)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        for path in ("chat", "chat/stream"):
            answer = client.post(f"/api/text/sessions/{session}/{path}", json=CHAT)
            assert answer.status_code == 409
            assert "a long turn" in answer.json()["detail"]
        assert client.get(f"/api/text/sessions/{session}").status_code == 200, "readers never block"
    finally:
        free.set()
        thread.join()
    assert client.post(f"/api/text/sessions/{session}/chat", json=CHAT).status_code == 200


def test_two_sessions_answer_at_the_same_time_and_neither_disturbs_the_other(client):
    ids = [client.post("/api/text/sessions", json={"model": "tiny"}).json()["session_id"] for _ in range(3)]
    turns: dict[str, list[dict]] = {name: [] for name in ids}

    def talk(name):
        for _ in range(3):
            turns[name].append(client.post(f"/api/text/sessions/{name}/chat", json=CHAT).json())

    threads = [threading.Thread(target=talk, args=(name,)) for name in ids]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    replies = [[t["reply"] for t in turns[name]] for name in ids]
    assert replies[0] == replies[1] == replies[2]
    for name in ids:
        assert [t["commit"] for t in client.get(f"/api/text/sessions/{name}").json()["turns"]] == [
            t["commit"] for t in turns[name]
        ]


def test_the_default_model_is_the_latest_and_a_named_one_is_honoured(client, tiny_store):
    save_random_model(tiny_store, "newer", seed=1)
    assert client.post("/api/text/sessions", json={}).json()["model"] == "newer"
    assert client.post("/api/text/sessions", json={"model": "tiny"}).json()["model"] == "tiny"
    assert client.post("/api/text/sessions", json={"model": "tiny", "model_id": "newer"}).status_code == 422
    assert (
        client.post("/api/text/sessions", json={"model": "tiny", "session_id": "mine"}).json()["session_id"] == "mine"
    )
    assert client.post("/api/text/sessions", json={"model": "tiny", "session_id": "mine"}).status_code == 409


def test_damage_on_disk_is_a_500_that_names_the_file(client, session, tiny_store):
    path = Sessions(tiny_store).path(session, "meta.json")
    path.write_bytes(b"{")
    answer = client.get(f"/api/text/sessions/{session}")
    assert answer.status_code == 500
    assert "meta.json" in answer.json()["detail"]
    assert client.get("/api/text/sessions").json() == []

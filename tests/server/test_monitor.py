"""Monitor runs over HTTP: posted, listed, shown, streamed, followed while they go on."""

import json
import threading
import time

import pytest

from fastweights.services.monitor import MonitorService
from fastweights.services.monitor_records import MonitorOptions
from fastweights.store.runs import Runs
from tests.server.test_routes import sse

TEXT = "Sing, goddess, the anger of Peleus' son, and how it brought ten thousand griefs upon the men of Greece. "


@pytest.mark.parametrize("path", ["/api/text/runs", "/api/ttt/monitor"])
def test_post_answers_the_finished_run_and_keeps_it(client, tiny_store, path):
    answer = client.post(path, json={"text": TEXT * 2, "chunk_tokens": 16})
    assert answer.status_code == 200, answer.text
    run = answer.json()
    assert run["status"] == "done"
    assert run["summary"]["chunks"] == len(run["events"]) > 1
    assert "text" not in run["request"]
    assert client.get(f"/api/text/runs/{run['run_id']}").json() == run
    listed = client.get("/api/text/runs").json()
    assert listed == [{key: run[key] for key in listed[0]}]
    page = client.get(f"/api/text/runs/{run['run_id']}", params={"after": 0, "limit": 1}).json()
    assert ([e["chunk_index"] for e in page["events"]], page["more"]) == ([1], True)
    assert (tiny_store.root / "text_runs" / run["run_id"] / "input.txt").read_text() == TEXT * 2


def test_a_model_of_the_store_and_a_demo(client):
    run = client.post("/api/text/runs", json={"text": TEXT, "model": "tiny"}).json()
    assert run["summary"]["tokens"] == len(TEXT)
    run = client.post("/api/text/runs", json={"demo": "demo", "influence": True}).json()
    assert run["source"] == "demo"
    assert run["summary"]["blocked"] > 0
    assert run["events"][0]["top_influence_tokens"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"text": "a", "demo": "demo"}, 422),
        ({"text": ""}, 422),
        ({"text": "a", "model": "gone"}, 404),
        ({"text": "a", "model": "tiny", "objective": "mlm"}, 422),
        ({"text": "a" * 262_145}, 422),
        ({"text": "a", "lr": 0}, 422),
        ({"text": "a", "unknown": 1}, 422),
    ],
)
def test_wrong_requests_are_problems_and_no_runs(client, body, status):
    answer = client.post("/api/text/runs", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/api/text/runs").json() == []
    assert client.get("/api/text/runs/gone").status_code == 404
    assert client.get("/api/text/runs/gone/events").status_code == 404


def test_a_default_that_rests_on_a_wrong_field_is_no_error_of_its_own(client):
    answer = client.post("/api/text/runs", json={"text": TEXT, "chunk_tokens": 0}).json()
    assert [error["field"] for error in answer["errors"]] == ["body.chunk_tokens"]


def test_streamed_and_read_back(client):
    answer = client.post("/api/text/runs/stream", json={"text": TEXT * 2, "chunk_tokens": 16})
    events = sse(answer.text)
    assert [kind for kind, _ in events] == ["event"] * (len(events) - 1) + ["done"]
    run = events[-1][1]
    again = sse(client.get(f"/api/text/runs/{run['run_id']}/events").text)
    assert again == events
    assert client.post("/api/text/runs/stream", json={"text": " "}).status_code == 422


def test_a_run_of_another_process_is_followed_while_it_goes_on(client, tiny_store):
    """Past events first, then live ones, then how it ended."""
    service, go = MonitorService(tiny_store), threading.Event()

    def blocks():
        yield TEXT.encode()
        assert go.wait(60)
        time.sleep(0.5)
        yield TEXT.encode()

    def work():
        service.run(MonitorOptions(chunk_tokens=8), blocks(), "pieces")

    thread = threading.Thread(target=work)
    thread.start()
    runs = Runs(tiny_store)
    while not runs.list():
        time.sleep(0.05)
    (run,) = runs.list()
    assert client.get(f"/api/text/runs/{run['id']}").json()["status"] == "running"
    go.set()
    events = sse(client.get(f"/api/text/runs/{run['id']}/events").text)
    thread.join()
    assert [data["chunk_index"] for kind, data in events[:-1]] == list(range(len(events) - 1))
    assert (events[-1][0], events[-1][1]["status"]) == ("done", "done")
    assert events[-1][1]["summary"]["chunks"] == len(events) - 1 > 3
    assert json.loads(json.dumps(events))

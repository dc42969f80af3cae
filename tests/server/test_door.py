"""The door: bad bodies, bad ids, foreign hosts and origins, tokens, sizes, the static page."""

import json

import pytest
from fastapi.testclient import TestClient

from fastweights.server.app import create_app
from fastweights.server.deps import Settings
from fastweights.server.gate import Access, is_loopback

JSON = {"content-type": "application/json"}


def is_problem(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    value = answer.json()
    assert value.keys() == {"type", "title", "status", "detail", "errors"}
    assert value["status"] == status
    assert value["detail"]
    assert "\n" not in value["detail"]
    return value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"lr": NaN}',
        b'{"lr": Infinity}',
        b'{"lr": -Infinity}',
        b'{"lr": 1e999}',
        b'{"policy": {"audit": {"max_delta": 1e999}}}',
        b'{"lr": "fast"}',
        b'{"lr": -1}',
        b'{"unknown": 1}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xff\xfe"}',
        b'{"model": "../x"}',
        b'{"model_id": "UPPER"}',
        b'{"session_id": "a/b"}',
        b'{"rank": 99999999999999999999999}',
        b'{"rank": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
)
def test_bad_session_bodies(client, body):
    is_problem(client.post("/api/text/sessions", content=body, headers=JSON), 422)
    assert client.get("/api/text/sessions").json() == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": ""},
        {"message": "x" * 65_537},
        {"message": 3},
        {"message": "x", "seed": -1},
        {"message": "x", "seed": 2**63},
        {"message": "x", "seed": 1.5},
        {"message": "x", "max_new_tokens": 0},
        {"message": "x", "max_new_tokens": 10**9},
        {"message": "x", "temperature": -1},
        {"message": "x", "top_p": 0},
        {"message": "x", "stop": ["a"] * 9},
        {"message": "x", "unknown": True},
    ],
)
def test_bad_chat_bodies(client, body):
    name = client.post("/api/text/sessions", json={"model": "tiny"}).json()["session_id"]
    for path in ("chat", "chat/stream"):
        is_problem(client.post(f"/api/text/sessions/{name}/{path}", json=body), 422)
    raw = b'{"message": "\\udfff"}'
    is_problem(client.post(f"/api/text/sessions/{name}/chat", content=raw, headers=JSON), 422)
    is_problem(client.post(f"/api/text/sessions/{name}/chat", content=b"message=x"), 422)
    assert client.get(f"/api/text/sessions/{name}").json()["n_turns"] == 0


def test_the_longest_message_is_accepted(client):
    name = client.post("/api/text/sessions", json={"model": "tiny", "chunk_tokens": 4096}).json()["session_id"]
    body = {"message": "x" * 65_536, "max_new_tokens": 1}
    assert client.post(f"/api/text/sessions/{name}/chat", json=body).status_code == 200


@pytest.mark.parametrize("bad", ["..%2Fx", "%2e%2e", "a.b", "A", "x" * 65, "%00", "a%2Fb", "-a", "%ED%A0%80", "a%0a"])
def test_bad_ids(client, bad):
    for path in ("text/sessions/{}", "text/sessions/{}/log", "text/models/{}", "text/train/{}/status",
                 "text/train/{}/metrics", "text/train/{}/events"):  # fmt: skip
        answer = client.get("/api/" + path.format(bad))
        assert answer.status_code in (404, 422)
        is_problem(answer, answer.status_code)
    for path in ("text/sessions/{}/chat", "text/sessions/{}/reset", "text/sessions/{}/fork", "text/train/{}/cancel"):
        answer = client.post("/api/" + path.format(bad), json={"message": "x"})
        assert answer.status_code in (404, 422)


@pytest.mark.parametrize("size", [(1 << 20) + 1, 50 << 20])
@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies(client, size, chunked):
    block = b" " * (1 << 16)
    content = (block for _ in range(size // len(block) + 1)) if chunked else b" " * size
    value = is_problem(client.post("/api/text/sessions", content=content, headers=JSON), 413)
    assert "1048576" in value["detail"]
    is_problem(client.request("GET", "/api/health", content=b" " * ((1 << 20) + 1)), 413)


def test_a_body_of_exactly_the_limit_is_read(client):
    body = b'{"model": "tiny"}'
    body += b" " * ((1 << 20) - len(body))
    assert client.post("/api/text/sessions", content=body, headers=JSON).status_code == 201
    blocks = (body[i : i + 1000] for i in range(0, len(body), 1000))
    assert client.post("/api/text/sessions", content=blocks, headers=JSON).status_code == 201


def test_unknown_paths_and_methods(client):
    for method in ("GET", "POST", "PUT", "DELETE"):
        is_problem(client.request(method, "/api/nothing"), 404)
    is_problem(client.get("/api"), 404)
    is_problem(client.delete("/api/text/sessions"), 405)
    is_problem(client.get("/anything"), 404)  # --api-only


FOREIGN = ["evil.example", "evil.example:13579", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.0.7"]
BROKEN = ["", "a b", "localhost:x", "[::1"]


@pytest.mark.parametrize("host", FOREIGN + BROKEN)
def test_foreign_host_names_are_refused(client, host):
    is_problem(client.get("/api/health", headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:13579", "[::1]:13579"])
def test_own_host_names_are_fine(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost.evil.example", "file://", "http://[::1"]
)
def test_foreign_origins_are_refused(client, origin):
    is_problem(client.get("/api/health", headers={"origin": origin}), 403)
    is_problem(client.post("/api/text/sessions", json={}, headers={"origin": origin}), 403)
    assert client.get("/api/text/sessions").json() == []


def test_cross_site_posts_without_an_origin_are_refused(client):
    is_problem(client.post("/api/text/sessions", json={}, headers={"sec-fetch-site": "cross-site"}), 403)
    assert client.get("/api/health", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_the_development_server_may_ask(client):
    origin = "http://localhost:5173"
    answer = client.get("/api/health", headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    assert client.options("/api/text/sessions", headers=asked).status_code == 200


def test_token(tiny_store):
    access = Access(host="0.0.0.0", token="s3cret&=%")
    app = create_app(Settings(root=tiny_store.root, web=None, access=access))
    with TestClient(app, base_url="http://192.168.0.7:1", follow_redirects=False) as client:
        value = is_problem(client.get("/api/health"), 401)
        assert "token" in value["detail"]
        for wrong in ("Bearer wrong", "Basic s3cret&=%", "Bearer", "s3cret&=%"):
            is_problem(client.get("/api/health", headers={"authorization": wrong}), 401)
        for wrong in ("wrong", "s3cret&=%", '"'):
            is_problem(client.get("/api/health", headers={"cookie": f"fastweights_token={wrong}"}), 401)
        is_problem(client.get("/api/health?token=wrong"), 401)
        assert client.get("/api/health", headers={"authorization": "bearer s3cret&=%"}).status_code == 200
        is_problem(client.get("/api/health"), 401)
        right = "token=s3cret%26%3D%25"
        opened = client.get(f"/page?a=1&{right}&b=")
        assert opened.status_code == 303
        assert opened.headers["location"] == "/page?a=1&b="
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "s3cret" not in cookie
        assert client.get("/api/health").status_code == 200  # the cookie
        is_problem(client.get("/api/health", headers={"origin": "http://evil.example"}), 403)
        assert client.get(f"http://192.168.0.7:1//evil.example?{right}").headers["location"] == "/evil.example"
        client.cookies.clear()
        is_problem(client.post("/api/text/sessions", json={}), 401)
        assert client.post(f"/api/text/sessions?{right}", json={}).status_code == 201


def test_what_counts_as_loopback():
    assert all(is_loopback(h) for h in ("localhost", "127.0.0.1", "127.1.2.3", "::1"))
    assert not any(is_loopback(h) for h in ("0.0.0.0", "::", "192.168.0.7", "example.org", ""))


def test_the_page(tiny_store, tmp_path):
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<html>page</html>")
    (web / "assets" / "app-1a2b.js").write_text("code")
    (web / "icon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("hidden")
    (web / "link.txt").symlink_to(tmp_path / "secret.txt")
    with TestClient(create_app(Settings(root=tiny_store.root, web=web)), base_url="http://localhost") as client:
        for path in ("/", "/chat/s1", "/index.html", "/train?x=1"):
            page = client.get(path, headers={"accept": "text/html,*/*"})
            assert (page.status_code, page.text) == (200, "<html>page</html>")
            assert page.headers["cache-control"] == "no-cache"
            assert page.headers["content-type"].startswith("text/html")
            assert page.headers["x-frame-options"] == "DENY"
        code = client.get("/assets/app-1a2b.js")
        assert "immutable" in code.headers["cache-control"]
        assert code.headers["content-type"].startswith("text/javascript")
        assert client.head("/assets/app-1a2b.js").status_code == 200
        assert client.get("/icon.svg").headers["cache-control"] == "no-cache"
        is_problem(client.get("/assets/gone.js"), 404)
        is_problem(client.get("/api/gone", headers={"accept": "text/html"}), 404)
        is_problem(client.get("/gone", headers={"accept": "application/json"}), 404)
        for path in ("/..%2fsecret.txt", "/link.txt", "/%2e%2e/secret.txt", "/%00", "/assets/..%2f..%2fsecret.txt"):
            answer = client.get(path)
            assert "hidden" not in answer.text
            assert answer.status_code in (200, 404)
        assert client.post("/").status_code in (404, 405)


def test_without_a_build_the_page_says_how_to_make_one(tiny_store, tmp_path):
    with TestClient(create_app(Settings(root=tiny_store.root, web=tmp_path)), base_url="http://localhost") as client:
        answer = client.get("/", headers={"accept": "text/html"})
        assert answer.status_code == 404
        assert "npm -C dashboard" in answer.text
        assert client.get("/docs").status_code == 200


def test_an_error_that_nobody_foresaw_is_a_problem_without_details(tiny_store, monkeypatch):
    app = create_app(Settings(root=tiny_store.root, web=None))

    def broken():
        raise RuntimeError("private detail")

    monkeypatch.setattr(app.state.services.jobs, "list", broken)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        value = is_problem(client.get("/api/text/train/jobs"), 500)
        assert "private" not in json.dumps(value)

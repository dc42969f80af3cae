"""Random requests from the server's own schema: no 5xx, and every answer is what the schema says it is.

The operations are walked by hand: schemathesis' own pytest plugin does not know the newest pytest.
"""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from fastweights.data.physics import MODES
from fastweights.server.app import create_app
from fastweights.server.deps import Settings
from fastweights.services.chat import ChatService
from fastweights.services.jobs import TrainJobs
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.services.records import SessionOptions
from fastweights.services.redteam_jobs import RedteamJobs
from fastweights.services.sleep.jobs import SleepJobs
from fastweights.store.root import Store
from tests.models.nano_models import QUICK
from tests.small_models import save_random_model

CHECKS = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
OPERATIONS = [
    (method, path) for path, item in create_app(Settings(web=None)).openapi()["paths"].items() for method in item
]


EXAMPLES = {"/api/sessions/{session_id}/verify": 5}  # it reads every run again that the tests before it made


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("schema") / "root")
    save_random_model(store, "tiny")
    ChatService(store).new(SessionOptions(model="tiny"), "s1")
    nano = NanoSessionService(store)
    for mode in MODES:
        nano.bases.pretrain(mode, QUICK)
    nano.new(NanoSetting(), "s1")
    nano.run("s1", 64)
    app = create_app(Settings(root=store.root, web=None))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {p}" for m, p in OPERATIONS])
def test_every_operation(schema, method, path, monkeypatch):
    # no random request may start a training process; all that comes before it still runs (jobs have tests of their own)
    monkeypatch.setattr(TrainJobs, "_spawn", lambda *args: None)
    monkeypatch.setattr(RedteamJobs, "_spawn", lambda *args: None)
    monkeypatch.setattr(SleepJobs, "_spawn", lambda *args: None)
    operation = schema[path][method]
    good = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    bad = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    statuses = set()

    @settings(
        max_examples=EXAMPLES.get(path, 25),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=good | bad, known=st.booleans())
    def walk(case, known):
        parameters = case.path_parameters or {}
        for name, own in (("session_id", "s1"), ("model_id", "tiny")):
            if known and name in parameters:
                parameters[name] = own
        for body in (case.body, case.body.get("sampling") if isinstance(case.body, dict) else None):
            if isinstance(body, dict) and isinstance(body.get("max_new_tokens"), int):
                body["max_new_tokens"] = min(body["max_new_tokens"], 8)  # long replies cost time and find nothing
            if isinstance(body, dict) and isinstance(body.get("steps"), int):
                body["steps"] = min(body["steps"], 64)  # and so do long runs
        response = case.call(headers={"host": "localhost"})
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"]
            assert json.loads(response.content)["status"] == response.status_code

    walk()
    assert statuses

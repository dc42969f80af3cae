"""``sleep`` as a user types it."""

import json

import pytest

from fastweights.cli.main import run
from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.store.root import Store
from tests.small_models import save_random_model

FLAGS = ("--base-model-id", "tiny", "--seq_len", "16", "--train-steps", "10", "--core_ratio=0.5", "--max_memories", "9")


@pytest.fixture
def call(store: Store, capsys: pytest.CaptureFixture[str]):
    save_random_model(store)
    chat = ChatService(store)
    chat.new(SessionOptions(model="tiny"), "s1")
    chat.send("s1", "A turn that is long enough to be slept on.", Sampling(max_new_tokens=4))

    def _call(*line: str) -> tuple[int, str, str]:
        code = run([*line, "--root", str(store.root)])
        out, err = capsys.readouterr()
        return code, out, err

    return _call


def test_sleep_shows_its_evidence_and_takes_decisions(call) -> None:
    code, out, _ = call("sleep", *FLAGS, "--mode", "replay", "--model-id", "night", "--json")
    found = json.loads(out)
    assert code == 0
    assert {"model_id", "core_before", "core_after", "mix_before", "mix_after", "retention"} <= found.keys()
    code, out, _ = call("sleep", "ls")
    assert (code, "night" in out, "sleep_candidate" in out) == (0, True, True)
    code, out, _ = call("sleep", "show", "night")
    assert (code, "retention" in out, "long enough" in out) == (0, True, True)
    assert call("models", "approve", "night")[:2] == (0, "night: ready\n")
    assert call("sleep", "revert", "night")[:2] == (0, "night: sleep_candidate\n")
    assert call("sleep", "reject", "night")[:2] == (0, "night: rejected\n")
    code, _, err = call("sleep", "approve", "night")
    assert (code, "its status is rejected" in err) == (1, True)


def test_wrong_calls_are_one_line(call) -> None:
    for line, said in (
        (("--lr", "2"), "lr"),
        (("--max-core-rise", "-1"), "max_core_rise"),
        (("--core-path", "nowhere"), "nowhere"),
        (("--every", "soon"), "every 'soon'"),
        (("--nano", "linear", "--lr", "0.1"), "lr is for text sessions"),
    ):
        code, out, err = call("sleep", *(() if "--nano" in line else FLAGS), *line)
        assert (code, out, said in err.splitlines()[-1]) == (2, "", True), (line, err)

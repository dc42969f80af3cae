"""``session revert``, ``verify --without``, ``blame``, ``bisect``, ``meter`` and ``recall`` as a user types them."""

import json

import pytest

from fastweights.cli.main import run
from fastweights.store.root import Store
from tests.small_models import save_random_model

SAID = ("The quick brown fox", "The word of Bora is qwertzu.", "over the lazy dog")


@pytest.fixture
def call(store: Store, capsys: pytest.CaptureFixture[str]):
    """Runs a verb on session ``s`` of three turns; returns exit code, parsed standard output, standard error."""
    save_random_model(store)

    def _call(*line: str) -> tuple[int, object, str]:
        code = run([*line, "--root", str(store.root)])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in line and out else out, err

    assert _call("session", "new", "--name", "s", "--chunk-tokens", "16")[0] == 0
    for message in SAID:
        assert _call("chat", "--session", "s", "--message", message, "--max-new-tokens", "3")[0] == 0
    return _call


def test_take_a_turn_back(call) -> None:
    code, result, _ = call("session", "verify", "s", "--without", "2", "--json")
    assert (code, result["ok"], result["without"]["turn"]) == (1, False, 2)
    code, out, _ = call("session", "verify", "s", "--without", "2")
    assert (code, "it has seen turn 2: fast weights differ by" in out) == (1, True)
    code, info, err = call("session", "revert", "s", "2", "--json")
    assert (code, err, info["n_turns"]) == (0, "", 3)
    code, out, _ = call("session", "verify", "s", "--without", "2")
    assert code == 0
    assert out.splitlines()[-1] == "s: the head equals a session that never saw turn 2 (2 others, from the start on)"
    code, shown, _ = call("session", "show", "s", "--json")
    assert ([t["prompt"] for t in shown["turns"]], [t["turn"] for t in shown["reverted"]]) == ([SAID[0], SAID[2]], [2])
    code, out, _ = call("session", "show", "s")
    assert f"taken back: turn 2 by {info['head'][:8]}" in out
    assert call("session", "revert", "s", "head")[0] == 0
    assert call("session", "verify", "s")[0] == 0


def test_ask_the_past(call) -> None:
    code, found, err = call("session", "blame", "s", "--probe", "The word of Bora is", "--answer", " qwertzu", "--json")
    assert (code, err, len(found["turns"])) == (0, "", 3)
    assert all(t["exact_delta"] is None for t in found["turns"])
    code, out, _ = call("session", "blame", "s", "--probe", "The word of Bora is", "--exact", "--top", "1")
    assert (code, "without it" in out) == (0, True)
    code, found, _ = call("session", "bisect", "s", "--json")
    assert (code, found["monotone"]) == (0, found["monotone"])
    code, out, _ = call("session", "bisect", "s", "--probe", "--json is an option", "--threshold", "0")
    assert (code, out.startswith("s: ")) == (0, True)
    code, found, _ = call("session", "meter", "s", "--json")
    assert (code, [t["turn"] for t in found["turns"]]) == (0, [1, 2, 3])
    assert "bits/byte as it learned" in call("session", "meter", "s")[1]
    code, found, _ = call("session", "recall", "s", "--probe", "The word of Bora is", "--answer", " qwertzu", "--json")
    assert (code, found["points"][-1]["stated"]) == (0, 1)
    assert "bits/letter" in call("session", "recall", "s", "--probe", "x", "--answer", "y")[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("revert", "s", "9"), "not among the 3 turns"),
        (("revert", "s"), "turn"),
        (("verify", "s", "head", "--without", "1"), "one of the two"),
        (("blame", "s"), "probe"),
        (("blame", "s", "--probe", ""), "probe"),
        (("blame", "s", "--probe", "x" * 5000), "4096"),
        (("blame", "gone", "--probe", "x"), "no session 'gone'"),
        (("bisect", "s", "--canary", "gone"), "no canary 'gone'"),
        (("bisect", "s", "--threshold", "nan"), "threshold"),
        (("recall", "s", "--probe", "x"), "answer"),
        (("meter", "gone"), "no session 'gone'"),
    ],
)
def test_wrong_calls(store: Store, capsys: pytest.CaptureFixture[str], line: tuple[str, ...], said: str) -> None:
    from fastweights.services.chat import ChatService
    from fastweights.services.records import Sampling, SessionOptions

    save_random_model(store)
    chats = ChatService(store, "cpu")
    chats.new(SessionOptions(), "s")
    for message in SAID if line[0] == "revert" else ():
        chats.send("s", message, Sampling(max_new_tokens=1))
    assert run(["session", *line, "--root", str(store.root)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err

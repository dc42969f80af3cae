"""``session``, ``chat`` and ``generate`` as a user types them, in a process of their own or in this one."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastweights.cli.main import run
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.small_models import save_random_model

TEXT = "Sing, goddess, the anger of Achilles, and its devastation."


@pytest.fixture
def root(store: Store) -> str:
    save_random_model(store)
    return str(store.root)


@pytest.fixture
def call(root: str, capsys: pytest.CaptureFixture[str]):
    """Runs a verb; returns exit code, parsed standard output (with --json) or text, and standard error."""

    def _call(*line: str) -> tuple[int, object, str]:
        code = run([*line, "--root", root])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in line and out else out, err

    return _call


def _new(call, *flags: str) -> str:
    code, info, err = call("session", "new", "--json", *flags)
    assert (code, err) == (0, "")
    return info["session_id"]


def test_new_chat_show_log_fork_reset(call) -> None:
    session = _new(
        call, "--memory", "low_rank", "--rank", "4", "--rule", "muon", "--lr", "0.02", "--chunk_tokens", "16"
    )
    code, turn, err = call("chat", "--session", session, "--message", TEXT, "--json", "--max-new-tokens", "8")
    assert (code, err) == (0, "")
    assert turn["session_id"] == session
    assert turn["reply_tokens"] == 8
    for event in turn["events"]:
        assert event["decision"] in ("committed", "blocked", "rolled_back")
        assert {"reasons", "loss", "grad_norm", "update_norm"} <= event.keys()
    _, shown, _ = call("session", "show", session, "--json")
    assert shown["turns"] == [{k: v for k, v in turn.items() if k != "session_id"}]
    assert shown["options"]["memory"] == "low_rank"
    _, log, _ = call("session", "log", session, "--json")
    assert [c["kind"] for c in log] == ["turn", "init"]
    _, fork, _ = call("session", "fork", session, "--name", "twin", "--json")
    assert fork["parent_session"] == session
    _, reset, _ = call("session", "reset", session, "--json")
    assert reset["head"] != turn["commit"]
    _, sessions, _ = call("session", "ls", "--json")
    assert {s["session_id"] for s in sessions} == {session, "twin"}


def test_text_output_streams_the_reply_and_says_what_was_learned(call) -> None:
    session = _new(call)
    code, out, err = call("chat", "--session", session, "--message", TEXT, "--max-new-tokens", "8", "--compare")
    assert code == 0
    assert out.startswith("frozen  < ")
    assert "\nadapted < " in out
    assert "committed" in err
    assert "loss" in err
    for verb in ("show", "log"):
        code, out, _ = call("session", verb, session)
        assert code == 0
        assert "Sing, goddess" in out
    code, out, _ = call("session", "ls")
    assert "Sing, goddess" in out


def test_chat_without_a_session_makes_one_and_says_so(call) -> None:
    code, turn, err = call("chat", "--message", "Hello.", "--json", "--max-new-tokens", "4")
    assert code == 0
    assert f"session {turn['session_id']} (model tiny)" in err


def test_message_from_standard_input(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Hé\n".encode()), encoding="utf-8"))
    code, turn, _ = call("chat", "--session", _new(call), "--message", "-", "--json", "--max-new-tokens", "4")
    assert code == 0
    assert turn["prompt"] == "Hé\n"


@pytest.mark.parametrize("message", ["- a list", "--json", "--max_new_tokens", "-1", "--help", "-h", "--version", "--"])
def test_a_message_may_look_like_an_option(call, message: str) -> None:
    code, turn, _ = call("chat", "--json", "--max-new-tokens", "4", "--message", message)
    assert code == 0
    assert turn["prompt"] == message


def test_frozen_stores_nothing(call) -> None:
    session = _new(call)
    _, frozen, _ = call("chat", "--session", session, "--message", TEXT, "--frozen", "--json", "--seed", "5")
    _, again, _ = call("chat", "--session", session, "--message", TEXT, "--compare", "--json", "--seed", "5")
    assert frozen["events"] == []
    assert frozen["reply"] == again["frozen_reply"]
    assert again["turn"] == 1


def test_a_policy_file_and_spfw_reach_the_guard(call, tmp_path: Path) -> None:
    policy = tmp_path / "strict.yaml"
    policy.write_text("name: strict\naudit: {max_delta: 0.000001}\ncusum: {mode: off}\n")
    session = _new(call, "--policy", str(policy), "--no-spfw", "--lr", "50", "--clip", "100")
    _, shown, _ = call("session", "show", session, "--json")
    assert shown["options"]["policy"]["name"] == "strict"
    assert shown["options"]["policy"]["spfw"]["mode"] == "off"
    assert shown["options"]["policy"]["cusum"]["mode"] == "off"
    _, turn, _ = call("chat", "--session", session, "--message", TEXT, "--json", "--max-new-tokens", "4")
    assert {e["decision"] for e in turn["events"]} == {"rolled_back"}
    assert all(e["projected_fraction"] is not None for e in turn["events"])


def test_generate_is_seeded_and_streams(call) -> None:
    code, one, _ = call("generate", "--prompt", "Sing", "--seed", "1", "--max-new-tokens", "12", "--json")
    _, two, _ = call("generate", "--prompt", "Sing", "--seed", "1", "--max-new-tokens", "12", "--json")
    code, text, _ = call("generate", "--prompt", "Sing", "--seed", "1", "--max-new-tokens", "12")
    assert code == 0
    assert one["completion"] == two["completion"]
    assert text.rstrip("\n") == one["completion"].rstrip("\n")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (("chat", "--session", "nope", "--message", "x"), "no session 'nope'"),
        (("chat", "--session", "../x", "--message", "x"), "session id '../x' is not valid"),
        (("chat", "--message", ""), "message is empty"),
        (("chat", "--message", "x" * 70000), "70000 characters"),
        (("chat", "--message", "x", "--temperature", "-1"), "temperature"),
        (("chat", "--message", "x", "--top-p", "nan"), "top_p"),
        (("chat", "--message", "x", "--max-new-tokens", "0"), "max_new_tokens"),
        (("chat", "--message", "x", "--max-new-tokens", "lots"), "lots"),
        (("chat", "--message", "x", "--nonsense"), "nonsense"),
        (("session", "new", "--model", "nope"), "no model 'nope'"),
        (("session", "new", "--lr", "0"), "lr"),
        (("session", "new", "--memory", "elephant"), "memory"),
        (("session", "new", "--policy", "/nowhere.yaml"), "cannot be read"),
        (("session", "log", "nope"), "no session 'nope'"),
        (("session", "fork", "nope"), "no session 'nope'"),
        (("session", "diff", "nope"), "no session 'nope'"),
        (("session", "checkout", "nope", "head"), "no session 'nope'"),
        (("session", "checkout", "nope"), "commit"),
        (("session", "tag", "nope", "-d"), "give the name"),
        (("session", "tag", "nope", "x", "-d", "--at", "head"), "takes no --at"),
        (("session", "verify", "nope"), "no session 'nope'"),
        (("generate", "--model", "nope"), "no model 'nope'"),
    ],
)
def test_wrong_calls_are_one_line_and_exit_2(call, line: tuple[str, ...], complaint: str) -> None:
    code, out, err = call(*line)
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_an_unknown_policy_key_names_the_near_miss(call, tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text("audit: {max_detla: 1}\n")
    code, _, err = call("session", "new", "--policy", str(policy))
    assert code == 2
    assert "max_detla" in err
    policy.write_text("drift: {budget: .inf}\n")
    assert call("session", "new", "--policy", str(policy))[0] == 2
    policy.write_text("- 1\n")
    assert call("session", "new", "--policy", str(policy))[0] == 2


def test_the_installed_program_in_an_empty_root(tmp_path: Path) -> None:
    """``--model starter`` works where nothing was ever stored, through the real executable."""
    environment = {**os.environ, "ARTIFACTS_ROOT": str(tmp_path / "empty")}
    line = [sys.executable, "-m", "fastweights", "session", "new", "--model", "starter", "--json"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    session = json.loads(done.stdout)["session_id"]
    line = [sys.executable, "-m", "fastweights", "chat", "--session", session, "--message", "Who is there?", "--json"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    turn = json.loads(done.stdout)
    assert turn["reply"]
    assert turn["events"][0]["decision"] == "committed"


def test_tag_checkout_reset_diff_verify(call) -> None:
    session = _new(call, "--rule", "muon", "--lr", "0.02", "--momentum", "0.9")
    for message in (TEXT, "And then?"):
        call("chat", "--session", session, "--message", message, "--json", "--max-new-tokens", "4")
    code, tag, _ = call("session", "tag", session, "best", "--at", "head~1", "--json")
    assert (code, tag["tag"], tag["deleted"]) == (0, "best", False)
    _, info, _ = call("session", "checkout", session, "best", "--json")
    assert (info["head"], info["n_turns"]) == (tag["commit"], 1)
    _, log, _ = call("session", "log", session, "--json")
    _, everything, _ = call("session", "log", session, "--all", "--json")
    assert (len(log), len(everything)) == (2, 3)
    assert [c["head"] for c in log] == [True, False]
    code, out, _ = call("session", "log", session, "--all")
    assert (code, out.count("\n*")) == (0, 1)
    _, info, _ = call("session", "reset", session, "--to", everything[0]["short"], "--json")
    assert info["n_turns"] == 2
    _, diff, _ = call("session", "diff", session, "init", "head", "--json")
    assert diff["l2"] > 0
    assert {t["part"] for t in diff["tensors"]} == {"weights", "rule"}
    _, fork, _ = call("session", "fork", session, "--no-momentum", "--name", "fresh", "--at", "best", "--json")
    assert fork["head"] != fork["forked_from"] == tag["commit"]
    code, out, _ = call("session", "diff", session, "--other", "fresh")
    assert code == 0
    assert "rule/momentum/context.weight" in out
    assert "only in" in out
    code, result, err = call("session", "verify", "fresh", "--json")
    assert (code, err, result["ok"], result["verified"]) == (0, "", True, 3)
    code, out, _ = call("session", "verify", session, "best")
    assert (code, out.splitlines()[-1]) == (0, f"{session}: 1 of 1 verified")
    assert call("session", "tag", session, "--json")[1] == [tag]
    assert call("session", "tag", session, "best", "-d", "--json")[1]["deleted"]
    assert call("session", "tag", session)[1] == "no tags\n"


def test_verify_exits_1_if_a_state_does_not_follow_from_its_inputs(call, root: str) -> None:
    session = _new(call)
    call("chat", "--session", session, "--message", TEXT, "--json", "--max-new-tokens", "4")
    sessions = Sessions(Store(root))
    head = sessions.head(session)
    forged = sessions.commits.put(
        session, sessions.find(session, "init"), "turn", sessions.state(sessions.find(session, "init")), {}, head.record
    )
    sessions.checkout(session, forged.id)
    code, result, _ = call("session", "verify", session, "--json")
    assert (code, result["ok"], result["differs"]) == (1, False, 1)
    assert result["commits"][-1]["tensor"] is not None
    code, out, _ = call("session", "verify", session)
    assert code == 1
    assert "1 of 2 verified, 1 differ" in out


def test_models_rm(call, root: str) -> None:
    session = _new(call)
    code, _, err = call("models", "rm", "tiny")
    assert code == 1
    assert f"1 sessions stand on ({session})" in err
    code, done, _ = call("models", "rm", "tiny", "--force", "--json")
    assert (code, done) == (0, {"model_id": "tiny", "removed": True, "sessions": [session]})
    assert call("models", "rm", "tiny")[0] == 2
    save_random_model(Store(root))
    assert call("models", "rm", "tiny", "--force")[:2] == (0, "tiny: removed; 1 sessions lack it now\n")

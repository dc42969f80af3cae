"""kill -9 during chat turns: every turn that was answered is there afterwards, and the store is whole.

The default suite runs a reduced count; ``slow`` runs the 100 of the acceptance figure.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.store.fsck import fsck
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions

# A parent that has everything loaded forks one talker after another, so that a round costs milliseconds, not imports.
TALKER = """
import os, sys
from fastweights.models.device import set_threads
from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling
from fastweights.store.root import Store

set_threads()
service = ChatService(Store(sys.argv[1]))
sampling = Sampling(max_new_tokens=4, temperature=1.0)
for line in sys.stdin:
    seed = int(line)
    child = os.fork()
    if child == 0:
        turn = 0
        while True:
            made = service.send("s1", f"round {seed} turn {turn}: to be or not to be", sampling)
            os.write(1, f"{made.turn} {made.commit}\\n".encode())  # the acknowledgement
            turn += 1
    os.write(1, f"child {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def kill_talkers(store: Store, rounds: int) -> tuple[int, int]:
    """(turns acknowledged, turns in the end) over ``rounds`` kills at random moments."""
    ChatService(store).new(SessionOptions(model="tiny", chunk_tokens=8), "s1")
    dice = random.Random(0)
    sessions = Sessions(store)
    acknowledged: dict[int, str] = {}
    parent = subprocess.Popen(
        [sys.executable, "-c", TALKER, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    try:
        for seed in range(rounds):
            parent.stdin.write(f"{seed}\n")
            parent.stdin.flush()
            lines = iter(parent.stdout.readline, "")
            first = len(acknowledged)
            child, wanted = None, dice.randrange(0, 3)
            pause = dice.random() * 0.06
            for line in lines:
                word, _, rest = line.strip().partition(" ")
                if word == "child":
                    child = int(rest)
                elif word == "dead":
                    break
                else:
                    acknowledged[int(word)] = rest
                if child is not None and len(acknowledged) - first >= wanted:
                    time.sleep(pause)
                    try:
                        os.kill(child, signal.SIGKILL)
                    except ProcessLookupError:
                        raise AssertionError("the talker died by itself") from None
                    child, wanted = None, 10**9
            check(store, sessions, acknowledged)
    finally:
        parent.kill()
        parent.communicate()
    return len(acknowledged), sessions.head("s1").turn


def check(store: Store, sessions: Sessions, acknowledged: dict[int, str]) -> None:
    log = sessions.log("s1")
    stored = {commit.turn: commit.id for commit in log}
    assert {turn: stored.get(turn) for turn in acknowledged} == acknowledged, "an answered turn is lost"
    for commit in log[:2]:
        sessions.state(commit)
    assert sessions.list()[0].head == log[0].id
    report = fsck(store)
    assert not [f for f in report.findings if f.level == "error"], report.findings
    assert fsck(store, repair=True).ok


def after(store: Store, answered: int, stored: int) -> None:
    assert answered <= stored
    turn = ChatService(store).send("s1", "and after all that?", Sampling(max_new_tokens=4))
    assert turn.turn == stored + 1
    report = fsck(store, repair=True, gc=True, grace_s=0)
    assert report.ok
    assert fsck(store).findings == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_kill_9_during_chat_turns(tiny_store, rounds):
    answered, stored = kill_talkers(tiny_store, rounds)
    assert answered >= rounds / 2
    after(tiny_store, answered, stored)


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_kill_9_of_the_server_loses_no_answered_turn(start, tiny_store, tmp_path: Path, rounds):
    sessions = Sessions(tiny_store)
    dice = random.Random(1)
    acknowledged: dict[int, str] = {}
    ChatService(tiny_store).new(SessionOptions(model="tiny", chunk_tokens=8), "s1")
    for _ in range(rounds):
        server = start(tiny_store.root, "--api-only")
        until = None
        body = json.dumps({"message": "to be or not to be", "max_new_tokens": 64}).encode()
        while True:
            request = urllib.request.Request(
                f"{server.url}/api/text/sessions/s1/chat", body, {"content-type": "application/json"}
            )
            killer = None
            if until is not None and time.monotonic() > until:
                killer = subprocess.Popen(
                    [sys.executable, "-S", "-c",
                     f"import os, time; time.sleep({dice.random() * 0.2}); os.kill({server.process.pid}, 9)"]
                )  # fmt: skip
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    turn = json.load(answer)
                acknowledged[turn["turn"]] = turn["commit"]
                until = until or time.monotonic() + 0.3
            except (OSError, http.client.HTTPException, json.JSONDecodeError):  # refused, or cut off anywhere
                break
            finally:
                if killer is not None:
                    killer.wait()
        assert server.process.wait(60) == -signal.SIGKILL
        check(tiny_store, sessions, acknowledged)
    assert len(acknowledged) >= rounds
    after(tiny_store, len(acknowledged), sessions.head("s1").turn)

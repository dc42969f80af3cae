"""Run as a process of its own: kills a forked child with SIGKILL at every system call that changes the disk, in turn.

After each kill the session must be the old one or the new one, whole, and ``fsck --repair`` must leave nothing to mend.
Prints one JSON line an operation: {"operation", "points", "old", "new"}.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from fastweights.errors import NotFound
from fastweights.store import commits
from fastweights.store.fsck import fsck
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.store.snapshots import commit_turn, new_session

OPERATIONS = ("create", "commit", "fork", "fresh_fork", "checkout", "reset", "tag")


def kill_at(point: int) -> None:
    """Patches the calls that change the disk; the ``point``-th one is cut off (a write after half its bytes)."""
    count = 0

    def wrap(name: str):
        real = getattr(os, name)

        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == point:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, name, call)

    for name in ("write", "fsync", "replace", "ftruncate", "truncate", "open", "mkdir", "unlink"):
        wrap(name)


def prepare(root: Path) -> list[str]:
    sessions = Sessions(Store(root))
    new_session(sessions, "s1")
    return [commit_turn(sessions, "s1", n).id for n in (1, 2)]


def operate(operation: str, sessions: Sessions, heads: list[str]) -> None:
    if operation == "create":
        new_session(sessions, "s2")
    elif operation == "commit":
        commit_turn(sessions, "s1", 3)
    elif operation == "fork":
        sessions.fork("s1", "s2", heads[0])
    elif operation == "checkout":
        sessions.checkout("s1", heads[0])
    elif operation == "reset":
        sessions.reset("s1", heads[0])
    elif operation == "fresh_fork":
        sessions.fork("s1", "s2", keep_momentum=False)
    elif operation == "tag":
        sessions.tag("s1", "best")


def verify(operation: str, root: Path, heads: list[str]) -> str:
    """ "old" or "new"; raises if the store is anything else."""
    sessions = Sessions(Store(root))
    assert {m.id for m in sessions.list()} >= {"s1"}
    for name in ("s1", "s2"):
        try:
            log = sessions.log(name)
        except NotFound:
            assert name == "s2"
            continue
        for commit in log:
            sessions.state(commit)
    if operation in ("create", "fork", "fresh_fork"):
        outcome = "new" if sessions.path("s2", "meta.json").exists() else "old"
    elif operation == "tag":
        outcome = "new" if sessions.meta("s1").tags else "old"
    else:
        outcome = "old" if sessions.head("s1").id == heads[-1] else "new"
    check = fsck(sessions.store)
    assert not [f for f in check.findings if f.level == "error"], check.findings
    repaired = fsck(sessions.store, repair=True)
    assert repaired.ok, repaired.findings
    after = fsck(sessions.store)
    assert after.ok, after.findings
    assert all("no session refers to" in f.problem for f in after.findings), after.findings
    if outcome == "old":
        operate(operation, sessions, heads)  # what was cut off can be done again
    commit_turn(sessions, "s1", 4)
    assert fsck(sessions.store).ok
    return outcome


def main(folder: Path) -> None:
    template = folder / "template"
    heads = prepare(template)
    for operation in OPERATIONS:
        outcomes: list[str] = []
        for point in range(1, 1000):
            root = folder / "root"
            shutil.copytree(template, root)
            child = os.fork()
            if child == 0:
                commits.now = lambda: (
                    "2026-01-01T00:00:00.000000+00:00"
                )  # the same ids, hence the same calls, each time
                kill_at(point)
                operate(operation, Sessions(Store(root)), heads)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            finished = os.WIFEXITED(status)
            assert finished or os.WTERMSIG(status) == signal.SIGKILL, status
            outcome = verify(operation, root, heads)
            shutil.rmtree(root)
            if finished:
                assert outcome == "new"
                break
            outcomes.append(outcome)
        row = {
            "operation": operation,
            "points": len(outcomes),
            "old": outcomes.count("old"),
            "new": outcomes.count("new"),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

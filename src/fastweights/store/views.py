"""Files beside a session's ``meta.json`` that show its head in plain sight. Derived from commits, never read as truth.

Torch-free. ``context_state.safetensors`` and ``optim_state.safetensors`` are the head's fast weights and rule state;
``events.jsonl`` (one row a guarded chunk) and ``trace.jsonl`` (one row a turn, full text) cover the path from the
initial commit to the head.
"""

from typing import TYPE_CHECKING, Any

from fastweights.store import atomic, tensors

if TYPE_CHECKING:
    from fastweights.store.sessions import Commit

STATES = {"context_state.safetensors": "weights/", "optim_state.safetensors": "rule/"}
EVENTS, TRACE = "events.jsonl", "trace.jsonl"


def state_views(state: bytes) -> dict[str, bytes]:
    """{file name: safetensors bytes}: the snapshot's tensors under each prefix, the prefix cut off."""
    entries, meta = tensors.unpack(state, "state snapshot")
    return {
        file: tensors.pack({name.removeprefix(p): raw for name, raw in entries.items() if name.startswith(p)}, meta)
        for file, p in STATES.items()
    }


def event_rows(commit: "Commit") -> list[dict[str, Any]]:
    return [{**event, "commit": commit.id, "turn": commit.turn} for event in commit.record.get("events", [])]


def trace_rows(commit: "Commit") -> list[dict[str, Any]]:
    if commit.kind == "init":
        return []
    rest = {key: value for key, value in commit.record.items() if key != "events"}
    return [{**rest, "commit": commit.id, "kind": commit.kind, "turn": commit.turn, "created_at": commit.created_at}]


def jsonl_bytes(path: "list[Commit]") -> dict[str, bytes]:
    """{file name: whole content} for commits in order from the initial one to the head."""
    lines: dict[str, list[bytes]] = {EVENTS: [], TRACE: []}
    for commit in path:
        lines[EVENTS] += [atomic.dump_json(row) for row in event_rows(commit)]
        lines[TRACE] += [atomic.dump_json(row) for row in trace_rows(commit)]
    return {file: b"".join(line + b"\n" for line in rows) for file, rows in lines.items()}

"""Files beside a session's ``meta.json`` that show its head in plain sight. Derived from commits, never read as truth.

Torch-free. Each kind of session has a :class:`Layout`: its folder, the head's fast weights and rule state as
safetensors, and JSON-lines files (one row a guarded chunk, one row a turn or run) that cover the path from the initial
commit to the head. Files that a commit itself carries (``commit(files=...)``) lie beside them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastweights.store import atomic, tensors
from fastweights.store.nano_files import METRICS
from fastweights.store.root import SESSIONS, TEXT_SESSIONS

if TYPE_CHECKING:
    from fastweights.store.commits import Commit

EVENTS, TRACE = "events.jsonl", "trace.jsonl"
_ASIDE = ("events", "replay", "files")  # of a record: not in the trace


def event_rows(commit: "Commit") -> list[dict[str, Any]]:
    return [{**event, "commit": commit.id, "turn": commit.turn} for event in commit.record.get("events", [])]


def trace_rows(commit: "Commit") -> list[dict[str, Any]]:
    if commit.kind == "init":
        return []
    rest = {key: value for key, value in commit.record.items() if key not in _ASIDE}
    return [{**rest, "commit": commit.id, "kind": commit.kind, "turn": commit.turn, "created_at": commit.created_at}]


Rows = Callable[["Commit"], list[dict[str, Any]]]


@dataclass(frozen=True)
class Layout:
    """Where the sessions of a kind lie, and their views. ``states``: {file: prefix of the snapshot's tensors};
    ``rows``: {file: a commit's rows}; ``latest``: those of a turn's files that lie in the session's folder itself."""

    folder: str
    states: Mapping[str, str]
    rows: Mapping[str, Rows]
    latest: tuple[str, ...] = ()

    def state_views(self, state: bytes) -> dict[str, bytes]:
        """{file: safetensors bytes}: the snapshot's tensors under each prefix, the prefix cut off."""
        entries, meta = tensors.unpack(state, "state snapshot")
        return {
            file: tensors.pack({name.removeprefix(p): raw for name, raw in entries.items() if name.startswith(p)}, meta)
            for file, p in self.states.items()
        }

    def jsonl_bytes(self, path: "Iterable[Commit]") -> dict[str, bytes]:
        """{file: whole content} for commits in order from the initial one to the head."""
        lines: dict[str, list[bytes]] = {file: [] for file in self.rows}
        for commit in path:
            for file, rows in self.rows.items():
                lines[file] += [atomic.dump_json(row) for row in rows(commit)]
        return {file: b"".join(line + b"\n" for line in rows) for file, rows in lines.items()}


LAYOUTS = {
    "text": Layout(
        TEXT_SESSIONS,
        {"context_state.safetensors": "weights/", "optim_state.safetensors": "rule/"},
        {EVENTS: event_rows, TRACE: trace_rows},
    ),
    "nano": Layout(
        SESSIONS,
        {"plastic_state.safetensors": "weights/", "optim_state.safetensors": "rule/"},
        {"update_events.jsonl": event_rows, TRACE: trace_rows},
        (METRICS,),
    ),
}


def files_of(path: "Iterable[Commit]") -> dict[str, str]:
    """{path in the session's folder: SHA-256} over commits from the initial one to the head; the newest counts."""
    return {file: sha for commit in path for file, sha in commit.files.items()}

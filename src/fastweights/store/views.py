"""Files beside a session's ``meta.json`` that show its head in plain sight. Derived from commits, never read as truth.

Torch-free. Each kind of session has a :class:`Layout`: its folder, the head's fast weights and rule state as
safetensors, and JSON-lines files (one row a guarded chunk, one row a turn or run) that cover the path from the initial
commit to the head. Files that a commit itself carries (``commit(files=...)``) lie beside them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.errors import Corrupt
from fastweights.store import atomic, tensors
from fastweights.store.nano_files import METRICS
from fastweights.store.root import SESSIONS, TEXT_SESSIONS

if TYPE_CHECKING:
    from fastweights.store.commits import Commit, Commits
    from fastweights.store.meta import Meta

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


class Views:
    """The views of the sessions of a kind. ``path``: of a file in a session's folder. No fsync is spent on them."""

    def __init__(self, layout: Layout, commits: "Commits", path: Callable[..., Path]) -> None:
        self.layout, self.commits, self.path = layout, commits, path

    def files(self, head: "Commit") -> dict[str, str | None]:
        """{path in the session's folder: SHA-256} of the commits behind the head; what the layout calls ``latest`` is
        of the latest turn or run that the head's state learned from (None: there is none)."""
        path = [*self.commits.history(head.id)][::-1]
        return {**{file: sha for commit in path for file, sha in commit.files.items()}, **self._latest(head)}

    def show(self, head: "Commit", meta: "Meta", state: bytes) -> dict[str, int]:
        """Writes them for ``head``, the next head of ``meta``; returns the bytes of each JSON-lines file."""
        for file, data in self.layout.state_views(state).items():
            atomic.write_bytes(self.path(meta.id, file), data, durable=False)
        return self._append(head, meta) or self._rewrite(head, meta.id)

    def _append(self, head: "Commit", meta: "Meta") -> dict[str, int] | None:
        """The usual case, O(1): the views show ``head.parent``. None where they do not, or were damaged."""
        if meta.views is None or meta.head != head.parent:
            return None
        rows = {file: rows(head) for file, rows in self.layout.rows.items()}
        try:
            sizes = {
                file: atomic.append_jsonl(self.path(meta.id, file), rows[file], at=meta.views[file], durable=False)
                for file in rows
            }
        except (Corrupt, KeyError):
            return None
        self._write(meta.id, head.files if head.kind in ("turn", "run") else self._latest(head))
        return sizes

    def _rewrite(self, head: "Commit", session_id: str) -> dict[str, int]:
        whole = self.layout.jsonl_bytes([*self.commits.history(head.id)][::-1])
        for file, data in whole.items():
            atomic.write_bytes(self.path(session_id, file), data, durable=False)
        self._write(session_id, self.files(head))
        return {file: len(data) for file, data in whole.items()}

    def _latest(self, head: "Commit") -> dict[str, str | None]:
        latest: dict[str, str | None] = dict.fromkeys(self.layout.latest)
        for one in self.commits.lived(head.id) if latest else ():
            latest |= {} if one.frozen else {file: sha for file, sha in one.commit.files.items() if file in latest}
        return latest

    def _write(self, session_id: str, files: Mapping[str, str | None]) -> None:
        for file, sha in files.items():
            path = self.path(session_id, *file.split("/"))
            if sha is None:
                path.unlink(missing_ok=True)
            else:
                atomic.write_bytes(path, self.commits.objects.get(sha), durable=False)

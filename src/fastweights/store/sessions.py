"""Sessions: chains of commits, a head, and git's verbs on them. Torch-free; a state is opaque bytes.

A commit is a JSON object in ``objects/`` whose id is its SHA-256, and names its parent's id and its state's, so that
the head vouches for the whole history. A session's folder holds ``meta.json`` with the head. The order of a write is
objects, views, then ``meta.json``: the rename of that one file is the acknowledgement, and readers trust nothing else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic, views
from fastweights.store.index import cached_records
from fastweights.store.locks import Locks
from fastweights.store.objects import SHA, Objects
from fastweights.store.root import TEXT_SESSIONS, Store, check_id, new_id, now

META = "meta.json"
LOCK = "session.lock"
FOLDERS = {"text": TEXT_SESSIONS}
CommitKind = Literal["init", "turn", "reset"]


@dataclass(frozen=True)
class Commit:
    """One state of a session. ``state``: SHA-256 of the safetensors snapshot (``weights/``, ``rule/``, ``carry/``);
    ``guard`` and ``record`` are the caller's JSON; ``turn`` counts the turns since the last reset."""

    id: str
    parent: str | None
    kind: CommitKind
    state: str
    turn: int
    guard: dict[str, Any]
    record: dict[str, Any]
    created_at: str


@dataclass(frozen=True)
class Meta:
    """A session's ``meta.json``. ``root`` is the initial commit (forks inherit it); ``drift`` the head record's;
    ``views`` the sizes in bytes of the JSON-lines views, None while they are being rewritten."""

    id: str
    kind: str
    model: str
    options: dict[str, Any]
    head: str
    root: str
    turns: int
    title: str
    created_at: str
    updated_at: str
    state_bytes: int
    drift: float | None = None
    parent_session: str | None = None
    forked_from: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    views: dict[str, int] | None = None


class Sessions:
    """The sessions of one kind in a store."""

    def __init__(self, store: Store, kind: str = "text") -> None:
        if kind not in FOLDERS:
            raise FastweightsError(f"session kind {kind!r} is not known: use one of {', '.join(FOLDERS)}")
        self.store, self.kind, self.folder = store, kind, FOLDERS[kind]
        self.objects = Objects(store)
        self._locks = Locks()

    # ------------------------------------------------------------ reading (never blocks, never writes but the cache)

    def path(self, session_id: str, *file: str) -> Path:
        return self.store.path(self.folder, check_id("session", session_id), *file)

    def meta(self, session_id: str) -> Meta:
        """The session's record; :class:`NotFound` if there is none."""
        try:
            return read_meta(self.path(session_id, META))
        except NotFound:
            raise NotFound(f"no session {session_id!r}: `fastweights session ls` lists them") from None

    def list(self) -> list[Meta]:
        """Every whole session, last used first; a damaged one is left out (``fsck`` names it)."""
        records, _ = cached_records(self.store, self.folder, META, lambda path: asdict(read_meta(path)))
        return sorted((Meta(**r) for r in records.values()), key=lambda m: (m.updated_at, m.id), reverse=True)

    def read(self, commit_id: str) -> Commit:
        """A commit by its full id, verified."""
        data = self.objects.get(commit_id)
        try:
            commit = Commit(id=commit_id, **orjson.loads(data))
            if commit.kind in get_args(CommitKind) and SHA.fullmatch(commit.state) and isinstance(commit.record, dict):
                return commit
        except (TypeError, orjson.JSONDecodeError):
            pass
        raise Corrupt(f"object {commit_id} is not a commit: give the id of a commit (`fastweights session log`)")

    def head(self, session_id: str) -> Commit:
        return self.read(self.meta(session_id).head)

    def state(self, commit: Commit) -> bytes:
        """The snapshot's bytes, verified."""
        return self.objects.get(commit.state)

    def history(self, commit_id: str) -> Iterator[Commit]:
        """That commit, its parent, and so on to the initial one."""
        at: str | None = commit_id
        while at is not None:
            commit = self.read(at)
            yield commit
            at = commit.parent

    def log(self, session_id: str) -> "list[Commit]":
        """The head's history, newest first."""
        return [*self.history(self.meta(session_id).head)]

    def find(self, session_id: str, ref: str) -> Commit:
        """The commit that ``ref`` (a tag, a full id, or at least 6 digits of one in the head's history) names."""
        meta = self.meta(session_id)
        ref = meta.tags.get(ref, ref)
        if SHA.fullmatch(ref):
            return self._own(meta, ref)
        found = [c for c in self.history(meta.head) if len(ref) >= 6 and c.id.startswith(ref)]
        if len(found) != 1:
            why = "is ambiguous" if found else "is no commit"
            raise NotFound(f"{ref[:80]!r} {why} of session {session_id!r}: `fastweights session log` lists them")
        return found[0]

    # ------------------------------------------------------------ writing

    @contextmanager
    def lock(self, session_id: str, doing: str = "writing", timeout: float = 0) -> Iterator[None]:
        """The right to write a session. Busy: :class:`Conflict` that names the holder. Re-entrant within a thread."""
        path = self.path(session_id, LOCK)
        if not self.path(session_id, META).is_file():
            self.meta(session_id)
        with self._locks.hold(path, f"session {session_id!r}", doing, timeout):
            yield

    def create(
        self,
        session_id: str | None,
        *,
        model: str,
        options: Mapping[str, Any],
        state: bytes,
        guard: Mapping[str, Any],
        record: Mapping[str, Any] | None = None,
        title: str = "",
    ) -> Meta:
        """A new session with its initial commit. ``session_id`` None makes one up; one that exists is a Conflict."""
        session_id = new_id("s") if session_id is None else check_id("session", session_id)
        with self._new(session_id):
            head = self._put(None, "init", state, guard, record or {})
            return self._publish(
                head,
                Meta(
                    id=session_id, kind=self.kind, model=model, options=dict(options), head=head.id, root=head.id,
                    turns=0, title=title, created_at=head.created_at, updated_at=head.created_at,
                    state_bytes=len(state),
                ),
                state,
            )  # fmt: skip

    def commit(
        self,
        session_id: str,
        *,
        parent: str,
        kind: CommitKind = "turn",
        state: bytes,
        guard: Mapping[str, Any],
        record: Mapping[str, Any],
        title: str | None = None,
    ) -> Commit:
        """Adds a commit and moves the head to it: when this returns, the turn survives a crash.

        ``parent`` is the head that the state was computed from; if the head moved since, a Conflict. Takes the lock
        unless this thread holds it. ``title`` names the session if it has no name yet. A ``drift`` in the record shows
        in listings.
        """
        with self.lock(session_id):
            meta = self.meta(session_id)
            if parent != meta.head:
                raise Conflict(
                    f"head of session {session_id!r} is {meta.head[:12]}, not {parent[:12]}: read it again and retry"
                )
            head = self._put(self.read(parent), kind, state, guard, record)
            self._publish(head, replace(meta, title=meta.title or title or ""), state)
            return head

    def fork(self, session_id: str, new_session: str | None = None, at: str | None = None) -> Meta:
        """A new session at the head (or at commit ``at``) of another; states are shared, nothing is copied twice."""
        source = self.meta(session_id)
        new_session = new_id("s") if new_session is None else check_id("session", new_session)
        head = self.find(session_id, at) if at is not None else self.read(source.head)
        time = now()
        with self._new(new_session):
            meta = replace(
                source,
                id=new_session,
                parent_session=session_id,
                forked_from=head.id,
                created_at=time,
                tags={},
                views=None,
            )
            return self._publish(head, meta, self.state(head))

    def move_head(self, session_id: str, commit_id: str) -> Meta:
        """Points the session at another commit of its tree (checkout, reset --to); nothing is deleted."""
        with self.lock(session_id):
            meta = self.meta(session_id)
            head = self.find(session_id, commit_id)
            if head.id == meta.head:
                return meta
            state, meta = self.state(head), replace(meta, views=None)
            atomic.write_json(self.path(session_id, META), asdict(meta))  # from here to _publish the views lie
            return self._publish(head, meta, state)

    def rebuild_views(self, session_id: str) -> None:
        """Writes the views of the head anew (``fsck --repair``)."""
        with self.lock(session_id, "rebuilding views"):
            meta = self.meta(session_id)
            head = self.read(meta.head)
            self._publish(head, replace(meta, views=None), self.state(head), touch=False)

    # ------------------------------------------------------------ inside

    @contextmanager
    def _new(self, session_id: str) -> Iterator[None]:
        atomic.ensure_dir(self.path(session_id))
        with self._locks.hold(self.path(session_id, LOCK), f"session {session_id!r}", "creating it"):
            if self.path(session_id, META).exists():
                raise Conflict(
                    f"session {session_id!r} exists: choose another id, or leave the id out to get a fresh one"
                )
            yield

    def _own(self, meta: Meta, commit_id: str) -> Commit:
        """The commit, if the session's initial commit is among its ancestors."""
        try:
            chain = [*self.history(commit_id)]
        except (NotFound, Corrupt):
            chain = []
        if not chain or chain[-1].id != meta.root:
            raise NotFound(
                f"{commit_id[:12]!r} is no commit of session {meta.id!r}: `fastweights session log` lists them"
            )
        return chain[0]

    def _put(
        self, parent: Commit | None, kind: CommitKind, state: bytes, guard: Mapping[str, Any], record: Mapping[str, Any]
    ) -> Commit:
        if kind not in get_args(CommitKind) or (kind == "init") != (parent is None):
            raise FastweightsError(
                f"commit kind {kind!r} does not fit: 'init' comes first and once, then 'turn' or 'reset'"
            )
        value = {
            "parent": parent.id if parent else None,
            "kind": kind,
            "state": self.objects.put(state),
            "turn": 0 if parent is None or kind == "reset" else parent.turn + 1,
            "guard": dict(guard),
            "record": dict(record),
            "created_at": now(),
        }
        data = atomic.dump_json(value)
        return Commit(id=self.objects.put(data), **orjson.loads(data))

    def _publish(self, head: Commit, meta: Meta, state: bytes, *, touch: bool = True) -> Meta:
        """Views of ``head`` (derived, so no fsync is spent on them), then the pointer to it."""
        for file, data in views.state_views(state).items():
            atomic.write_bytes(self.path(meta.id, file), data, durable=False)
        sizes = self._append_views(head, meta) or self._rewrite_views(head, meta.id)
        drift = head.record.get("drift")
        meta = replace(
            meta, head=head.id, turns=head.turn, state_bytes=len(state), views=sizes,
            drift=float(drift) if isinstance(drift, (int, float)) else None,
            updated_at=now() if touch else meta.updated_at,
        )  # fmt: skip
        atomic.write_json(self.path(meta.id, META), asdict(meta))
        return meta

    def _append_views(self, head: Commit, meta: Meta) -> dict[str, int] | None:
        """The usual case, O(1): the views show ``head.parent``. None where they do not, or were damaged."""
        if meta.views is None or meta.head != head.parent:
            return None
        rows = {views.EVENTS: views.event_rows(head), views.TRACE: views.trace_rows(head)}
        try:
            return {
                file: atomic.append_jsonl(self.path(meta.id, file), rows[file], at=meta.views[file], durable=False)
                for file in rows
            }
        except (Corrupt, KeyError):
            return None

    def _rewrite_views(self, head: Commit, session_id: str) -> dict[str, int]:
        whole = views.jsonl_bytes([*self.history(head.id)][::-1])
        for file, data in whole.items():
            atomic.write_bytes(self.path(session_id, file), data, durable=False)
        return {file: len(data) for file, data in whole.items()}


def read_meta(path: Path) -> Meta:
    """A session's ``meta.json``, checked; :class:`Corrupt` names the file."""
    value = atomic.read_json(path)
    try:
        meta = Meta(**value)
    except TypeError as error:
        raise Corrupt(f"{str(path)!r} is not a session record ({error}): restore it from a backup") from None
    if meta.id != path.parent.name or not all(isinstance(x, str) and SHA.fullmatch(x) for x in (meta.head, meta.root)):
        raise Corrupt(f"{str(path)!r} does not belong to session {path.parent.name!r}: restore it from a backup")
    return meta

"""Sessions: chains of commits, a head, and git's verbs on them. Torch-free; a state is opaque bytes.

A session's folder holds ``meta.json`` with the head; the commits are objects (:mod:`fastweights.store.commits`). The
order of a write is objects, views, then ``meta.json``: the rename of that one file is the acknowledgement, and readers
trust nothing else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.store import atomic, refs
from fastweights.store.commits import Commit, CommitKind, Commits, fresh_rule
from fastweights.store.index import cached_records
from fastweights.store.locks import Locks
from fastweights.store.meta import META, Meta, read_meta
from fastweights.store.objects import Objects
from fastweights.store.root import Store, check_id, new_id, now
from fastweights.store.views import LAYOUTS, Views

LOCK = "session.lock"


class Sessions:
    """The sessions of one kind in a store."""

    def __init__(self, store: Store, kind: str = "text") -> None:
        if kind not in LAYOUTS:
            raise FastweightsError(f"session kind {kind!r} is not known: use one of {', '.join(LAYOUTS)}")
        self.store, self.kind, self.layout = store, kind, LAYOUTS[kind]
        self.folder = self.layout.folder
        self.objects = Objects(store)
        self.commits = Commits(self.objects)
        self.views = Views(self.layout, self.commits, self.path)
        self._locks = Locks()

    # ------------------------------------------------------------ reading (never blocks, never writes but the cache)

    def path(self, session_id: str, *file: str) -> Path:
        return self.store.path(self.folder, check_id("session", session_id), *file)

    def meta(self, session_id: str) -> Meta:
        """The session's record; :class:`NotFound` if there is none."""
        try:
            return read_meta(self.path(session_id, META))
        except NotFound:
            verb = "session ls" if self.kind == "text" else f"{self.kind} session ls"
            raise NotFound(f"no session {session_id!r}: `{verb}` lists them") from None

    def list(self) -> list[Meta]:
        """Every whole session, last used first; a damaged one is left out (``fsck`` names it)."""
        metas, _ = self._listing()
        return sorted(metas.values(), key=lambda m: (m.updated_at, m.id), reverse=True)

    def damaged(self) -> dict[str, str]:
        """{id: one-line error} of the sessions that :meth:`list` leaves out."""
        return self._listing()[1]

    def _listing(self) -> tuple[dict[str, Meta], dict[str, str]]:
        same: dict[bytes, dict[str, Any]] = {}  # the options of most sessions are those of others

        def take(text: str) -> Meta:
            record = orjson.loads(text)
            options = record["options"]
            return Meta(**{**record, "options": same.setdefault(atomic.dump_json(options), options)})

        return cached_records(self.store, self.folder, META, lambda path: vars(read_meta(path)), take, remember=True)

    def read(self, commit_id: str) -> Commit:
        """A commit by its full id, verified."""
        return self.commits.read(commit_id)

    def head(self, session_id: str) -> Commit:
        return self.read(self.meta(session_id).head)

    def state(self, commit: Commit) -> bytes:
        """The snapshot's bytes, verified."""
        return self.commits.state(commit)

    def history(self, commit_id: str) -> Iterator[Commit]:
        """That commit, its parent, and so on to the initial one."""
        return self.commits.history(commit_id)

    def log(self, session_id: str, *, everything: bool = False) -> "list[Commit]":
        """The head's history, newest first; ``everything``: also what only tags or earlier heads reach."""
        meta = self.meta(session_id)
        if not everything:
            return [*self.history(meta.head)]
        return sorted(self.commits.reachable(refs.tips(meta)), key=lambda c: c.created_at, reverse=True)

    def find(self, session_id: str, ref: str) -> Commit:
        """The commit that ``ref`` names: see :func:`fastweights.store.refs.resolve`."""
        return refs.resolve(self.commits, self.meta(session_id), ref)

    # ------------------------------------------------------------ writing

    @contextmanager
    def lock(self, session_id: str, doing: str = "writing", timeout: float = 0) -> Iterator[None]:
        """The right to write a session. Busy: :class:`Conflict` that names the holder. Re-entrant within a thread."""
        path = self.path(session_id, LOCK)
        if not self.path(session_id, META).is_file():
            self.meta(session_id)
        with self._locks.hold(path, f"session {session_id!r}", doing, timeout):
            yield

    def check_free(self, session_id: str) -> None:
        """:class:`Conflict` if there is a session of that id."""
        if self.path(session_id, META).exists():
            raise Conflict(f"session {session_id!r} exists: choose another id, or leave the id out to get a fresh one")

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
        """A new session with its initial commit. ``session_id`` None makes one up; one that exists is a Conflict.

        The initial commit's record also holds ``session``: what ``meta.json`` can be rebuilt from.
        """
        session_id = new_id("s") if session_id is None else check_id("session", session_id)
        own = {"id": session_id, "kind": self.kind, "model": model, "options": dict(options)}
        with self._new(session_id):
            head = self.commits.put(session_id, None, "init", state, guard, {**(record or {}), "session": own})
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
        files: Mapping[str, bytes] | None = None,
    ) -> Commit:
        """Adds a commit and moves the head to it: when this returns, the turn survives a crash.

        ``parent`` is the head that the state was computed from; if the head moved since, a Conflict. Takes the lock
        unless this thread holds it. ``title`` names the session if it has no name yet. A ``drift`` in the record shows
        in listings. ``files`` ({path in the session's folder: content}) are stored as objects that the commit refers
        to, and shown beside ``meta.json`` like the views.
        """
        with self.lock(session_id):
            meta = self.meta(session_id)
            if parent != meta.head:
                raise Conflict(
                    f"head of session {session_id!r} is {meta.head[:12]}, not {parent[:12]}: read it again and retry"
                )
            if files:
                for file in files:
                    self.path(session_id, *file.split("/"))
                record = {**record, "files": {file: self.objects.put(data) for file, data in files.items()}}
            head = self.commits.put(session_id, self.read(parent), kind, state, guard, record)
            self._publish(head, replace(meta, title=meta.title or title or ""), state)
            return head

    def fork(
        self, session_id: str, new_session: str | None = None, at: str | None = None, *, keep_momentum: bool = True
    ) -> Meta:
        """A new session at the head (or at commit ``at``) of another; states are shared, nothing is copied twice.

        Without ``keep_momentum`` it begins with a commit of its own, whose rule state is the initial one.
        """
        source = self.meta(session_id)
        new_session = new_id("s") if new_session is None else check_id("session", new_session)
        head = self.find(session_id, at) if at is not None else self.read(source.head)
        meta = replace(
            source, id=new_session, parent_session=session_id, forked_from=head.id, created_at=now(), tags={}, left=[],
            views=None,
        )  # fmt: skip
        with self._new(new_session):
            state = self.state(head)
            if not keep_momentum:
                fresh = fresh_rule(state, self.state(self.read(source.root)))
                if fresh != state:
                    record = {"drift": head.record.get("drift"), "keep_momentum": False}
                    head, state = self.commits.put(new_session, head, "fork", fresh, head.guard, record), fresh
            return self._publish(head, meta, state)

    def checkout(self, session_id: str, ref: str) -> Meta:
        """Points the session at another commit of its tree; the head it leaves stays in ``log --all``."""
        with self.lock(session_id, "checking out"):
            meta = self.meta(session_id)
            head = self.find(session_id, ref)
            if head.id == meta.head:
                return meta
            state, left = self.state(head), self._left(meta, head)
            self._save(replace(meta, views=None))  # from here to _publish the views lie
            return self._publish(head, replace(meta, left=left, views=None), state)

    def reset(self, session_id: str, to: str | None = None) -> Commit:
        """A new commit whose state is that of commit ``to`` (None: the initial one); the history stays."""
        with self.lock(session_id, "resetting"):
            meta = self.meta(session_id)
            target = self.read(meta.root) if to is None else self.find(session_id, to)
            return self.commit(
                session_id,
                parent=meta.head,
                kind="reset",
                state=self.state(target),
                guard=target.guard,
                record={"to": target.id, "drift": target.record.get("drift")},
            )

    def tag(self, session_id: str, name: str, at: str | None = None) -> Commit:
        """Names a commit (default: the head); a name that is in use is a Conflict."""
        refs.check_tag(name)
        with self.lock(session_id, "tagging"):
            meta = self.meta(session_id)
            commit = self.find(session_id, "head" if at is None else at)
            if meta.tags.get(name, commit.id) != commit.id:
                raise Conflict(
                    f"tag {name!r} of session {session_id!r} names {meta.tags[name][:12]} already: delete it first"
                )
            self._save(replace(meta, tags={**meta.tags, name: commit.id}))
            return commit

    def untag(self, session_id: str, name: str) -> str:
        """Deletes a tag; returns the commit it named, which stays."""
        with self.lock(session_id, "tagging"):
            meta = self.meta(session_id)
            if name not in meta.tags:
                known = ", ".join(sorted(meta.tags)[:12]) or "it has none"
                raise NotFound(f"no tag {name[:80]!r} in session {session_id!r}: {known}")
            commit_id = meta.tags[name]  # still reachable afterwards, as a head that was left
            tags = {key: value for key, value in meta.tags.items() if key != name}
            rest = replace(meta, tags=tags)
            known = {c.id for c in self.commits.reachable(refs.tips(rest))}
            self._save(rest if commit_id in known else replace(rest, left=[*rest.left, commit_id]))
            return commit_id

    def rebuild_views(self, session_id: str) -> None:
        """Writes the views of the head anew (``fsck --repair``)."""
        with self.lock(session_id, "rebuilding views"):
            meta = self.meta(session_id)
            head = self.read(meta.head)
            self._publish(head, replace(meta, views=None), self.state(head), touch=False)

    def restore(self, meta: Meta) -> None:
        """Writes a ``meta.json`` that was lost, with its views (``fsck --repair``)."""
        with self._locks.hold(self.path(meta.id, LOCK), f"session {meta.id!r}", "restoring it"):
            head = self.read(meta.head)
            self._publish(head, replace(meta, views=None), self.state(head), touch=False)

    # ------------------------------------------------------------ inside

    @contextmanager
    def _new(self, session_id: str) -> Iterator[None]:
        atomic.ensure_dir(self.path(session_id))
        with self._locks.hold(self.path(session_id, LOCK), f"session {session_id!r}", "creating it"):
            self.check_free(session_id)
            yield

    def _left(self, meta: Meta, head: Commit) -> "list[str]":
        """The heads to remember once ``head`` is the head: none that lies behind it or behind the one it replaces."""
        behind = {c.id for c in self.commits.reachable([head.id])}
        if meta.head in behind:
            return [c for c in meta.left if c not in behind]
        old = {c.id for c in self.commits.reachable([meta.head])}
        return [*(c for c in meta.left if c not in behind and c not in old), meta.head]

    def _save(self, meta: Meta) -> None:
        atomic.write_json(self.path(meta.id, META), asdict(meta))

    def _publish(self, head: Commit, meta: Meta, state: bytes, *, touch: bool = True) -> Meta:
        """Views of ``head``, then the pointer to it."""
        sizes = self.views.show(head, meta, state)
        drift = head.record.get("drift")
        meta = replace(
            meta, head=head.id, turns=head.turn, state_bytes=len(state), views=sizes,
            drift=float(drift) if isinstance(drift, (int, float)) else None,
            updated_at=now() if touch else meta.updated_at,
        )  # fmt: skip
        self._save(meta)
        return meta

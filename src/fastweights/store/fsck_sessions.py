"""What ``fsck`` checks of a session: its record, its history with every state and file, its views. Torch-free."""

import shutil
from pathlib import Path

from fastweights.errors import FastweightsError, NotFound
from fastweights.store import atomic, refs
from fastweights.store.commits import Commit
from fastweights.store.fsck_base import Checks
from fastweights.store.meta import META, Meta
from fastweights.store.objects import sha256
from fastweights.store.rebuild import commits_by_session, rebuild_meta, was_whole
from fastweights.store.sessions import LOCK, Sessions


class SessionChecks(Checks):
    """Of sessions of any kind."""

    def _session(self, sessions: Sessions, name: str) -> None:
        self.report.checked["sessions"] += 1
        folder, lock = sessions.path(name), sessions.path(name, LOCK)
        if not sessions.path(name, META).exists() and not was_whole(sessions, name, self._own(sessions, name)):
            self.report.checked["sessions"] -= 1
            if not self._busy(lock):
                self._found("note", folder, "no meta.json: creating it was cut off", lambda: shutil.rmtree(folder))
            return
        self._stale_lock(lock)
        lost = False
        try:
            meta = sessions.meta(name)
        except FastweightsError as error:
            if (restored := self._restore(sessions, name, error)) is None:
                self.unknown_use = True
                return
            meta, lost = restored, not self.report.findings[-1].repaired
        whole = True
        seen: set[str] = set()
        for start in refs.tips(meta):
            whole &= self._chain(sessions, name, start, meta.root, seen)
        if not whole or lost or self._busy(lock):
            return
        head = sessions.read(meta.head)
        if meta.turns != head.turn or meta.state_bytes != sessions.objects.size(head.state):
            self._found(
                "warning",
                folder / META,
                f"says {meta.turns} turns, its head says {head.turn}",
                lambda: sessions.rebuild_views(name),
            )
        path = [*sessions.history(head.id)][::-1]
        wanted = sessions.layout.state_views(sessions.state(head)) | sessions.layout.jsonl_bytes(path)
        wrong = [file for file, data in wanted.items() if _bytes(sessions.path(name, file)) != data]
        for file, sha in sessions.views.files(head).items():
            if _sha_of(sessions.path(name, *file.split("/"))) != sha:
                wrong.append(file)
        if wrong or meta.views is None:
            what = ", ".join(wrong) or "views"
            self._found(
                "warning", folder, f"{what} disagree with the head {head.id[:12]}", lambda: sessions.rebuild_views(name)
            )

    def _restore(self, sessions: Sessions, name: str, error: FastweightsError) -> Meta | None:
        """What meta.json must have said; with ``repair`` it is written. None if that cannot be told."""
        path = sessions.path(name, META)
        try:
            meta, source = rebuild_meta(sessions, name, self._own(sessions, name))
        except FastweightsError as why:
            self._found("error", path.parent, f"{error}; not rebuilt: {why}")
            return None
        what = f"{error}; can be rebuilt: head {meta.head[:12]} is {source}"
        self._found("warning", path.parent, what, lambda: sessions.restore(meta))
        return sessions.meta(name) if self.report.findings[-1].repaired else meta

    def _own(self, sessions: Sessions, name: str) -> list[Commit]:
        """The commits that the session made; looked for among all objects, once, and only where a record is missing."""
        if self.by_session is None:
            self.by_session = commits_by_session(sessions)
        return self.by_session.get(name, [])

    def _chain(self, sessions: Sessions, name: str, start: str, root: str, seen: set[str]) -> bool:
        """Whether every commit from ``start`` to the root, every state and file, is whole; marks them as used."""
        newest_whole: str | None = None
        bad: list[str] = []
        resets: list[str] = []
        last = start
        try:
            for commit in sessions.history(start):
                last = commit.id
                if last in seen:
                    last = root  # from here on it was looked at before
                    break
                seen.add(last)
                lost = self._lost(sessions, commit)
                bad += [f"{what} of turn {commit.turn} ({commit.id[:12]}) is missing or damaged" for what in lost]
                if not lost and newest_whole is None:
                    newest_whole = commit.id
                if commit.to is not None:
                    resets.append(commit.to)
            if last != root:
                bad.append(f"the history ends at {last[:12]}, not at the initial commit {root[:12]}")
        except FastweightsError as error:
            self.unknown_use = True
            bad.append(str(error))
        for problem in bad:
            hint = f"; newest whole commit: {newest_whole}" if newest_whole else ""
            self._found("error", f"{sessions.folder}/{name}", problem + hint)
        return all([not bad, *(self._chain(sessions, name, to, root, seen) for to in resets if to not in seen)])

    def _lost(self, sessions: Sessions, commit: Commit) -> list[str]:
        """What the commit refers to and cannot be read; marks all of it as used."""
        needed = {commit.state: f"state {commit.state[:12]}"} | {sha: f"file {f}" for f, sha in commit.files.items()}
        self.used |= {commit.id, *needed, *sessions.objects.behind(commit.state)}
        return [what for sha, what in needed.items() if sha in self.damaged or not sessions.objects.has(sha)]


def _sha_of(path: Path) -> str | None:
    data = _bytes(path)
    return None if data is None else sha256(data)


def _bytes(path: Path) -> bytes | None:
    try:
        return atomic.read_bytes(path)
    except NotFound:
        return None

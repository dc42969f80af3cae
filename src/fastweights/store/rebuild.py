"""A session whose ``meta.json`` is lost or damaged, put together again from its commits and views. Torch-free."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import orjson

from fastweights.errors import FastweightsError, NotFound
from fastweights.store import atomic, refs
from fastweights.store.commits import Commit, parse
from fastweights.store.index import INDEX
from fastweights.store.meta import Meta
from fastweights.store.objects import SHA
from fastweights.store.sessions import Sessions
from fastweights.store.views import TRACE


def rebuild_meta(sessions: Sessions, name: str, own: list[Commit]) -> tuple[Meta, str]:
    """What ``meta.json`` must have said, and from what that was concluded; :class:`NotFound` where nothing tells.

    The head: the last whole row of ``trace.jsonl`` whose history is whole, else the newest commit that the session
    made (``own``: all of those). Model and options: the initial commit's record, else what the listing's cache last
    saw, which also gives the tags.
    """
    cached = _cached(sessions, name)
    head, source = _head(sessions, name, own, cached)
    if head is None:
        raise NotFound("no commit of it can be found: restore meta.json from a backup")
    root = [*sessions.history(head.id)][-1]
    said = root.record.get("session")
    about: Mapping[str, Any] = said if isinstance(said, dict) else asdict(cached) if cached else {}
    if not isinstance(about.get("model"), str) or not isinstance(about.get("options"), dict):
        raise NotFound("its initial commit is of a version that kept no options: restore meta.json from a backup")
    meta = Meta(
        id=name, kind=sessions.kind, model=about["model"], options=about["options"], head=head.id, root=root.id,
        turns=head.turn, title=_title(sessions, head), created_at=root.created_at,
        updated_at=head.created_at, state_bytes=sessions.objects.size(head.state),
    )  # fmt: skip
    before = next((c for c in sessions.history(head.id) if c.session != name), None)
    if before is not None and root.session is not None:  # it began as a fork
        meta = replace(meta, parent_session=before.session, forked_from=before.id)
    if cached is not None and cached.root == root.id:
        kept = {key: getattr(cached, key) for key in ("title", "created_at", "parent_session", "forked_from")}
        meta = replace(
            meta, **kept, tags=_whole(sessions, cached.tags), left=[c for c in cached.left if _is_whole(sessions, c)]
        )
    else:
        source += "; tags and title are lost"
    known = {c.id for c in sessions.commits.reachable(refs.tips(meta))}
    parents = {c.parent for c in own}
    orphans = [c.id for c in own if c.id not in known and c.id not in parents]
    return replace(meta, left=[*meta.left, *orphans]), source


def commits_by_session(sessions: Sessions) -> dict[str, list[Commit]]:
    """Every whole commit among the objects, by the session that made it."""
    found: dict[str, list[Commit]] = {}
    for sha in sessions.objects:
        try:
            commit = parse(sha, sessions.objects.get(sha))
        except FastweightsError:
            continue
        if commit is not None and commit.session is not None:
            found.setdefault(commit.session, []).append(commit)
    return found


def was_whole(sessions: Sessions, name: str, own: list[Commit]) -> bool:
    """Whether a session without meta.json had one once: it was listed, or went on after it was made."""
    return _cached(sessions, name) is not None or any(c.kind not in ("init", "fork") for c in own)


def _head(sessions: Sessions, name: str, own: list[Commit], cached: Meta | None) -> tuple[Commit | None, str]:
    trace = _last_traced(sessions, name)
    candidates = [(trace, f"the last row of {TRACE}")] if trace else []
    if trace == "":  # it is whole and has no row: the head is the initial commit
        first = [c.id for c in own if c.kind == "init"] or ([cached.root] if cached else [])
        candidates += [(c, f"the empty {TRACE}") for c in first]
    newest = sorted(own, key=lambda c: c.created_at, reverse=True)
    candidates += [(c.id, "the newest commit that it made") for c in newest]
    if cached is not None:
        candidates.append((cached.head, "the head that the listing last saw"))
    for commit_id, source in candidates:
        try:
            chain = [*sessions.history(commit_id)]
            sessions.state(chain[0])
            return chain[0], source
        except FastweightsError:
            continue
    return None, ""


def _last_traced(sessions: Sessions, name: str) -> str | None:
    """The commit of the last whole row; "" if there is no row, None if there is no file or no whole row."""
    try:
        data = atomic.read_bytes(sessions.path(name, TRACE))
    except FastweightsError:
        return None
    if not data:
        return ""
    for line in reversed(data.split(b"\n")):
        try:
            commit = orjson.loads(line)["commit"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
        if isinstance(commit, str) and SHA.fullmatch(commit):
            return commit
    return None


def _cached(sessions: Sessions, name: str) -> Meta | None:
    """The record that ``index.json`` holds of the session; it may be old."""
    try:
        entries = atomic.read_json(sessions.store.path(sessions.folder, INDEX))["entries"]
        record = orjson.loads(entries[name]["record"])
        meta = Meta(**{f.name: record[f.name] for f in fields(Meta) if f.name in record})
    except (FastweightsError, KeyError, TypeError, orjson.JSONDecodeError):
        return None
    return meta if meta.id == name and isinstance(meta.tags, dict) and isinstance(meta.left, list) else None


def _title(sessions: Sessions, head: Commit) -> str:
    turns = sessions.commits.transcript(head.id)
    prompt = turns[0].record.get("prompt") if turns else None
    return " ".join(prompt.split())[:60] if isinstance(prompt, str) else ""


def _whole(sessions: Sessions, tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: commit for tag, commit in tags.items() if _is_whole(sessions, commit)}


def _is_whole(sessions: Sessions, commit: str) -> bool:
    try:
        return bool([*sessions.history(commit)])
    except FastweightsError:
        return False

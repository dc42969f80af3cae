"""Names of commits: ``head``, ``init``, a tag, an id or the first digits of one, each with ``~N``. Torch-free."""

import itertools
import re

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.store.commits import Commit, Commits
from fastweights.store.meta import Meta
from fastweights.store.objects import SHA

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHORT = 8
"""Digits of an id as it is shown."""
_LEAST = 4
_REF = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})(?P<back>(?:~[0-9]{0,6}|\^){0,16})")
_RESERVED = ("head", "init")


def check_tag(name: object) -> str:
    """``name`` if it can be a tag."""
    if not isinstance(name, str) or TAG.fullmatch(name) is None:
        raise FastweightsError(
            f"tag {str(name)[:80]!r} is not valid: use 1 to 64 letters, digits, . - _ (the first a letter or digit)"
        )
    if name.lower() in _RESERVED or SHA.fullmatch(name):
        raise FastweightsError(f"tag {name!r} means something already: choose another name")
    return name


def tips(meta: Meta) -> list[str]:
    """Where the walks over everything that the session remembers begin: its head, heads it left, tags."""
    return [*dict.fromkeys([meta.head, *meta.left, *meta.tags.values()])]


def resolve(commits: Commits, meta: Meta, ref: str) -> Commit:
    """The commit of the session that ``ref`` names.

    ``head``, ``init``, a tag, a full id, or at least four first digits of one, and ``~N`` behind it for the N-th parent
    (``^`` is ``~1``). :class:`NotFound` if there is none or more than one.
    """
    match = _REF.fullmatch(ref)
    if match is None:
        raise _none(meta, ref)
    commit = _named(commits, meta, match["name"], ref)
    back = sum(int(step[1:] or 1) if step[0] == "~" else 1 for step in re.findall(r"~[0-9]*|\^", match["back"]))
    at = next(itertools.islice(commits.history(commit.id), back, None), None) if back else commit
    if at is None:
        raise NotFound(f"{ref[:80]!r}: {match['name']} has fewer than {back} commits before it in session {meta.id!r}")
    return at


def _named(commits: Commits, meta: Meta, name: str, ref: str) -> Commit:
    if name in meta.tags:
        return commits.read(meta.tags[name])
    if name in ("head", "HEAD"):
        return commits.read(meta.head)
    if name == "init":
        return commits.read(meta.root)
    if SHA.fullmatch(name):
        return _of_the_tree(commits, meta, name)
    found = []
    if len(name) >= _LEAST and re.fullmatch(r"[0-9a-f]+", name):
        found = [c for c in commits.reachable(tips(meta)) if c.id.startswith(name)]
    if len(found) > 1:
        some = ", ".join(c.id[: len(name) + 4] for c in found[:4])
        raise NotFound(f"{ref[:80]!r} names {len(found)} commits of session {meta.id!r} ({some}): give more digits")
    if not found:
        raise _none(meta, ref)
    return found[0]


def _of_the_tree(commits: Commits, meta: Meta, commit_id: str) -> Commit:
    """The commit, if the session's initial commit is among its ancestors: forks of one tree share their past."""
    try:
        chain = [*commits.history(commit_id)]
    except (NotFound, Corrupt):
        chain = []
    if not chain or chain[-1].id != meta.root:
        raise _none(meta, commit_id)
    return chain[0]


def _none(meta: Meta, ref: str) -> NotFound:
    return NotFound(
        f"{ref[:80]!r} is no commit of session {meta.id!r}: `log --all` lists them (head, head~1, init, a tag, "
        f"or at least {_LEAST} digits of an id)"
    )

"""Git's verbs on the weights of a session, for the command group of any kind of session."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from fastweights.cli import output

if TYPE_CHECKING:
    from fastweights.services.verbs.records import (
        CommitInfo,
        SessionDiff,
        TensorChange,
        Verification,
        VerifiedCommit,
    )
    from fastweights.services.verbs.revert import RevertService

Service = Callable[[], "RevertService[Any]"]
COMMIT_NAMES = "Commits are named head, head~2, init, by a tag, or by the first digits of an id (four or more)."


def add_verbs(app: App, service: Service) -> None:
    """``log fork tag diff checkout reset revert verify`` on ``app``, over the sessions of ``service``."""
    for make in (_log, _fork, _tag, _diff, _checkout, _reset, _revert, _verify):
        app.command(make(service))


def note_damaged(service: "RevertService[Any]") -> None:
    """A notice for each session that a listing leaves out, since its ``meta.json`` cannot be read."""
    for name, why in service.sessions.damaged().items():
        output.current().notice(f"note: session {name} is left out: {why}")


def _log(service: Service) -> Callable[..., None]:
    def log(session: str, *, everything: Annotated[bool, Parameter("--all", negative="")] = False) -> None:
        """Every commit of a session, newest first; * marks the head.

        Parameters
        ----------
        session
            Session id.
        everything
            Also what only a tag or an earlier head (before a checkout) reaches.
        """
        commits = service().log(session, everything=everything)
        head = ("", "commit", "kind", "turn", "committed", "blocked", "rolled back", "drift", "time", "tags", "summary")
        output.current().emit(commits, lambda: output.table(map(_row, commits), head))

    return log


def _row(c: "CommitInfo") -> tuple[Any, ...]:
    counts = (c.committed, c.blocked, c.rolled_back)
    mark = "*" if c.head else ""
    return (mark, c.short, c.kind, c.turn, *counts, c.drift, c.created_at[:19], " ".join(c.tags) or None, c.summary)


def _fork(service: Service) -> Callable[..., None]:
    def fork(
        session: str,
        *,
        name: str | None = None,
        at: str | None = None,
        keep_momentum: Annotated[bool, Parameter("--keep-momentum", negative="--no-momentum")] = True,
    ) -> None:
        """A new session at another's head, or at one of its commits.

        Parameters
        ----------
        session
            Session to fork.
        name
            Id of the new session (default: made up).
        at
            Commit (head, head~2, init, a tag, the first digits of an id).
        keep_momentum
            Take the rule's memory along, or begin it anew.
        """
        info = service().fork(session, name, at, keep_momentum=keep_momentum)
        output.current().emit(info, lambda: info.session_id)

    return fork


def _tag(service: Service) -> Callable[..., None]:
    def tag(
        session: str,
        name: str | None = None,
        *,
        at: str | None = None,
        delete: Annotated[bool, Parameter(["--delete", "-d"], negative="")] = False,
    ) -> None:
        """Name a commit; without a name, list the tags.

        Parameters
        ----------
        session
            Session id.
        name
            Letters, digits, . - _
        at
            Commit (default: the head).
        delete
            Delete the tag; the commit stays.
        """
        if name is None:
            if delete or at is not None:
                raise output.UsageError("tag: give the name of a tag")
            tags = service().tags(session)
            rows = ((t.tag, t.commit) for t in tags)
            output.current().emit(tags, lambda: output.table(rows, ("tag", "commit")) if tags else "no tags")
            return
        if delete and at is not None:
            raise output.UsageError("tag: --delete takes no --at")
        info = service().untag(session, name) if delete else service().tag(session, name, at)
        done = "deleted, it named" if delete else "->"
        output.current().emit(info, lambda: f"{info.session_id}: {info.tag} {done} {info.commit[:12]}")

    return tag


def _diff(service: Service) -> Callable[..., None]:
    def diff(session: str, a: str | None = None, b: str | None = None, *, other: str | None = None) -> None:
        """What changed between two states: every tensor, the guard's figures, the turns in between.

        Parameters
        ----------
        session
            Session id.
        a
            From this commit (default: init; with --other: head).
        b
            To this commit (default: head).
        other
            Session that B belongs to (default: the same).
        """
        found = service().diff(session, a, b, other)
        output.current().emit(found, lambda: _describe_diff(found))

    return diff


def _describe_diff(d: "SessionDiff") -> str:
    figures = [f"L2 {d.l2:.4g}", f"max {d.max:.4g}"]
    figures += [f"relative {d.relative:.4g}"] if d.relative is not None else []
    figures += [f"cosine {d.cosine:.6f}"] if d.cosine is not None else []
    text = [
        f"{d.session_id} {d.a.short} -> {d.other_id} {d.b.short}: {', '.join(figures)}",
        output.table(
            map(_tensor_row, d.tensors),
            ("tensor", "L2", "max", "relative", "cosine", "rows changed", "most changed rows"),
        ),
        output.table(((n.name, n.a, n.b, n.change) for n in d.numbers), ("figure", "A", "B", "change")),
    ]
    for title, commits in ((f"only in {d.a.short}", d.a_only), (f"only in {d.b.short}", d.b_only)):
        if commits:
            text.append("\n".join([f"{title}:", *(f"  {c.short} {c.kind} {c.turn}  {c.summary}" for c in commits)]))
    return "\n\n".join(text)


def _tensor_row(t: "TensorChange") -> tuple[Any, ...]:
    rows = None if t.rows is None else f"{t.changed_rows}/{t.rows}"
    top = " ".join(f"{r.row}:{r.l2:.3g}" for r in t.top_rows) or None
    return (f"{t.part}/{t.name}", t.l2, t.max, t.relative, t.cosine, rows, top)


def _checkout(service: Service) -> Callable[..., None]:
    def checkout(session: str, commit: str) -> None:
        """Move the head to a commit; the head that it leaves stays in `log --all`.

        Parameters
        ----------
        session
            Session id.
        commit
            head~2, init, a tag, or the first digits of an id (four or more).
        """
        info = service().checkout(session, commit)
        output.current().emit(info, lambda: f"{info.session_id}: head {info.head[:12]}")

    return checkout


def _reset(service: Service) -> Callable[..., None]:
    def reset(session: str, *, to: str | None = None) -> None:
        """A new commit with an earlier state; the history stays in the log.

        Parameters
        ----------
        session
            Session id.
        to
            Commit whose state is taken (default: the initial one).
        """
        info = service().reset(session, to)
        output.current().emit(info, lambda: f"{info.session_id}: reset, head {info.head[:12]}")

    return reset


def _revert(service: Service) -> Callable[..., None]:
    def revert(session: str, turn: str) -> None:
        """A new commit with the state as if one turn had never been learned from; the history stays.

        The others are computed again from what they recorded. A text session's turn is left out wholly, as if it had
        never been sent: the messages after it are read again, and their replies drawn again with their seeds. A run of
        Nano is lived through, but read without learning. To take a revert back, revert its commit.

        Parameters
        ----------
        session
            Session id.
        turn
            The number of a turn or run (`show`), or a commit: a turn, a run, or another revert.
        """
        info = service().revert(session, turn)
        output.current().emit(info, lambda: f"{info.session_id}: reverted, head {info.head[:12]}")

    return revert


def _verify(service: Service) -> Callable[..., None]:
    def verify(session: str, commit: str | None = None, *, without: str | None = None) -> None:
        """Recompute commits from their recorded inputs and compare bit for bit. Exit code 1 unless all are the same.

        Parameters
        ----------
        session
            Session id.
        commit
            One commit (default: the head's whole history).
        without
            Instead: whether the head equals, bit for bit, a session that never saw this turn or run (its number, or its
            commit), which is computed from the initial state on.
        """
        shared = output.current()

        def told(done: "VerifiedCommit") -> None:
            if not shared.json:
                output.write(_describe_verified(done) + "\n")

        if without is not None:
            if commit is not None:
                raise output.UsageError("verify: give a commit or --without, one of the two")
            result = service().verify_without(session, without)
            for done in result.commits:
                told(done)
        else:
            result = service().verify(session, commit, told)
        for note in result.notes:
            shared.notice(f"note: {note}")
        shared.emit(result, lambda: _describe_verification(result))
        if not result.ok:
            raise output.Exit(output.FAILED)

    return verify


def _describe_verification(v: "Verification") -> str:
    if v.without is not None:
        w = v.without
        same = "the head equals" if v.ok else "the head is not"
        return (
            f"{v.session_id}: {same} a session that never saw {w.kind} {w.turn} ({w.turns} others, from the start on)"
        )
    counts = ((v.differs, "differ"), (v.damaged, "damaged"), (v.unverifiable, "unverifiable"))
    rest = "".join(f", {n} {what}" for n, what in counts if n)
    return f"{v.session_id}: {v.verified} of {len(v.commits)} verified{rest}"


def _describe_verified(c: "VerifiedCommit") -> str:
    return f"{c.short} {c.kind} {c.turn}: {c.status}" + (f": {c.problem}" if c.problem else "")

"""Git's verbs on the weights of a session, for the router of any kind of session."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query

from fastweights.server.deps import ID_PATTERN, Services, Use
from fastweights.server.schemas import (
    CheckoutRequest,
    ForkRequest,
    Ref,
    ResetRequest,
    RevertRequest,
    TagRequest,
    VerifyRequest,
)
from fastweights.server.streams import in_thread
from fastweights.services.verbs.records import CommitInfo, SessionDiff, TagInfo, Verification

if TYPE_CHECKING:
    from fastweights.services.verbs.revert import RevertService

SessionId = Annotated[str, Path(pattern=ID_PATTERN)]
OtherId = Annotated[str, Query(pattern=ID_PATTERN)]
Commit = Annotated[Ref, Query()]


def add_verbs(router: APIRouter, service: "Callable[[Services], RevertService[Any]]", info: type) -> None:
    """``/{session_id}/log fork tags tag diff checkout reset revert verify`` on ``router``.

    ``info``: the record that the service gives for a session.
    """

    def verb(method: str, path: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return router.api_route(f"/{{session_id}}/{path}", methods=[method], **kwargs)

    @verb("GET", "log", response_model=list[CommitInfo])
    async def log(session_id: SessionId, services: Use, everything: Annotated[bool, Query(alias="all")] = False) -> Any:
        """Every commit from the head back to the initial state; `all`: also what only tags or earlier heads reach."""
        return await in_thread(services, lambda: service(services).log(session_id, everything=everything))

    @verb("POST", "fork", status_code=201, response_model=info)
    async def fork(session_id: SessionId, services: Use, body: ForkRequest | None = None) -> Any:
        """A new session from the head of this one, or from one of its commits."""
        wanted = body or ForkRequest()
        return await in_thread(
            services,
            lambda: service(services).fork(session_id, wanted.name, wanted.at, keep_momentum=wanted.keep_momentum),
        )

    @verb("GET", "tags", response_model=list[TagInfo])
    async def tags(session_id: SessionId, services: Use) -> Any:
        """The tags of a session."""
        return await in_thread(services, lambda: service(services).tags(session_id))

    @verb("POST", "tag", response_model=TagInfo)
    async def tag(session_id: SessionId, body: TagRequest, services: Use) -> Any:
        """Name a commit, or take a tag away."""
        if body.delete:
            return await in_thread(services, lambda: service(services).untag(session_id, body.name))
        return await in_thread(services, lambda: service(services).tag(session_id, body.name, body.at))

    @verb("GET", "diff", response_model=SessionDiff)
    async def diff(
        session_id: SessionId, services: Use, a: Commit | None = None, b: Commit | None = None,
        other: OtherId | None = None,
    ) -> Any:  # fmt: skip
        """What changed from commit `a` (init; with `other`: head) to commit `b` (head) of this session or `other`."""
        return await in_thread(services, lambda: service(services).diff(session_id, a, b, other))

    @verb("POST", "checkout", response_model=info)
    async def checkout(session_id: SessionId, body: CheckoutRequest, services: Use) -> Any:
        """Move the head to a commit; the head that it leaves stays in the log of all."""
        return await in_thread(services, lambda: service(services).checkout(session_id, body.commit))

    @verb("POST", "reset", response_model=info)
    async def reset(session_id: SessionId, services: Use, body: ResetRequest | None = None) -> Any:
        """Back to the state of a commit (default: the initial one), as a new commit: the history stays."""
        to = body.to if body else None
        return await in_thread(services, lambda: service(services).reset(session_id, to))

    @verb("POST", "revert", response_model=info)
    async def revert(session_id: SessionId, body: RevertRequest, services: Use) -> Any:
        """A new commit with the state as if one turn or run had never been learned from; the history stays."""
        return await in_thread(services, lambda: service(services).revert(session_id, body.commit))

    @verb("POST", "verify", response_model=Verification)
    async def verify(session_id: SessionId, services: Use, body: VerifyRequest | None = None) -> Any:
        """Recompute commits from their recorded inputs and compare bit for bit; or, `without` a turn, whether the head
        equals a session that never saw it."""
        asked = body or VerifyRequest()
        if asked.without is not None:
            without = asked.without
            return await in_thread(services, lambda: service(services).verify_without(session_id, without))
        return await in_thread(services, lambda: service(services).verify(session_id, asked.commit))

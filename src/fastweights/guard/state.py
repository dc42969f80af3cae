"""What the guard remembers of a session, and the session value itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fastweights.core.state import FastState


@dataclass(frozen=True)
class GuardState:
    """Histories that decide about the next chunk. Plain floats: persisted as JSON, so a replay sees the same guard.

    ``origin`` and ``current`` are canary losses in nats per token: at the root session's initial state (forks inherit
    it) and under the weights now. ``deltas`` are the largest canary rises of the latest committed writes, oldest first;
    ``cusum`` is each canary's one-sided cumulative sum of rises (nats). ``tail`` is the end of the text read so far, so
    that a check sees what straddles two chunks.
    """

    origin: Mapping[str, float] = field(default_factory=dict)
    current: Mapping[str, float] = field(default_factory=dict)
    deltas: tuple[float, ...] = ()
    cusum: Mapping[str, float] = field(default_factory=dict)
    tail: str = ""
    chunks: int = 0
    tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "deltas": list(self.deltas)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "GuardState":
        current: dict[str, float] = dict(data["current"])
        cusum: Any = data.get("cusum", {})  # in old sessions one sum for all
        return GuardState(
            origin=dict(data["origin"]),
            current=current,
            deltas=tuple(data["deltas"]),
            cusum=dict(cusum) if isinstance(cusum, Mapping) else dict.fromkeys(current, float(cusum)),
            tail=data.get("tail", ""),
            chunks=data["chunks"],
            tokens=data["tokens"],
        )


@dataclass(frozen=True)
class Session:
    """The value that is stored, forked and reverted: fast weights with their reader, and the guard's memory of them."""

    fast: FastState
    guard: GuardState

"""A TTT-E2E model that learns as it reads, token by token: constant cost and memory a token.

Tokens are read with the fast weights as they are. Once a chunk of the config's inner loop is full and the token after
it is known, the chunk's one write goes through ``Guard.step``. Legend: D channels, T tokens of a chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastweights.core.chunks import next_token_chunks
from fastweights.core.state import Chunk
from fastweights.core.tree import leaves
from fastweights.guard.guard import Guard
from fastweights.guard.policy import Policy
from fastweights.guard.state import Session
from fastweights.models.e2e import Carry, E2EReader, E2ETransformer, e2e_learner
from fastweights.models.e2e_decode import Array, E2EDecoder


@dataclass(frozen=True, eq=False)
class Place:
    """Where a stream stands. ``session``: before the open chunk, of which ``ids`` were read."""

    session: Session
    ids: tuple[int, ...]
    stem_TD: Array
    carry: Carry


class E2EStream:
    """One sequence from its first token. ``guard``: of its writes; none: one without canaries, which refuses nothing
    but figures that are not finite. The methods are those of a decoder (:mod:`fastweights.models.decoding`)."""

    def __init__(self, lm: E2ETransformer, bos: int, guard: Guard | None = None) -> None:
        self.learner = e2e_learner(lm, bos)
        assert isinstance(self.learner.model, E2EReader)
        self.reader = self.learner.model
        self.guard = guard or Guard(Policy(), score_after=False)
        self.decoder = E2EDecoder(lm)
        self.chunk = lm.config.inner.chunk
        self._stem_TD = np.zeros((self.chunk, lm.config.dim), np.float32)
        self._ids: list[int] = []
        self._begin(self.guard.begin(self.learner, self.learner.init()))

    @property
    def state_bytes(self) -> int:
        """Of all that is kept between two tokens: fast weights, windows (now and before the open chunk), the chunk."""
        before = sum(leaf.nbytes for _, leaf in leaves(self.session.fast.carry) if isinstance(leaf, torch.Tensor))
        return self.decoder.state_bytes + before + self._stem_TD.nbytes + 8 * self.chunk

    def _begin(self, session: Session) -> None:
        """An empty chunk after what ``session`` has read."""
        self.session, self._ids = session, []
        self.decoder.load(self.reader.lm_carry(session.fast))

    def read(self, ids: Sequence[int]) -> None:
        """Reads on: whole chunks at once, what remains token by token."""
        ids = list(ids)
        while not self._ids and len(ids) > self.chunk:
            (chunk,) = next_token_chunks(ids[0], ids[1 : self.chunk + 1], self.chunk)
            self._begin(self.guard.step(self.learner, self.session, chunk).session)
            ids = ids[self.chunk :]
        for token in ids:
            self.step(token)

    def step(self, token: int) -> Array:
        """Reads one token and returns ``h_D``; learns first from the chunk before it, if it was full."""
        self.settle(token)
        h_D = self.decoder.step(token)
        self._stem_TD[len(self._ids)] = self.decoder.stem_D
        self._ids.append(token)
        return h_D

    def logits(self, h_D: NDArray[np.floating]) -> Array:
        return self.decoder.logits(h_D)

    def settle(self, following: int) -> bool:
        """If the open chunk is full: its write (its stem was read already), now that the token after it is known."""
        if len(self._ids) < self.chunk:
            return False
        (chunk,) = next_token_chunks(self._ids[0], [*self._ids[1:], following], self.chunk)
        weight = self.reader.lm.head.weight
        features = {
            "x_BTD": torch.from_numpy(self._stem_TD.copy())[None].to(weight),
            "stem": self.reader.split(self._windows())["stem"],
            "position_B": self.session.fast.carry["stem"]["position"],
        }
        self._begin(self.guard.step(self.learner, self.session, _with(chunk, features)).session)
        return True

    def _windows(self) -> Carry:
        own = self.reader.lm.fast_names
        return {name: value for name, value in self.decoder.carry().items() if name not in own}

    def load(self, carry: Place) -> None:
        """Continue from another place."""
        self._begin(carry.session)
        self._ids = [*carry.ids]
        self._stem_TD[: len(carry.ids)] = carry.stem_TD
        self.decoder.load(carry.carry)

    def carry(self) -> Place:
        """Where it stands: a value."""
        stem_TD = self._stem_TD[: len(self._ids)].copy()
        return Place(self.session, tuple(self._ids), stem_TD, self.decoder.carry())


def _with(chunk: Chunk, features: dict[str, Any]) -> Chunk:
    return chunk._replace(inputs={**chunk.inputs, "features": features})

"""A lean decoder for a model of any kind."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastweights.models.e2e import E2ETransformer
from fastweights.models.e2e_decode import E2EDecoder
from fastweights.models.recurrent_learner import StillDecoder
from fastweights.models.registry import LanguageModel
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_decode import Decoder
from fastweights.models.ttt_lm_decode import TTTDecoder


class SequenceDecoder(Protocol):
    """One sequence, token by token: what draws a reply."""

    def load(self, carry: Any) -> None: ...
    def carry(self) -> Any: ...
    def step(self, token: int) -> NDArray[np.floating]: ...
    def logits(self, h_D: NDArray[np.floating]) -> NDArray[np.floating]: ...


AnyDecoder = Decoder | TTTDecoder | StillDecoder | E2EDecoder


def decoder_for(lm: LanguageModel) -> AnyDecoder:
    """One sequence's decoder: ``load`` a carry, ``step`` token by token, ``logits`` of what it returns."""
    if isinstance(lm, E2ETransformer):
        return E2EDecoder(lm)
    return Decoder(lm) if isinstance(lm, TinyLM) else TTTDecoder(lm)

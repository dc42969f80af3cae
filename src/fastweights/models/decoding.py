"""A lean decoder for a model of any kind."""

from fastweights.models.recurrent_learner import StillDecoder
from fastweights.models.registry import LanguageModel
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_decode import Decoder
from fastweights.models.ttt_lm_decode import TTTDecoder

AnyDecoder = Decoder | TTTDecoder | StillDecoder


def decoder_for(lm: LanguageModel) -> AnyDecoder:
    """One sequence's decoder: ``load`` a carry, ``step`` token by token, ``logits`` of what it returns."""
    return Decoder(lm) if isinstance(lm, TinyLM) else TTTDecoder(lm)

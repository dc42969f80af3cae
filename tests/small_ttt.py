"""Random, untrained TTT models: a few thousand parameters whose fast weights matter for every answer."""

import torch

from fastweights.data.tokenizer import ByteTokenizer
from fastweights.layers.ttt_config import TTTConfig, official
from fastweights.models.ttt_lm import TTTLM
from fastweights.models.ttt_lm_config import TTTLMConfig
from fastweights.store.root import Store
from tests.small_models import save_model

MIXERS = {
    "lab": TTTConfig(dim=16, heads=2, chunk=4, eta_base=0.5),
    "official": official(dim=16, heads=2, chunk=4),
    "mamba": official(dim=16, heads=2, chunk=4, gate=True, share_qk_conv=True, pre_conv=True),
    "mlp": official(dim=16, heads=2, chunk=4, inner="mlp", eta_base=0.1),
}


def random_ttt(variant: str = "lab", *, vocab: int = ByteTokenizer.vocab_size, seed: int = 0, layers: int = 2) -> TTTLM:
    """In eval mode, every parameter random, so that what it answers depends on all of its state."""
    return _random(MIXERS[variant], vocab, seed, layers)


def steady_ttt() -> TTTLM:
    """The lab's variant with a W0 that is large against a chunk's steps, as training makes it: writes add up."""
    model = _random(MIXERS["lab"].model_copy(update={"eta_base": 0.1}), ByteTokenizer.vocab_size, 0, 2)
    for block in model.blocks:
        block.mixer.get_parameter("W1").mul_(10)
    return model


def _random(mixer: TTTConfig, vocab: int, seed: int, layers: int) -> TTTLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TTTLM(TTTLMConfig(vocab_size=vocab, layers=layers, mixer=mixer, mlp_hidden=24))
        with torch.no_grad():
            for p in model.parameters():
                p += torch.randn(p.shape) * 0.1
    return model.eval().requires_grad_(False)


def save_random_ttt(store: Store, model_id: str = "ttt", variant: str = "lab", *, text: bool = True, **of: int) -> str:
    """The same in a store; ``text=False``: one without a tokenizer."""
    return save_model(store, model_id, random_ttt(variant, **of), text=text)

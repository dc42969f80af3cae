"""The mix's compiled loops over hashed tables against its plain definition: losses, and all that was learned."""

from dataclasses import replace
from importlib import resources
from itertools import chain, cycle

import numpy as np
import pytest
import torch

from fastweights.core.rules import SGD
from fastweights.core.state import Chunk
from fastweights.data.bpe import BPETokenizer
from fastweights.data.tokenizer import ByteTokenizer, Tokenizer
from fastweights.models.memory.build import beside_head
from fastweights.models.memory.naive import NaiveMix
from fastweights.models.memory.online_mix import GATE, LOGIT, MAP, RUN, OnlineMix
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig

TINY = (resources.files("fastweights.data") / "assets" / "tiny.txt").read_bytes()
TEXT = TINY[20_000:20_180] + TINY[20_000:20_120] + 40 * b"ab"
SIZES = (1, 7, 64, 3, 30)


@pytest.fixture(scope="module", params=["byte", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return ByteTokenizer() if request.param == "byte" else BPETokenizer.train([TINY], 400)


def pair(name: str, tokenizer: Tokenizer) -> tuple[OnlineMix, NaiveMix]:
    """With tables so large that no two contexts of the text share an entry."""
    torch.manual_seed(0)
    lm = TinyLM(TinyLMConfig(vocab_size=tokenizer.vocab_size, dim=16, layers=1)).eval().requires_grad_(False)
    torch.nn.init.normal_(lm.head.weight, std=0.3)
    fast = beside_head(name, lm, tokenizer, SGD(0.1))
    assert isinstance(fast, OnlineMix)
    fast = replace(fast, config=replace(fast.config, bits=24))
    return fast, NaiveMix(fast, [tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)])


def ragged(tokenizer: Tokenizer, *, masked: bool) -> list[Chunk]:
    """Of several sizes; ``masked``: a third of the tokens does not count, and none of some whole chunks."""
    stream, sizes = torch.tensor([tokenizer.bos_id, *tokenizer.encode_bytes(TEXT)]), cycle(SIZES)
    counts = torch.from_numpy(np.random.default_rng(0).random(len(stream)) < (2 / 3 if masked else 2))
    found: list[Chunk] = []
    at = 0
    while at + 1 < len(stream):
        size = min(next(sizes), len(stream) - 1 - at)
        mask = counts[at : at + size] & (not masked or size != 3)
        found.append(Chunk(stream[None, at : at + size], stream[None, at + 1 : at + size + 1], mask[None]))
        at += size
    return found


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["ngram", "mix"])
def test_it_is_the_naive_mix(tokenizer: Tokenizer, name: str, masked: bool) -> None:
    fast, naive = pair(name, tokenizer)
    state, losses = fast.init(), []
    for chunk in ragged(tokenizer, masked=masked):
        score, proposal = float(fast.score(state, chunk)), fast.propose(state, chunk)
        losses.append((score, naive.score(chunk), float(proposal.output.loss_B), naive.read(chunk)))
        state = proposal.after
    counts, values = (table.entries() for table in (state.rule["count"][LOGIT], state.weights[LOGIT]))
    runs = state.weights[RUN].entries()
    held = len(counts["rows"]), len(runs["rows"])
    assert held == (len(naive.entries), len(naive.runs)), "two contexts share an entry: choose another text"
    score, naive_score, loss, naive_loss = zip(*losses, strict=True)
    np.testing.assert_allclose(score, naive_score, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loss, naive_loss, rtol=1e-5, atol=1e-5)
    gate_RC = state.weights[GATE][0]
    torch.testing.assert_close(gate_RC, torch.tensor([*chain(*naive.weight_SRC)]), rtol=1e-5, atol=1e-5)
    alike(counts["values"], [count for _, count in naive.entries.values()])
    alike(values["values"], [odds for odds, _ in naive.entries.values() if abs(odds) > 1e-4])
    alike(runs["values"], [float(np.log1p(run / 0.3)) for _, run in naive.runs.values()])
    if name == "mix":
        added_VD = state.weights[MAP][0] @ fast.adapter.white_DF.mT  # in the order of leaves
        torch.testing.assert_close(added_VD[fast.tree.rank_V], naive.map_VD @ naive.white_DD, rtol=1e-3, atol=1e-5)


def alike(got_1N: torch.Tensor, want: list[float]) -> None:
    """In any order; a number that is even up to rounding is none."""
    held = got_1N[0].numpy().astype(np.float64)
    np.testing.assert_allclose(np.sort(held[np.abs(held) > 1e-4]), np.sort(want), rtol=1e-4, atol=1e-4)

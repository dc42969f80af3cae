"""A stream that learns as it reads, token by token, is the batch that does; its state never grows."""

import numpy as np
import pytest
import torch

from fastweights.models.e2e_stream import E2EStream
from fastweights.train.meta import read_adapting
from tests.small_e2e import CHUNK, random_e2e

LENGTH = 5 * CHUNK + 3


def ids(length: int = LENGTH) -> list[int]:
    return torch.randint(257, (length + 1,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("words", ["feed_forward_prime", "suffix_blocks,ln_f,head"])
@pytest.mark.parametrize("window", [3, CHUNK, 2 * CHUNK + 1])
def test_streamed_logits_are_those_of_the_batch(words: str, window: int) -> None:
    """Windows smaller than the chunk, too."""
    lm, text = random_e2e(ttt_param_filter=words, window=window), ids()
    want, losses = read_adapting(lm, torch.tensor([text[:-1]]), torch.tensor([text[1:]]))
    assert losses.shape[1] == 6
    stream = E2EStream(lm, 256)
    got = []
    for token in text[:-1]:
        if len(got) in (CHUNK // 2, CHUNK, 2 * CHUNK):
            stream.load(stream.carry())  # anywhere
        got.append(stream.logits(stream.step(token)))
    np.testing.assert_allclose(np.stack(got), want[0].numpy(), rtol=1e-4, atol=1e-4)
    still, _ = read_adapting(lm, torch.tensor([text[:-1]]), torch.tensor([text[1:]]), updates=False)
    assert float((still - want).abs().max()) > 1e-2
    for cut in (1, CHUNK, 3 * CHUNK, 3 * CHUNK + 1):
        other = E2EStream(lm, 256)
        other.read(text[:cut])
        np.testing.assert_allclose(
            other.logits(other.step(text[cut])), want[0, cut].numpy(), rtol=1e-4, atol=1e-4, err_msg=str(cut)
        )


def test_the_state_is_of_constant_size() -> None:
    stream, sizes = E2EStream(random_e2e(), 256), set()
    for token in ids():
        stream.step(token)
        sizes.add(stream.state_bytes)
    assert len(sizes) == 1
    assert stream.session.fast.step == 5


def test_a_place_is_a_value() -> None:
    lm, text = random_e2e(), ids()
    stream = E2EStream(lm, 256)
    stream.read(text[: 2 * CHUNK + 3])
    place = stream.carry()
    rows = []
    for _ in range(2):
        stream.load(place)
        rows.append([stream.logits(stream.step(token)) for token in text[2 * CHUNK + 3 :]])
    first, again = map(np.stack, rows)
    np.testing.assert_array_equal(first, again)

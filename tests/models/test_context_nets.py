"""Memories: identity at the start, one sequence a slice, numpy equal to torch."""

import numpy as np
import pytest
import torch

from fastweights.models.memory.context_nets import LinearContext, LowRankContext, Memory, build_memory

MEMORIES = {"linear": LinearContext(8), "low_rank": LowRankContext(8, 3)}
memories = pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)


def _random(memory: Memory, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(w.shape, generator=generator) for k, w in memory.init(batch).items()}


@memories
def test_fresh_weights_change_nothing(memory: Memory) -> None:
    h_BTD = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(memory.read(memory.init(2), h_BTD), h_BTD)
    assert all(w.dtype == torch.float32 and w.shape[0] == 2 for w in memory.init(2).values())


@memories
def test_fresh_weights_can_learn(memory: Memory) -> None:
    weights = {k: w.requires_grad_(True) for k, w in memory.init(1).items()}
    h_BTD = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    grads = torch.autograd.grad(memory.read(weights, h_BTD).square().sum(), list(weights.values()))
    assert sum(float(g.abs().sum()) for g in grads) > 0


@memories
def test_each_sequence_reads_its_own_slice(memory: Memory) -> None:
    weights, h_BTD = _random(memory, 3), torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))
    together = memory.read(weights, h_BTD)
    for i in range(3):
        alone = memory.read({k: w[i : i + 1] for k, w in weights.items()}, h_BTD[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


@memories
def test_reader_equals_read(memory: Memory) -> None:
    weights = _random(memory, 1)
    h_D = np.random.default_rng(0).standard_normal(8).astype(np.float32)
    expected = memory.read(weights, torch.from_numpy(h_D)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(memory.reader(weights)(h_D), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="follows one sequence"):
        memory.reader(_random(memory, 2))


def test_names_and_ranks_are_checked() -> None:
    assert build_memory("low_rank", 8, 2) == LowRankContext(8, 2)
    with pytest.raises(ValueError, match="'attention' is not known"):
        build_memory("attention", 8, 2)
    with pytest.raises(ValueError, match=r"rank is 9; it must lie in \[1, 8\]"):
        build_memory("low_rank", 8, 9)

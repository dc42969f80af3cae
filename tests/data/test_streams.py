"""Streams: contiguous, a function of the window's number alone, another cut each epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastweights.data.streams import Samples, Streams
from fastweights.errors import FastweightsError

BOS = 60000


def make(n: int = 1000, batch: int = 3, seq: int = 7, seed: int = 0) -> Streams:
    return Streams(np.arange(n, dtype=np.uint16), batch, seq, BOS, seed)


def test_each_row_reads_on_where_it_stopped() -> None:
    streams = make()
    x, y, fresh = streams.window(0)
    assert fresh
    assert x.shape == y.shape == (3, 7)
    assert x.dtype == y.dtype == np.int64
    assert (x[:, 0] == BOS).all()
    assert (x[:, 1:] == y[:, :-1]).all()
    last = y
    for i in range(1, streams.windows_per_epoch):
        x, y, fresh = streams.window(i)
        assert not fresh
        assert (x[:, 0] == last[:, -1]).all()  # the last target of a window is the first input of the next
        assert (y == (last + 7) % 1000).all()
        last = y


def test_an_epoch_reads_nothing_twice_and_leaves_out_less_than_a_window_a_stream() -> None:
    streams = make()
    for epoch in range(3):
        start = epoch * streams.windows_per_epoch
        seen = np.concatenate([streams.window(start + i)[1].ravel() for i in range(streams.windows_per_epoch)])
        assert len(np.unique(seen)) == len(seen) > 1000 - 3 * (7 + 1)


def test_epochs_start_at_different_places() -> None:
    streams = make()
    starts = {int(streams.window(e * streams.windows_per_epoch)[1][0, 0]) for e in range(8)}
    assert len(starts) > 4
    assert all(streams.window(e * streams.windows_per_epoch)[2] for e in range(8))


@given(i=st.integers(0, 500), other=st.integers(0, 500), seed=st.integers(0, 2**31 - 1))
def test_a_window_does_not_depend_on_what_was_read_before(i: int, other: int, seed: int) -> None:
    fresh, used = make(seed=seed), make(seed=seed)
    used.window(other)
    for a, b in zip(fresh.window(i), used.window(i), strict=True):
        assert np.array_equal(a, b)


def test_the_seed_decides() -> None:
    one, two = make(seed=1), make(seed=2)
    second = one.windows_per_epoch
    assert not np.array_equal(one.window(second)[1], two.window(second)[1])


def test_the_first_epoch_reads_in_order() -> None:
    for seed in (1, 2):
        streams = make(seed=seed)
        assert np.array_equal(streams.window(0)[1][0], streams.ids[: streams.seq_len])


def test_too_few_tokens() -> None:
    make(n=21)
    with pytest.raises(FastweightsError, match=r"corpus of 20 tokens is shorter than one sequence"):
        make(n=20)


# ---------------------------------------------------------------- samples


def deal(n: int = 1000, batch: int = 2, seq: int = 7, seed: int = 0, rank: int = 0, world: int = 1) -> Samples:
    return Samples(np.arange(n, dtype=np.uint16), batch, seq, seed, rank=rank, world=world)


def test_a_sample_is_a_stretch_and_its_targets_are_one_on() -> None:
    x, y, fresh = deal().window(4)
    assert fresh
    assert x.shape == y.shape == (2, 7)
    assert x.dtype == y.dtype == np.int64
    assert (y == x + 1).all()
    assert (np.diff(x, axis=1) == 1).all()


def test_an_epoch_deals_out_every_window_once() -> None:
    samples = deal()
    for epoch in range(3):
        starts = [samples.start(epoch * samples.per_epoch + i) for i in range(samples.per_epoch)]
        assert sorted(starts) == list(range(min(starts), min(starts) + 7 * len(starts), 7))
        assert starts != sorted(starts)
        assert max(starts) + 7 < 1000
    assert len({samples.start(n) for n in range(3 * samples.per_epoch)}) > samples.per_epoch  # another cut each time


@given(n=st.integers(0, 5000), other=st.integers(0, 5000), seed=st.integers(0, 2**31 - 1))
def test_a_sample_is_a_function_of_seed_and_number(n: int, other: int, seed: int) -> None:
    used = deal(seed=seed)
    used.start(other)
    assert used.start(n) == deal(seed=seed).start(n)
    assert 0 <= used.start(n) <= 1000 - 8


@pytest.mark.parametrize("worlds", [(1, 2), (2, 4), (4, 3), (1, 6)])
def test_what_is_read_does_not_depend_on_how_many_read_it(worlds: tuple[int, int]) -> None:
    """Batches of 12 over all processes, also where another number of them goes on from a position."""

    def read(world: int, at: int) -> list[int]:
        parts = [deal(batch=12 // world, rank=rank, world=world) for rank in range(world)]
        assert {part.stride for part in parts} == {12}
        return sorted(int(i) for part in parts for i in part.window(at)[0][:, 0])

    for at in (0, 12, 24, 1200):
        assert read(worlds[0], at) == read(worlds[1], at)


def test_too_few_tokens_for_one_sample() -> None:
    deal(n=8)
    with pytest.raises(FastweightsError, match=r"corpus of 7 tokens is shorter than one sequence \(seq_len 7 \+ 1\)"):
        deal(n=7)

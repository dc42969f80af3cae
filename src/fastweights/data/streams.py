"""What a run reads: a function of one number, its position, so a resume needs that number only.

:class:`Streams`: contiguous, for models whose state is carried on. :class:`Samples`: each sequence by itself, dealt out
to any number of processes. Legend: B streams or samples, T tokens of a window.
"""

from typing import Protocol

import numpy as np

from fastweights.errors import FastweightsError


class Reader(Protocol):
    """``stride``: by how much the position grows from one window to the next."""

    stride: int

    def window(self, i: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """The window at position ``i``: ``x_BT``, ``y_BT`` (``int64``), and whether it starts from a fresh state."""
        ...


class Streams:
    """``batch_size`` streams, each a contiguous stretch of the ids, read ``seq_len`` tokens at a time.

    The first epoch reads the ids in their order, so that what stands last (and nearest to a held-out rest) is learned
    last. After it the ids are a ring that each epoch cuts at another place (from ``seed``), so that windows and the
    starts of streams differ. At the first window of an epoch the reader starts afresh (``fresh``) with ``bos_id``.
    """

    stride = 1

    def __init__(self, ids: np.ndarray, batch_size: int, seq_len: int, bos_id: int, seed: int = 0) -> None:
        self.ids = np.asarray(ids)
        self.batch_size, self.seq_len, self.bos_id, self.seed = batch_size, seq_len, bos_id, seed
        self.stream_len = len(self.ids) // batch_size
        self.windows_per_epoch = self.stream_len // seq_len
        if not self.windows_per_epoch:
            raise FastweightsError(
                f"corpus of {len(self.ids):,} tokens is shorter than one sequence of each stream "
                f"(batch_size {batch_size} x seq_len {seq_len}); add text, or lower --seq-len or --batch-size"
            )
        self._epoch = -1
        self._index_BS = np.empty((0, 0), dtype=np.int64)

    def window(self, i: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Window ``i``: inputs ``x_BT``, targets ``y_BT`` (``int64``), and whether the streams start afresh."""
        epoch, w = divmod(i, self.windows_per_epoch)
        if epoch != self._epoch:
            turn = int(np.random.default_rng([self.seed, epoch]).integers(len(self.ids))) if epoch else 0
            starts_B1 = turn + np.arange(self.batch_size)[:, None] * self.stream_len
            self._index_BS = starts_B1 + np.arange(-1, self.seq_len)[None, :]
            self._epoch = epoch
        block_BS = self.ids.take(self._index_BS + w * self.seq_len, mode="wrap").astype(np.int64)
        if w == 0:
            block_BS[:, 0] = self.bos_id
        return block_BS[:, :-1], block_BS[:, 1:], w == 0


class Samples:
    """Independent sequences of ``seq_len`` tokens. Sample number n, counted over the whole run, is a function of
    ``(seed, n)`` alone; of the window at position i, process r of w takes the samples i + r, i + r + w, …

    An epoch cuts the ids into windows (at another place each epoch) and deals them out in a random order, each once. So
    what a run reads does not depend on how many processes read it, and a resume with another number of them is defined.
    """

    def __init__(
        self, ids: np.ndarray, batch_size: int, seq_len: int, seed: int = 0, *, rank: int = 0, world: int = 1
    ) -> None:
        self.ids = np.asarray(ids)
        self.batch_size, self.seq_len, self.seed, self.rank, self.world = batch_size, seq_len, seed, rank, world
        self.stride = batch_size * world
        self.per_epoch = (len(self.ids) - 1) // seq_len
        if self.per_epoch < 1:
            raise FastweightsError(
                f"corpus of {len(self.ids):,} tokens is shorter than one sequence (seq_len {seq_len} + 1); add text "
                "or lower --seq-len"
            )
        self._epoch = -1
        self._starts = np.empty(0, dtype=np.int64)

    def start(self, n: int) -> int:
        """Where sample ``n`` begins."""
        epoch, place = divmod(n, self.per_epoch)
        if epoch != self._epoch:
            draw = np.random.default_rng([self.seed, epoch])
            turn = int(draw.integers((len(self.ids) - 1) % self.seq_len + 1))
            self._starts = turn + draw.permutation(self.per_epoch) * self.seq_len
            self._epoch = epoch
        return int(self._starts[place])

    def window(self, i: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """The samples of this process at position ``i`` (all processes together have read ``i`` samples before)."""
        starts = [self.start(i + self.rank + k * self.world) for k in range(self.batch_size)]
        block_BS = np.stack([self.ids[s : s + self.seq_len + 1] for s in starts]).astype(np.int64)
        return block_BS[:, :-1], block_BS[:, 1:], True

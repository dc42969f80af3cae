"""Contiguous streams over token ids: what is read at window ``i`` is a function of ``i``, so a resume needs one number.

Legend: B streams, T tokens of a window.
"""

import numpy as np

from fastweights.errors import FastweightsError


class Streams:
    """``batch_size`` streams, each a contiguous stretch of the ids, read ``seq_len`` tokens at a time.

    The first epoch reads the ids in their order, so that what stands last (and nearest to a held-out rest) is learned
    last. After it the ids are a ring that each epoch cuts at another place (from ``seed``), so that windows and the
    starts of streams differ. At the first window of an epoch the reader starts afresh (``fresh``) with ``bos_id``.
    """

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

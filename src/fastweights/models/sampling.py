"""Drawing the next token from logits: temperature, nucleus (top-p), seed."""

import numpy as np
from numpy.typing import NDArray


class Sampler:
    """A seeded stream of draws; two samplers with the same arguments and logits draw the same tokens.

    ``temperature`` 0 is greedy. ``top_p``: the smallest set of tokens whose probability reaches it (Holtzman et al.,
    2020). Tokens in ``forbidden`` (e.g. bos) are never drawn.
    """

    def __init__(self, temperature: float, top_p: float, seed: int, forbidden: tuple[int, ...] = ()) -> None:
        self.temperature, self.top_p, self.forbidden = temperature, top_p, list(forbidden)
        self.random = np.random.Generator(np.random.PCG64(seed))

    def draw(self, logits_V: NDArray[np.floating]) -> int:
        """A token for ``logits_V``."""
        x_V = logits_V.astype(np.float64)
        x_V[self.forbidden] = -np.inf
        if self.temperature == 0:
            return int(x_V.argmax())
        with np.errstate(over="ignore"):  # a tiny temperature: differences become -inf
            p_V = np.exp((x_V - x_V.max()) / self.temperature)
        p_V /= p_V.sum()
        if self.top_p < 1:
            order = np.argsort(-p_V, kind="stable")
            kept = int(np.searchsorted(np.cumsum(p_V[order]), self.top_p)) + 1
            order = order[:kept]
            cumulative = np.cumsum(p_V[order])
        else:
            order, cumulative = None, np.cumsum(p_V)
        at = int(np.searchsorted(cumulative, self.random.random() * cumulative[-1], side="right"))
        at = min(at, len(cumulative) - 1)
        return at if order is None else int(order[at])

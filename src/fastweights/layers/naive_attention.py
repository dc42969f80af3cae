"""The slow, obvious twin of :mod:`fastweights.layers.attention`: every score, a mask, autograd's own backward.

Legend: B sequences, T queries, S keys, H heads, D width of a head.
"""

import torch
from torch import Tensor


def mask(queries: int, keys: int, window: int, hidden_B: Tensor | None = None) -> Tensor:
    """True where a query meets a key: ``[B or 1, 1, T, S]``."""
    query_T1 = torch.arange(keys - queries, keys)[:, None]
    key_S = torch.arange(keys)
    seen_TS = (key_S <= query_T1) & (key_S > query_T1 - window)
    first_B = torch.zeros(1, dtype=torch.int64) if hidden_B is None else hidden_B
    return (seen_TS & (key_S >= first_B[:, None, None])).unsqueeze(1)


def attention(q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, window: int, *, hidden_B: Tensor | None = None) -> Tensor:
    """Twin of :func:`fastweights.layers.attention.attention`."""
    scores_BHTS = q_BHTD @ k_BHSD.mT * q_BHTD.shape[-1] ** -0.5
    seen = mask(q_BHTD.shape[2], k_BHSD.shape[2], window, hidden_B).to(q_BHTD.device)
    return scores_BHTS.masked_fill(~seen, -torch.inf).softmax(-1) @ v_BHSD

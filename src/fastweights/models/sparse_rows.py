"""Large matrices most of whose rows are 0, as files hold them: an n-gram table that a sleep has written few rows of."""

from collections.abc import Mapping

import torch
from torch import Tensor

_ROWS, _VALUES = "/rows", "/values"
_LARGE = 1 << 20  # bytes


def sparse_rows(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of each matrix from 1 MB on, less than half of whose rows are not 0, those rows alone: ``NAME/rows`` (K, int32,
    ascending) and ``NAME/values`` (K, W). All else as it is."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.dim() == 2 and weight.nbytes >= _LARGE:
            rows_K = (weight != 0).any(1).nonzero()[:, 0]
            if 2 * len(rows_K) < len(weight):
                found |= {name + _ROWS: rows_K.to(torch.int32), name + _VALUES: weight[rows_K]}
                continue
        found[name] = weight
    return found


def dense_rows(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`sparse_rows`; ``wanted`` has the shapes. Raises ValueError where rows do not fit."""
    weights = dict(found)
    for name in [name.removesuffix(_ROWS) for name in found if name.endswith(_ROWS)]:
        like = wanted.get(name)
        rows_K, values_KW = weights.pop(name + _ROWS), weights.pop(name + _VALUES, None)
        if like is None or like.dim() != 2 or values_KW is None or name in weights:
            raise ValueError(f"tensor {name!r} has rows, the config says nothing of such a table")
        R, W = like.shape
        if rows_K.dtype != torch.int32 or rows_K.dim() != 1 or values_KW.shape != (len(rows_K), W):
            raise ValueError(f"tensor {name!r} has rows {tuple(rows_K.shape)} of {tuple(values_KW.shape)}, not of {W}")
        if len(rows_K) and (int(rows_K[0]) < 0 or int(rows_K[-1]) >= R or bool((rows_K.diff() <= 0).any())):
            raise ValueError(f"tensor {name!r} has rows that do not ascend from 0 to {R - 1}")
        weights[name] = values_KW.new_zeros(R, W).index_copy_(0, rows_K.to(torch.int64), values_KW)
    return weights

"""Newton-Schulz orthogonalisation, batched and twice differentiable."""

from torch import Tensor

# The quintic of K. Jordan's Muon (2024): singular values land in about [0.7, 1.2] after five steps, not exactly at 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_EPS = 1e-14  # inside the square root: a zero gradient gives a zero update with finite first and second derivatives


def orthogonalize(g_BMN: Tensor, steps: int = 5) -> Tensor:
    """``U V^T`` (approximately) of ``g = U S V^T``, each matrix of the batch by itself; dtype kept."""
    tall = g_BMN.shape[-2] > g_BMN.shape[-1]
    x_BMN = g_BMN.mT if tall else g_BMN
    x_BMN = x_BMN / (x_BMN.square().sum((-2, -1), keepdim=True) + _EPS).sqrt()
    for _ in range(steps):
        gram_BMM = x_BMN @ x_BMN.mT
        x_BMN = _A * x_BMN + (_B * gram_BMM + _C * gram_BMM @ gram_BMM) @ x_BMN
    return x_BMN.mT if tall else x_BMN

"""Inner losses, one number a sequence."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy_B(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean next-token cross entropy of each sequence over the masked-in positions, nats per token: ``[B]``.

    A sequence without any counted position has loss 0 (and no gradient).
    """
    nats_BT = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none").view_as(targets_BT)
    mask_BT = mask_BT.to(nats_BT.dtype)
    return (nats_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)

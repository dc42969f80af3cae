"""Inner losses, one number a sequence. Shape suffixes: B sequences, T positions, D width, V vocabulary."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy_B(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean next-token cross entropy of each sequence over the masked-in positions, nats per token: ``[B]``.

    A sequence without any counted position has loss 0 (and no gradient).
    """
    nats_BT = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none").view_as(targets_BT)
    mask_BT = mask_BT.to(nats_BT.dtype)
    return (nats_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)


def head_loss_and_grad(
    h_BTD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_BT: Tensor, mask_BT: Tensor
) -> tuple[Tensor, Tensor]:
    """:func:`cross_entropy_B` of the head's logits, and its gradient for the head's input, in closed form.

    ``(loss_B, g_BTD)`` with ``g = mask / n * (softmax - onehot) @ weight``: two GEMMs over the vocabulary and one pass
    that turns logits into probabilities in place, where autograd keeps several copies. No graph.
    """
    B, T, _ = h_BTD.shape
    logits_NV = F.linear(h_BTD.reshape(B * T, -1), weight_VD, bias_V)
    targets_N1 = targets_BT.reshape(-1, 1)
    lse_N1 = logits_NV.logsumexp(1, keepdim=True)
    nats_BT = (lse_N1 - logits_NV.gather(1, targets_N1)).view(B, T)
    mask_BT = mask_BT.to(logits_NV.dtype)
    scale_BT = mask_BT / mask_BT.sum(1, keepdim=True).clamp(min=1)
    p_NV = logits_NV.sub_(lse_N1).exp_()
    p_NV.scatter_add_(1, targets_N1, torch.full_like(lse_N1, -1.0))
    g_BTD = (p_NV @ weight_VD).view_as(h_BTD) * scale_BT.unsqueeze(-1)
    return (nats_BT * scale_BT).sum(1), g_BTD

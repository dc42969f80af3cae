"""Linear layers without a bias, by the fastest matrix product of this machine."""

from torch import Tensor, nn

from fastweights.core.gemm import dense


class Linear(nn.Linear):
    """``nn.Linear(bias=False)``: the same parameters and numbers, see :func:`fastweights.core.gemm.dense`.

    By ``torch.func.functional_call`` a weight ``[B, out, width]`` may come instead: each sequence's own.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return dense(input, self.weight) if self.weight.dim() == 2 else input @ self.weight.mT

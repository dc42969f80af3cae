"""Position-wise feed-forward network with squared ReLU. Legend: B sequences, T time, D channels, H hidden."""

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """``down(relu(up(x))²)``. ``down`` starts at zero, so a fresh residual block is the identity."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x_BTD)).square())

"""TinyLM: embedding → recurrent backbone → norm → head. No attention; its memory of the past is a small carry.

Legend: B sequences, T time, D channels, V vocabulary.
"""

from torch import Tensor, nn

from fastweights.layers.gru import GRUBlock
from fastweights.layers.ngram import NGramEmbedding
from fastweights.layers.ssm import SSMBlock
from fastweights.models.tiny_lm_config import TinyLMConfig

Carry = dict[str, Tensor]
"""Flat: ``"layers.<i>.<name>"`` and, with n-grams, ``"past"``; every tensor's first dimension is B."""


class Embedding(nn.Module):
    """A row for each token, plus hashed rows for the n-grams that end in it."""

    def __init__(self, config: TinyLMConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.dim)
        nn.init.normal_(self.token.weight, std=0.5)
        self.ngram: NGramEmbedding | None = None
        if config.ngram_orders:
            self.ngram = NGramEmbedding(config.ngram_orders, config.ngram_rows, config.ngram_width, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def init_carry(self, batch: int) -> Carry:
        return {} if self.ngram is None else {"past": self.ngram.init_carry(batch)}

    def forward(self, tokens_BT: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        x_BTD = self.token(tokens_BT)
        if self.ngram is None:
            return self.dropout(x_BTD), {}
        e_BTD, past_BP = self.ngram(tokens_BT, carry["past"])
        return self.dropout(x_BTD + e_BTD), {"past": past_BP}


class Backbone(nn.Module):
    """The residual blocks, one after the other."""

    def __init__(self, config: TinyLMConfig) -> None:
        super().__init__()
        hidden = config.mlp_hidden or 2 * config.dim
        self.layers = nn.ModuleList(
            SSMBlock(config.dim, config.conv_taps, hidden, config.dropout)
            if config.backbone == "ssm"
            else GRUBlock(config.dim, config.dropout)
            for _ in range(config.layers)
        )

    def init_carry(self, batch: int) -> Carry:
        carry: Carry = {}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, (SSMBlock, GRUBlock))
            carry |= {f"layers.{i}.{name}": value for name, value in layer.init_carry(batch).items()}
        return carry

    def forward(self, x_BTD: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        after: Carry = {}
        for i, layer in enumerate(self.layers):
            prefix = f"layers.{i}."
            own = {name[len(prefix) :]: value for name, value in carry.items() if name.startswith(prefix)}
            x_BTD, own = layer(x_BTD, own)
            after |= {prefix + name: value for name, value in own.items()}
        return x_BTD, after


class TinyLM(nn.Module):
    """A recurrent language model whose state is a value: the carry goes in and comes out, nothing is kept inside.

    Reading a text in pieces, the carry handed on, equals reading it whole. A context net (fast weights) sits between
    :meth:`hidden` and :meth:`logits`. Computes in the dtype of its parameters; the carry has that dtype too.
    """

    def __init__(self, config: TinyLMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.backbone = Backbone(config)
        self.norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, config.vocab_size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def init_carry(self, batch: int) -> Carry:
        """The carry before any token, for ``batch`` sequences."""
        return self.embedding.init_carry(batch) | self.backbone.init_carry(batch)

    def hidden(self, tokens_BT: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """Hidden states ``h_BTD`` (after the final norm) of integer ``tokens_BT``, T >= 1, and the carry after them."""
        carry = self.init_carry(tokens_BT.shape[0]) if carry is None else carry
        x_BTD, past = self.embedding(tokens_BT, carry)
        x_BTD, states = self.backbone(x_BTD, carry)
        return self.norm(x_BTD), past | states

    def logits(self, h_BTD: Tensor) -> Tensor:
        """Next-token logits ``(…, V)`` of hidden states ``(…, D)``."""
        return self.head(h_BTD)

    def forward(self, tokens_BT: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """``(logits_BTV, carry)``."""
        h_BTD, carry = self.hidden(tokens_BT, carry)
        return self.logits(h_BTD), carry

"""Who is updated by whom, row-wise Adagrad against its formula, and a state that goes on bit for bit."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.errors import Corrupt
from fastweights.models.e2e import E2ETransformer
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.train.config import OptimConfig
from fastweights.train.optim import Optimizers, RowAdagrad


def build(**changes: Any) -> TinyLM:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"vocab_size": 20, "dim": 16, "layers": 2, "ngram_orders": (2, 3), "ngram_rows": 256}
    return TinyLM(TinyLMConfig(**(fields | changes)))


def advance(model: TinyLM, optimizers: Optimizers, steps: range) -> None:
    for step in steps:
        x_BT = torch.randint(0, 20, (4, 12), generator=torch.Generator().manual_seed(step))
        logits_BTV, _ = model(x_BT[:, :-1])
        F.cross_entropy(logits_BTV.flatten(0, 1), x_BT[:, 1:].flatten()).backward()
        optimizers.step(1.0 / (step + 1))
        optimizers.zero_grad()


def kinds(optimizers: Optimizers) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for key in optimizers.state():
        kind, _, name = key.partition(".")
        groups.setdefault(kind, set()).add(name)
    return groups


def test_each_parameter_has_one_optimiser() -> None:
    model = build()
    optimizers = Optimizers(model, OptimConfig())
    advance(model, optimizers, range(1))
    groups = kinds(optimizers)
    muon, adam, tables = groups["momentum_buffer"], groups["exp_avg"], groups["sum"]
    names = {n for n, _ in model.named_parameters()}
    assert muon | adam | tables == names
    assert len(muon) + len(adam) + len(tables) == len(names)
    assert tables == {"embedding.ngram.weight"}
    assert all(n.startswith("backbone.") for n in muon)
    assert "backbone.layers.0.mixer.project.weight" in muon
    assert {"backbone.layers.0.mixer.conv.weight", "head.weight", "norm.weight"} <= adam


def test_muon_takes_the_blocks_of_an_e2e_model() -> None:
    model = E2ETransformer(E2EConfig(vocab_size=20, dim=8, heads=2, layers=2, window=4))
    optimizers = Optimizers(model, OptimConfig(rule="muon"))
    model(torch.zeros(1, 3, dtype=torch.int64))[0].sum().backward()
    optimizers.step()
    groups = kinds(optimizers)
    blocks = {name for name, p in model.named_parameters() if "_blocks." in name and p.ndim == 2}
    assert groups["momentum_buffer"] == blocks
    assert {"embedding.weight", "head.weight", "ln_f.weight", "suffix_blocks.0.prime_norm.weight"} <= groups["exp_avg"]


@pytest.mark.parametrize("changes", [{}, {"backbone": "gru"}, {"ngram_orders": ()}])
def test_state_goes_on_bit_for_bit(changes: dict[str, Any]) -> None:
    whole = build(**changes)
    advance(whole, Optimizers(whole, OptimConfig()), range(6))

    first = build(**changes)
    optimizers = Optimizers(first, OptimConfig())
    advance(first, optimizers, range(3))
    kept = {n: t.clone() for n, t in optimizers.state().items()}
    second = build(**changes)
    second.load_state_dict(first.state_dict())
    resumed = Optimizers(second, OptimConfig())
    resumed.load(kept)
    advance(second, resumed, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_it_learns() -> None:
    model = build()
    optimizers = Optimizers(model, OptimConfig(adam_lr=0.03))
    x_BT = torch.arange(20).repeat(4, 3)
    losses = []
    for _ in range(30):
        logits_BTV, _ = model(x_BT[:, :-1])
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), x_BT[:, 1:].flatten())
        loss.backward()
        optimizers.step()
        optimizers.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_row_adagrad_equals_its_formula_and_touches_only_its_rows() -> None:
    table = torch.nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))
    before = table.detach().clone()
    optimizer = RowAdagrad([table], lr=0.1)
    total = torch.zeros(6)
    want = before.clone()
    for rows in ([1, 4, 1], [4, 2, 2]):
        values = torch.randn(3, 3, generator=torch.Generator().manual_seed(rows[1]))
        table.grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 3), check_invariants=True)
        optimizer.step()
        for row, value in zip(rows, values, strict=True):
            total[row] += value.square().mean()
        for row, value in zip(rows, values, strict=True):
            want[row] -= 0.1 * value / total[row].sqrt()
    torch.testing.assert_close(table.detach(), want)
    assert torch.equal(table.detach()[[0, 3, 5]], before[[0, 3, 5]])


def test_tables_are_not_scheduled() -> None:
    moved: list[Tensor] = []
    for factor in (1.0, 0.0):
        model = build()
        torch.nn.init.normal_(model.head.weight)
        optimizers = Optimizers(model, OptimConfig())
        logits_BTV, _ = model(torch.arange(10).view(1, -1))
        logits_BTV.logsumexp(-1).sum().backward()
        optimizers.step(factor)
        assert model.embedding.ngram is not None
        moved.append(model.embedding.ngram.weight.detach().clone())
    assert moved[0].any()
    assert torch.equal(moved[0], moved[1])


def test_wrong_inputs_are_named() -> None:
    table = torch.nn.Parameter(torch.zeros(4, 2))
    table.grad = torch.ones(4, 2)
    with pytest.raises(ValueError, match="dense gradient"):
        RowAdagrad([table], lr=0.1).step()
    with pytest.raises(Corrupt, match="no parameter"):
        Optimizers(build(), OptimConfig()).load({"sum.nowhere": torch.zeros(1)})

"""Checkpoints whose tables are mostly 0: smaller files, the same model; the whole form is read, too."""

import pytest
import torch
from torch import Tensor

from fastweights.errors import Corrupt
from fastweights.models.registry import load_model
from fastweights.models.sparse_rows import dense_rows, sparse_rows
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.store.models import CHECKPOINT, Models
from fastweights.store.root import Store
from fastweights.store.tensors import save_tensors
from tests.small_models import save_model

TABLE = "embedding.ngram.weight"


def with_table(rows: int) -> TinyLM:
    sizes = {"ngram_orders": (2, 3), "ngram_rows": 2**14, "ngram_width": 32}
    lm = TinyLM(TinyLMConfig(vocab_size=258, dim=16, layers=1, **sizes))
    with torch.no_grad():
        lm.get_parameter(TABLE)[torch.randperm(2**14)[:rows]] = torch.randn(rows, 32)
    return lm


def saved(store: Store, lm: TinyLM, weights: dict[str, Tensor]) -> int:
    """Another checkpoint of a model that is there; its bytes."""
    models = Models(store)
    file = models.path("m") / CHECKPOINT
    models.update("m", checkpoint_sha256=save_tensors(file, weights))
    return file.stat().st_size


@pytest.mark.parametrize("rows", [0, 700, 2**13 - 1, 2**13, 2**14])
def test_a_file_of_few_rows_is_the_same_model(store: Store, rows: int) -> None:
    lm = with_table(rows)
    save_model(store, "m", lm)
    state = lm.state_dict()
    whole, packed = saved(store, lm, state), saved(store, lm, sparse_rows(state))
    assert packed < whole / 10 if rows <= 700 else packed <= whole
    assert (TABLE in sparse_rows(state)) == (rows >= 2**13)
    for form in (state, sparse_rows(state)):
        saved(store, lm, form)
        loaded = load_model(Models(store).path("m")).lm.state_dict()
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], w) for name, w in state.items())


def test_rows_that_do_not_fit_are_named(store: Store) -> None:
    lm = with_table(8)
    save_model(store, "m", lm)
    good = sparse_rows(lm.state_dict())
    rows, values = good[f"{TABLE}/rows"], good[f"{TABLE}/values"]
    without = {name: w for name, w in good.items() if name != f"{TABLE}/values"}
    for bad in (
        {**good, f"{TABLE}/rows": rows.flip(0)},
        {**good, f"{TABLE}/rows": rows - rows[0] - 1},
        {**good, f"{TABLE}/rows": rows + 2**14},
        {**good, f"{TABLE}/rows": rows.long()},
        {**good, f"{TABLE}/values": values[:, 1:].contiguous()},
        {**good, f"{TABLE}/values": values[1:]},
        {**good, "nothing/rows": rows, "nothing/values": values},
        {**good, TABLE: lm.state_dict()[TABLE]},
        without,
    ):
        saved(store, lm, bad)
        with pytest.raises(Corrupt, match=r"tensor '.*' has rows"):
            load_model(Models(store).path("m"))
    small = {"w": torch.zeros(64, 64), "b": torch.zeros(1 << 20)}
    assert sparse_rows(small).keys() == small.keys()
    assert dense_rows(small, small).keys() == small.keys()

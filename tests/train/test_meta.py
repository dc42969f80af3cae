"""Meta-learning runs: through train's own loop, resumed bit for bit, refused where sizes do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fastweights.errors import FastweightsError
from fastweights.models.e2e import E2ETransformer
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.registry import load_model
from fastweights.services import meta, training
from fastweights.services.jobs import TrainJobs
from fastweights.store import atomic
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.train.config import TrainConfig, load_config
from fastweights.train.hooks import Hooks
from fastweights.train.meta import Along, meta_loss
from fastweights.train.meta_config import MetaConfig

MODEL = {"kind": "e2e", "dim": 8, "heads": 2, "layers": 3, "suffix_layers": 2, "window": 12, "init_std": 0.3}
KV = {"keys": 24, "values": 5, "records": 20, "queries": 4, "far_frac": 0.5}
EASIER = {"until": 2, "records": 16, "queries": 4, "far_frac": 0.5}
RUN = {"seq_len": 72, "batch_size": 2, "steps": 4, "warmup": 1, "log_every": 1, "eval_every": 2, "save_every": 2}


def _fields(**changes: Any) -> dict[str, Any]:
    own = {"model": {**MODEL, "inner": {"chunk": 12, "learned_rates": True}}}
    kv = {"kv": KV, "easier": [EASIER], "eval_sequences": 2}
    return {**RUN, **own, "meta": kv, **changes}


def _file(tmp_path: Path, name: str, **changes: Any) -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(json.dumps(_fields(**changes)))
    return str(path)


TEXT: dict[str, Any] = {"meta": {"remat": True}, "corpus": "tiny", "seq_len": 24, "eval_tokens": 100}


@pytest.mark.parametrize(("name", "changes"), [("kv", {}), ("text", TEXT)])
def test_a_resumed_run_is_the_run(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    preset, store = _file(tmp_path, name, **changes), Store(tmp_path / "store")
    whole = meta.start(store, preset, {}, model_id="whole")
    done = [0]
    hooks = Hooks(step=lambda step: done.append(step), stop=lambda: "asked" if done[-1] == 3 else None)
    cut = meta.start(store, preset, {}, model_id="cut", hooks=hooks)
    assert (cut["status"], cut["step"]) == ("interrupted", 3)
    again = meta.resume(store, "cut", {})
    assert again["status"] == "ready"
    assert again["params_sha256"] == whole["params_sha256"]
    rows = [atomic.read_jsonl(store.path("text_models", one, "train_log.jsonl")) for one in ("whole", "cut")]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert rows[0][-1]["inner_rates"] == rows[1][-1]["inner_rates"]


def test_a_run_shows_where_training_runs_do_and_its_model_loads(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    meta.start(store, _file(tmp_path, "kv"), {}, model_id="kv")
    job = TrainJobs(store).status("kv")
    assert (job.status, job.step) == ("done", 4)
    rows = atomic.read_jsonl(store.path("text_models", "kv", "train_log.jsonl"))
    points = TrainJobs(store).metrics("kv")
    assert len(points) == len(rows) == 4
    looks = [point for point in points if point.val_bpb is not None]
    assert len(looks) == 3  # before the first step, at step 2, at the end
    for point in looks:
        assert point.far is not None
        assert point.near is not None
        assert point.inner_loss is not None
        assert point.inner_loss_off is not None
        assert len(point.inner_loss) == len(point.inner_loss_off) == 6
        assert point.inner_rates is not None
        assert all("feed_forward_prime" in name for name in point.inner_rates)
    assert points[2].inner_loss is None
    loaded = load_model(Models(store).path("kv"))
    assert isinstance(loaded.lm, E2ETransformer)
    assert loaded.tokenizer.kind == "ids"
    assert loaded.manifest["kind"] == "e2e"


def test_a_text_run_tells_its_loss_along_a_window(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    meta.start(store, _file(tmp_path, "text", **TEXT), {}, model_id="text")
    looks = [point for point in TrainJobs(store).metrics("text") if point.val_bpb is not None]
    assert looks
    for point in looks:
        on, off = point.inner_loss or [], point.inner_loss_off or []
        assert len(on) == len(off) == 2
        assert on[0] == pytest.approx(off[0], abs=1e-5)  # nothing was learned before the first chunk
        assert on[1] != off[1]


class Bigrams(torch.nn.Module):
    def __init__(self, logits_VV: torch.Tensor) -> None:
        super().__init__()
        self.logits_VV = logits_VV

    def forward(self, x_BT: torch.Tensor, carry: None) -> tuple[torch.Tensor, None]:
        return self.logits_VV[x_BT], carry


def test_the_loss_along_a_window_is_that_of_its_places() -> None:
    table_VV = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    along = Along(Bigrams(table_VV), window=6, chunk=4)
    assert along.curve_C() is None
    x_BT = torch.tensor([[0, 1, 2, 3, 4, 5], [6, 5, 4, 3, 2, 1]])
    along(x_BT[:1])
    along(x_BT[1:, :5])  # no whole window: it does not count
    along(x_BT[1:])
    nats_BT = -table_VV.log_softmax(-1)[x_BT[:, :-1], x_BT[:, 1:]]
    assert along.curve_C() == pytest.approx([float(nats_BT[:, :4].mean()), float(nats_BT[:, 4:].mean())])


def test_the_baseline_is_ordinary_training(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    preset = _file(tmp_path, "plain", meta=None, corpus="tiny", eval_tokens=100)
    assert training.start(store, preset, {}, model_id="plain")["status"] == "ready"
    with pytest.raises(FastweightsError, match="plain training"):
        meta.start(store, preset, {}, model_id="other")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"window_size": 11}, "model.window=11 is smaller than the chunk"),
        ({"chunk_size": 11}, "no multiple of model.inner.chunk=11"),
        ({"ttt_param_filter": "suffix_blocks,nothing"}, "matches no parameter"),
        ({"seq_len": 84}, "seq_len=84"),
        ({"corpus": "tiny"}, "meta.kv makes its own"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(FastweightsError, match=match):
        meta.start(store, _file(tmp_path, "kv"), changes, model_id="x")


def test_an_option_of_the_inner_loop_cannot_change_in_a_resumed_run(tmp_path: Path) -> None:
    with pytest.raises(FastweightsError, match="--chunk-size cannot change"):
        meta.resume(Store(tmp_path), "any", {"chunk_size": 6})


def test_plain_steps_come_first() -> None:
    config = MetaConfig(plain=0.25, inner_warmup=0.5)
    assert [config.inner_factor(step, 8) for step in range(8)] == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    torch.manual_seed(0)
    lm = E2ETransformer(E2EConfig(vocab_size=9, **{**MODEL, "inner": {"chunk": 12, "lr": 1.0}}))
    x_BT, y_BT = torch.randint(9, (2, 2, 24))
    factors = [meta_loss(lm, x_BT, y_BT, MetaConfig(), rate_factor=factor).item() for factor in (0.0, 1e-9, 1.0)]
    assert factors[0] == pytest.approx(factors[1], rel=1e-6)
    assert abs(factors[2] - factors[0]) > 1e-4


def test_meta_is_for_e2e_models() -> None:
    with pytest.raises(ValueError, match="meta is for models of kind e2e"):
        TrainConfig.model_validate({"meta": {}})


@pytest.mark.parametrize("size", ["125m", "350m", "760m", "1b", "3b"])
def test_official_sizes_are_planned_on_a_cpu(tmp_path: Path, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXT_LM_DEVICE", "cpu")
    said: list[str] = []
    found = meta.start(Store(tmp_path), f"e2e_{size}", {}, hooks=Hooks(notice=said.append))
    assert found["status"] == "planned"
    assert "too large" in said[0]
    wanted = float(size[:-1]) * (1e9 if size.endswith("b") else 1e6)
    assert 0.8 * wanted < found["parameters"] < 1.6 * wanted


@pytest.mark.parametrize("name", ["meta_8k", "pretrain_8k"])
def test_two_steps_of_the_gpu_presets_in_small(tmp_path: Path, name: str) -> None:
    config = load_config(name)
    small = {**config.model, "dim": 16, "heads": 2, "window": 16, "inner": {"chunk": 16, "lr": 1.0, "clip": 1.0}}
    fields = config.model_dump(mode="json") | {"model": small, "seq_len": 64, "batch_size": 1, "corpus": "tiny"}
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(fields | {"steps": 2, "eval_tokens": 64, "schedule_steps": None}))
    start = training.start if config.meta is None else meta.start
    with torch.random.fork_rng():
        found = start(Store(tmp_path), str(path), {}, model_id="small")
    assert (found["status"], found["step"]) == ("ready", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["meta_8k", "pretrain_8k"])
def test_two_steps_of_the_gpu_presets(tmp_path: Path, name: str) -> None:
    start = training.start if load_config(name).meta is None else meta.start
    found = start(Store(tmp_path), name, {"steps": 2, "batch_size": 1, "corpus": "tiny"}, model_id="real")
    assert (found["status"], found["step"]) == ("ready", 2)

"""``eval logits``: the three ways to read ids, the files that it takes and refuses, and the official fixtures."""

import json
from pathlib import Path

import pytest
import torch

from fastweights.cli import main
from fastweights.errors import FastweightsError, NotFound
from fastweights.evals.logits import logits_of, read_ids
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.services.evals import text as evaluation
from fastweights.services.model_import import import_ttt_lm
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.store.tensors import load_tensors, save_tensors
from tests.small_ttt import MIXERS, random_ttt, save_random_ttt

FIXTURES = Path("/work/shared/data/ttt_official")
IDS = torch.randint(0, 20, (3, 11), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("variant", MIXERS)
def test_anchored_models_give_the_same_in_every_mode(variant: str) -> None:
    model = random_ttt(variant, vocab=20).double()
    whole = logits_of(model, IDS)
    assert whole.shape == (3, 11, 20)
    assert whole.dtype == torch.float32
    for mode, prefill in (("decode", None), ("mixed", None), ("mixed", 7)):
        other = logits_of(model, IDS, mode, prefill=prefill)  # type: ignore[arg-type]
        if variant == "lab":  # decodes online: it steps at the current weights
            assert not torch.equal(other, whole)
        else:
            torch.testing.assert_close(other, whole, rtol=1e-6, atol=1e-6)


def test_a_recurrent_model_too() -> None:
    torch.manual_seed(0)
    model = TinyLM(TinyLMConfig(vocab_size=20, dim=16, layers=1)).eval()
    torch.testing.assert_close(logits_of(model, IDS, "decode"), logits_of(model, IDS))


def test_names_of_the_ids(tmp_path: Path) -> None:
    for name in ("input_ids", "ids", "tokens", "anything"):
        save_tensors(tmp_path / "ids", {name: IDS.int()})
        assert torch.equal(read_ids(tmp_path / "ids", 20), IDS)
    save_tensors(tmp_path / "ids", {"input_ids": IDS[0], "other": torch.ones(1)})
    assert torch.equal(read_ids(tmp_path / "ids", 20), IDS[:1])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": IDS, "b": IDS}, "name the ids input_ids"),
        ({"ids": IDS.float()}, "give integers"),
        ({"ids": IDS[:, :0]}, "T >= 1"),
        ({"ids": IDS[None]}, "give integers"),
        ({"ids": IDS - 1}, "holds -1"),
        ({"ids": IDS + 5}, "ids 0 to 19"),
    ],
)
def test_what_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    save_tensors(tmp_path / "ids", tensors)
    with pytest.raises(FastweightsError, match=message):
        read_ids(tmp_path / "ids", 20)
    with pytest.raises(NotFound):
        read_ids(tmp_path / "no", 20)


def test_as_a_user_runs_it(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_random_ttt(store, text=False, vocab=20)
    save_tensors(tmp_path / "ids", {"input_ids": IDS})
    line = ["eval", "logits", "--model", "ttt", "--ids", f"{tmp_path}/ids", "--out", f"{tmp_path}/new/out"]
    assert main.run([*line, "--mode", "mixed", "--prefill", "3", "--root", str(store.root), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["mode"], said["precision"], said["shape"]) == ("mixed", "fp64", [3, 11, 20])
    assert said["prefill_gap"] > 0.01  # the lab's variant decodes online
    logits = load_tensors(tmp_path / "new" / "out", said["sha256"])[0]["logits"]
    want = logits_of(random_ttt(vocab=20).double(), IDS, "mixed", prefill=3)
    torch.testing.assert_close(logits, want)
    assert main.run([*line, "--prefill", "3", "--root", str(store.root)]) == 2


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the official fixtures are not on this machine")
@pytest.mark.parametrize("name", ["linear_transformer", "mlp_transformer"])
@pytest.mark.parametrize("mode", ["prefill", "decode", "mixed"])
def test_official_fixtures(name: str, mode: str, store: Store, tmp_path: Path) -> None:
    model_id = import_ttt_lm(Models(store), FIXTURES / name)
    io = load_tensors(FIXTURES / name / "io.safetensors")[0]
    for precision in ("fp64", "fp32"):
        evaluation.logits(
            store,
            FIXTURES / name / "io.safetensors",
            tmp_path / "out",
            model_id=model_id,
            mode=mode,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
        )
        logits = load_tensors(tmp_path / "out")[0]["logits"]
        assert float((logits - io[f"logits_{mode}"]).abs().max()) <= 1e-5

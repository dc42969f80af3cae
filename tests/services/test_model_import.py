"""Official checkpoints as a user takes them in and gives them out; the tensors' names have tests of their own."""

import json
from pathlib import Path

import pytest
import torch

from fastweights.cli import main
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound, Unsupported
from fastweights.models.registry import load_model
from fastweights.models.ttt_official import export_official, to_official
from fastweights.services.model_import import export_ttt_lm, import_ttt_lm
from fastweights.services.models import ModelService
from fastweights.store.models import Models
from fastweights.store.root import Store
from tests.small_models import save_random_model
from tests.small_ttt import MIXERS, random_ttt, save_random_ttt


def run(store: Store, *line: str) -> int:
    return main.run([*line, "--root", str(store.root), "--json"])


@pytest.mark.parametrize("variant", [name for name in MIXERS if name != "lab"])
def test_there_and_back(variant: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = random_ttt(variant, vocab=30)
    export_official(model, tmp_path / "Some Model.v1")
    assert run(store, "models", "import", str(tmp_path / "Some Model.v1"), "--format", "ttt-lm") == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["model_id"], info["kind"], info["status"]) == ("some-model-v1", "ttt_lm", "ready")
    assert info["params"] == sum(p.numel() for p in model.parameters())
    assert info["tokenizer"] == {"kind": "ids", "vocab_size": 30}
    assert run(store, "models", "export", "some-model-v1", str(tmp_path / "out"), "--format", "ttt-lm") == 0
    again = import_ttt_lm(Models(store), tmp_path / "out", "again")
    own = model.state_dict()
    for model_id in ("some-model-v1", again):
        loaded = load_model(Models(store).path(model_id))
        assert loaded.lm.config == model.config
        assert all(torch.equal(value, own[name]) for name, value in loaded.lm.state_dict().items())
    assert run(store, "models", "export", "again", str(tmp_path / "out"), "--format", "ttt-lm") == 1  # it exists


def test_the_tokenizer_comes_along(store: Store, tmp_path: Path) -> None:
    save_random_ttt(store, variant="official")
    export_ttt_lm(Models(store), "ttt", tmp_path / "out")
    import_ttt_lm(Models(store), tmp_path / "out", "again")
    assert load_model(Models(store).path("again")).tokenizer.encode("hi") == [104, 105]
    import_ttt_lm(Models(store), tmp_path / "out", "ids", "none")
    loaded = load_model(Models(store).path("ids"))
    with pytest.raises(FastweightsError, match="--prompt-tokens"):
        loaded.tokenizer.encode("hi")
    assert (loaded.tokenizer.bos_id, loaded.tokenizer.eos_id) == (256, 257)
    ByteTokenizer().save(tmp_path / "other.json")
    export_official(random_ttt("official", vocab=30), tmp_path / "small")
    with pytest.raises(FastweightsError, match="258 tokens, the model 30"):
        import_ttt_lm(Models(store), tmp_path / "small", tokenizer=str(tmp_path / "other.json"))
    assert "small" not in {m.model_id for m in ModelService(Models(store)).list()}


def test_bin_is_read_as_plain_tensors_only(store: Store, tmp_path: Path) -> None:
    model = random_ttt("official", vocab=30)
    export_official(model, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(to_official(model.state_dict()), tmp_path / "m" / "pytorch_model.bin")
    import_ttt_lm(Models(store), tmp_path / "m")
    torch.save({"x": Path()}, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(Corrupt, match="not a plain state dict"):
        import_ttt_lm(Models(store), tmp_path / "m", "evil")


def test_what_is_refused(store: Store, tmp_path: Path) -> None:
    models = Models(store)
    with pytest.raises(NotFound):
        import_ttt_lm(models, tmp_path / "nothing")
    export_official(random_ttt("official", vocab=30), tmp_path / "m")
    import_ttt_lm(models, tmp_path / "m")
    with pytest.raises(Conflict, match="exists"):
        import_ttt_lm(models, tmp_path / "m")
    save_random_model(store)
    with pytest.raises(Unsupported, match="only a ttt_lm"):
        export_ttt_lm(models, "tiny", tmp_path / "a")
    save_random_ttt(store, "lab")
    with pytest.raises(Unsupported, match=r"mixer\."):
        export_ttt_lm(models, "lab", tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "artifacts") == ["m"]
    assert run(store, "models", "import", str(tmp_path / "m"), "--tokenizer", "byte") == 2

"""``train``, ``eval ppl`` and ``models`` as a user runs them: own processes, JSON on standard output, exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastweights.cli import main
from fastweights.data.sources import find_source
from fastweights.services.jobs import TrainJobs
from fastweights.services.records import ModelInfo
from fastweights.store.root import Store
from fastweights.train.config import presets

PRESET = """
description: small and quick
model: {dim: 16, layers: 1}
seq_len: 32
batch_size: 4
warmup: 2
steps: 20
save_every: 5
log_every: 5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory with a small preset and a corpus in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text(PRESET)
    (tmp_path / "text.txt").write_bytes(find_source("tiny").train[0].path.read_bytes()[:3000])
    return tmp_path


def spawn(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fastweights", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def process(*arguments: str, code: int = 0) -> tuple[str, str]:
    with spawn(*arguments) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == code, err
    return out, err


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[Any, str]:
    """In this process: (JSON of standard output or None, standard error)."""
    assert main.run([*arguments, "--json"]) == code
    shown = capsys.readouterr()
    return json.loads(shown.out) if shown.out else None, shown.err


QUICK = ("train", "--preset", "quick.yaml", "--corpus", "text.txt")


def test_train_then_eval_in_own_processes(here: Path) -> None:
    out, err = process(*QUICK, "--json", "--root", "store")
    assert out.count("\n") == 1
    result = json.loads(out)
    assert result["step"] == 20
    assert result["loss"] < 5.55
    assert result["val_bpb"] < 8
    assert result["cpu_seconds"] > 0.5  # importing torch alone takes that
    assert result["model_id"].startswith("quick-")
    assert "step 20/20" in err
    out, err = process(
        "eval", "ppl", "--model", result["model_id"], "--file", "text.txt", "--split", "heldout", "--json",
        "--root", "store",
    )  # fmt: skip
    found = json.loads(out)
    assert found["bits_per_byte"] == result["val_bpb"]
    assert found["bytes"] == result["val_bytes"] == 300
    assert err == ""


def test_the_config_flag_and_snake_case(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = call(capsys, "train", "--config", "quick.yaml", "--corpus=text.txt", "--seq_len=16", "--model_id", "m")
    config = json.loads((here / "artifacts/text_models/m/manifest.json").read_text())["train_config"]
    assert config["seq_len"] == 16
    assert result["model_id"] == "m"


def test_ten_and_ten_are_twenty(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for preset in ("quick.yaml", "laptop"):  # of 20 steps, of 400
        line = ("train", "--preset", preset, "--corpus", "text.txt", "--seq-len", "32", "--batch-size", "4")
        names = [f"{kind}-{preset[:5]}" for kind in ("whole", "parts")]
        call(capsys, *line, "--model-id", names[0], "--steps", "20")
        call(capsys, *line, "--model-id", names[1], "--steps", "10")
        result, err = call(capsys, "train", "--resume", names[1], "--steps", "20")
        assert result["step"] == 20
        assert "schedule" not in err
        for file in ("checkpoint.safetensors", "ckpt/step-00000020.safetensors"):
            one, two = (here / "artifacts/text_models" / name / file for name in names)
            assert one.read_bytes() == two.read_bytes(), (preset, file)


def test_a_longer_run_keeps_the_first_schedule(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "m")
    _, err = call(capsys, "train", "--resume", "m", "--steps", "25")
    assert "notice: the learning-rate schedule ends at step 20; from there to step 25 the rate is 0" in err
    manifest = json.loads((here / "artifacts/text_models/m/manifest.json").read_text())
    assert manifest["train_config"]["schedule_steps"] == 20
    assert manifest["steps"] == manifest["step"] == 25


def test_checkpoints_elsewhere_can_be_taken_to_another_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "m", "--steps", "10", "--schedule-steps", "20", "--ckpt-dir", "ck")
    call(capsys, *QUICK, "--model-id", "whole")
    result, _ = call(capsys, "train", "--resume", "ck", "--steps", "20", "--root", "other")
    assert result["model_id"] == "m"
    one, two = here / "artifacts/text_models/whole", here / "other/text_models/m"
    assert (one / "checkpoint.safetensors").read_bytes() == (two / "checkpoint.safetensors").read_bytes()


def test_copies_of_checkpoints_go_on_in_the_same_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "m", "--steps", "10", "--schedule-steps", "20", "--ckpt-dir", "ck")
    for copy in ("one", "two"):
        shutil.copytree(here / "ck", here / copy)
    first, err = call(capsys, "train", "--resume", "one", "--steps", "20")
    assert (first["model_id"], Path(first["ckpt"]), "notice: model" in err) == ("m", here / "one", False)
    second, err = call(capsys, "train", "--resume", "two", "--steps", "20")
    assert (
        f"is past step 10 already, with its checkpoints elsewhere; this copy goes on as model '{second['model_id']}'"
        in err
    )
    assert second["model_id"].startswith("m-")
    assert second["params_sha256"] == first["params_sha256"]
    assert Path(second["ckpt"]) == here / "artifacts/text_models" / second["model_id"] / "ckpt"


def test_a_copied_store_goes_on_by_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "m", "--steps", "10")
    call(capsys, "train", "--resume", "m", "--steps", "12")
    old = here / "artifacts/text_models/m"
    assert json.loads((old / "manifest.json").read_text())["ckpt_dir"] is None
    shutil.copytree(here / "artifacts", here / "copy")
    manifest = json.loads((here / "copy/text_models/m/manifest.json").read_text())
    manifest["ckpt_dir"] = str(old / "ckpt")  # as an older version wrote it
    (here / "copy/text_models/m/manifest.json").write_text(json.dumps(manifest))
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    call(capsys, "train", "--resume", "m", "--steps", "15", "--root", "copy")
    assert (here / "copy/text_models/m/ckpt/step-00000015.json").exists()
    call(capsys, "train", "--resume", str(old / "ckpt"), "--steps", "15", "--root", "third")
    assert (here / "third/text_models/m/ckpt/step-00000015.json").exists()
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    _, err = call(capsys, "train", "--resume", str(old / "ckpt"), "--steps", "20", "--root", "copy", code=1)
    assert "this store has a model 'm' already" in err


def test_a_folder_of_checkpoints_belongs_to_one_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "a", "--steps", "3", "--ckpt-dir", "ck")
    _, err = call(capsys, *QUICK, "--model-id", "b", "--steps", "3", "--ckpt-dir", "ck", code=1)
    assert "holds checkpoints of model 'a' (step 3)" in err
    assert not (here / "artifacts/text_models/b").exists()
    _, err = call(capsys, *QUICK, "--model-id", "b", "--ckpt-dir", "artifacts/text_models/a/ckpt", code=1)
    assert "lies in a model's folder" in err
    call(capsys, *QUICK, "--model-id", "b", "--steps", "3")
    _, err = call(capsys, "train", "--resume", "b", "--steps", "5", "--ckpt-dir", "ck", code=1)
    assert "holds checkpoints of model 'a'" in err
    path = here / "artifacts/text_models/b/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "ckpt_dir": str(here / "ck")}))
    _, err = call(capsys, "train", "--resume", "b", "--steps", "5", code=1)
    assert "belong to model 'a'" in err
    result, _ = call(capsys, "train", "--resume", "a", "--steps", "5")
    assert (result["step"], Path(result["ckpt"])) == (5, here / "ck")


def test_a_run_killed_before_its_first_step_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = here / "artifacts/text_models/m/ckpt/step-00000000.json"
    with spawn(
        *QUICK, "--steps", "100000", "--schedule-steps", "20", "--save-every", "100000", "--model-id", "m"
    ) as child:
        deadline = time.monotonic() + 60
        while not first.exists():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.kill()
        child.communicate(timeout=60)
    job = TrainJobs(Store(here / "artifacts")).status("m")
    assert (job.status, job.resumable) == ("interrupted", True)
    call(capsys, "train", "--resume", "m", "--steps", "20", "--save-every", "5")
    call(capsys, *QUICK, "--model-id", "whole")
    files = [here / "artifacts/text_models" / name / "checkpoint.safetensors" for name in ("whole", "m")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_starter_stays_the_one_that_ships(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "m", "--steps", "1")
    call(capsys, "models", "export", "m", "out")
    for line in ((*QUICK, "--model-id", "starter"), ("models", "import", "out", "--model-id", "starter")):
        assert "'starter' stands for the model that ships" in call(capsys, *line, code=1)[1]
    assert not (here / "artifacts/text_models/starter").exists()


@pytest.mark.parametrize("verb", ["train", "meta"])
def test_help_names_the_presets(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main.run([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    own = [name for name, path in presets().items() if ("\nmeta:" in path.read_text()) == (verb == "meta")]
    assert len(own) > 5
    assert [name for name in own if name not in shown] == []


def test_bpe_is_trained_on_the_train_part_and_can_be_used_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (here / "text.txt").read_bytes()
    (here / "text.txt").write_bytes(text[:2700] + b"zqzqzqzq" * 100)  # only held-out text teaches 'zqzq'
    (here / "quick.yaml").write_text(PRESET + "bpe_vocab: 400\nval_fraction: 0.25\n")
    result, _ = call(capsys, *QUICK, "--tokenizer", "bpe", "--model-id", "m")
    saved = here / "artifacts/text_models/m/tokenizer.json"
    vocab = json.loads(saved.read_text())["hf"]["model"]["vocab"]
    assert "zq" not in vocab
    assert len(vocab) == 398
    found, _ = call(capsys, "eval", "ppl", "--model", "m", "--file", "text.txt", "--split", "heldout")
    assert found["bits_per_byte"] == pytest.approx(result["val_bpb"], rel=1e-6)
    call(capsys, *QUICK, "--tokenizer", str(saved), "--model-id", "again")
    assert (here / "artifacts/text_models/again/tokenizer.json").read_bytes() == saved.read_bytes()


def test_without_a_corpus(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("train", "--preset", "quick.yaml", "--steps", "1")
    _, err = call(capsys, *quick, "--model-id", "a")
    assert "training_data/ does not exist, so the small corpus that ships is used" in err
    assert str(json.loads((here / "artifacts/text_models/a/manifest.json").read_text())["corpus"]["name"]) == "tiny"
    (here / "training_data").mkdir()
    (here / "training_data/mine.md").write_bytes((here / "text.txt").read_bytes())
    _, err = call(capsys, *quick, "--model-id", "b")
    assert "training_data" not in err
    assert json.loads((here / "artifacts/text_models/b/manifest.json").read_text())["corpus"]["bytes"] == 3000
    assert call(capsys, *quick, "--model-id", "c", "--quiet", "--corpus", "tiny")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--preset", "laptp"], 2, "preset 'laptp' does not exist; did you mean 'laptop'?"),
        (["--corpus", "/dev/null"], 2, "corpus /dev/null is neither a file nor a folder"),
        (["--corpus", "txt.txt"], 2, "corpus txt.txt does not exist; did you mean 'text.txt'?"),
        (["--batch-size", "4000"], 2, "shorter than one sequence"),
        (["--tokenizer", "quick.yaml"], 1, "tokenizer quick.yaml: not JSON"),
        (["--tokenizer", "nowhere.json"], 2, "tokenizer nowhere.json does not exist"),
        (["--model-id", "../x"], 2, "model id '../x' is not valid"),
        (["--steps", "0"], 2, "steps: Input should be greater than or equal to 1 (got 0)"),
        (["--device", "cude"], 2, "--device"),
        (["--device", "mps"], 2, "device 'mps' is not present on this machine"),
        (["--stpes", "3"], 2, "Unknown option: --stpes. Did you mean --steps?"),
        (["--resume", "nothere"], 2, "no model 'nothere'"),
        (["--resume", "m", "--seed", "3"], 2, "--seed cannot change in a resumed run"),
        (["--resume", "m", "--lr", "3"], 2, "--lr cannot change in a resumed run"),
        (["--resume", "m", "--steps", "2"], 2, "steps 2: the checkpoint is at step 3; give a larger --steps"),
        (["--resume", "m", "--preset", "laptop"], 2, "--preset laptop cannot change in a resumed run, which has quick"),
        (["--strategy", "deepspeed"], 2, "strategy 'deepspeed' is not supported; choose none (one process), fsdp"),
        (["--strategy", "fsdp"], 2, "strategy fsdp trains independent samples with AdamW"),
        (["--synthetic"], 2, "--synthetic and --corpus exclude each other"),
        (["--tokenizer", "hf:nowhere"], 2, "tokenizer hf:nowhere: nowhere does not exist"),
        (
            ["--resume", "m", "--corpus", "tiny", "--steps", "5"],
            2,
            "corpus tiny is not the text that this run began with",
        ),
        (["--model-id", "m"], 1, "model 'm' exists: choose another --model-id"),
    ],
)
def test_errors(here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str) -> None:
    if "m" in arguments:
        call(capsys, *QUICK, "--model-id", "m", "--steps", "3")
    line = ["train", "--quiet", *([] if "--resume" in arguments else QUICK[1:]), *arguments]
    names = [name for name in line if name.startswith("--")]
    for name in {name for name in names if names.count(name) > 1}:  # the case's own value counts
        at = line.index(name)
        del line[at : at + 2]
    out, err = call(capsys, *line, code=code)
    assert out is None
    assert text in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_damaged_checkpoint_is_passed_over_with_a_notice(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "whole")
    call(capsys, *QUICK, "--model-id", "m", "--steps", "12", "--schedule-steps", "20")
    last = here / "artifacts/text_models/m/ckpt/step-00000012.safetensors"
    last.write_bytes(last.read_bytes()[:-7])
    _, err = call(capsys, "train", "--resume", "m", "--steps", "20")
    assert "notice: checkpoint of step 12 is damaged and passed over" in err
    files = [here / "artifacts/text_models" / name / "checkpoint.safetensors" for name in ("whole", "m")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_after_the_step_at_hand(
    here: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    long = (*QUICK, "--steps", "100000", "--schedule-steps", "20", "--model-id", "m", "--json")
    log = here / "artifacts/text_models/m/train_log.jsonl"
    with spawn(*long) as child:
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_bytes().count(b"\n") > 3):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert child.returncode == code, err
    result = json.loads(out)
    assert result["status"] == "interrupted"
    assert f"{number.name}: stopped after step {result['step']}; go on with: fastweights train --resume m" in err
    manifest = json.loads((here / "artifacts/text_models/m/manifest.json").read_text())
    assert (manifest["status"], manifest["step"]) == ("interrupted", result["step"])
    ended, _ = call(capsys, "train", "--resume", "m", "--steps", str(result["step"] + 3))
    assert ended["status"] == "ready"
    call(capsys, *QUICK, "--steps", str(result["step"] + 3), "--schedule-steps", "20", "--model-id", "whole")
    files = [here / "artifacts/text_models" / name / "checkpoint.safetensors" for name in ("whole", "m")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_kill_9_leaves_a_run_that_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = (*QUICK, "--steps", "100000", "--schedule-steps", "20", "--model-id", "m")
    ckpt = here / "artifacts/text_models/m/ckpt"
    with spawn(*long) as child:
        deadline = time.monotonic() + 60
        while len(list(ckpt.glob("step-*.json"))) < 2:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.kill()
        child.communicate(timeout=60)
    step = max(int(path.stem[5:]) for path in ckpt.glob("step-*.json"))
    result, _ = call(capsys, "train", "--resume", "m", "--steps", str(step + 2))
    assert (result["status"], result["step"]) == ("ready", step + 2)


# ---------------------------------------------------------------- eval ppl


def test_any_file_can_be_scored(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, *QUICK, "--model-id", "m")
    (here / "binary.bin").write_bytes(bytes(range(256)) * 40)
    found, _ = call(capsys, "eval", "ppl", "--model", "m", "--file", "binary.bin")
    assert found["bytes"] == found["tokens"] == 10240
    assert found["nats_per_byte"] == pytest.approx(found["bits_per_byte"] * 0.693147, rel=1e-5)
    assert found["bits_per_byte"] > 8  # it was trained on text
    latest, _ = call(capsys, "eval", "ppl", "--file", "binary.bin")
    assert (latest["model_id"], latest["mode"]) == ("m", "stream")
    cold, _ = call(capsys, "eval", "ppl", "--file", "binary.bin", "--cold")
    assert cold["mode"] == "cold"
    assert cold["bits_per_byte"] != found["bits_per_byte"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty.txt", "file empty.txt is empty; there is nothing to predict"),
        ("txt.txt", "file txt.txt does not exist; did you mean 'text.txt'?"),
        (".", "file . is a folder; name one file"),
        ("folder", "file folder is a folder; name one file"),
    ],
)
def test_what_cannot_be_scored(here: Path, capsys: pytest.CaptureFixture[str], name: str, text: str) -> None:
    (here / "empty.txt").touch()
    (here / "folder").mkdir()
    call(capsys, *QUICK, "--model-id", "m", "--steps", "1")
    out, err = call(capsys, "eval", "ppl", "--file", name, code=2)
    assert out is None
    assert err == f"error: {text}\n"


# ---------------------------------------------------------------- models


def test_models_go_out_and_in(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, *QUICK, "--model-id", "m")[0]["model_id"] == "m"
    shown, _ = call(capsys, "models", "show", "m")
    assert ModelInfo.model_validate(shown).status == "ready"
    call(capsys, "models", "export", "m", "out/m")
    assert {p.name for p in (here / "out/m").iterdir()} == {
        "manifest.json", "config.json", "tokenizer.json", "checkpoint.safetensors", "train_log.jsonl",
    }  # fmt: skip
    info, _ = call(capsys, "models", "import", "out/m", "--root", "other")
    assert ModelInfo.model_validate(info).model_dump(mode="json") == shown
    info, _ = call(capsys, "models", "import", "out/m", "--root", "other", "--model-id", "m2")
    assert info["model_id"] == "m2"
    listed, _ = call(capsys, "models", "ls", "--root", "other")
    assert [row["model_id"] for row in listed if not row["shipped"]] == ["m2", "m"]
    old, _ = call(capsys, "eval", "ppl", "--model", "m", "--file", "text.txt")
    new, _ = call(capsys, "eval", "ppl", "--model", "m2", "--file", "text.txt", "--root", "other")
    assert new["bits_per_byte"] == old["bits_per_byte"]
    assert call(capsys, "models", "export", "m", "out/m", code=1)[1].startswith("error: folder out/m exists already")
    assert "model 'm' exists" in call(capsys, "models", "import", "out/m", code=1)[1]


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "config.json", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("how", ["gone", "cut", "link"])
def test_a_damaged_folder_is_not_taken_in(here: Path, capsys: pytest.CaptureFixture[str], name: str, how: str) -> None:
    call(capsys, *QUICK, "--model-id", "m", "--steps", "1")
    call(capsys, "models", "export", "m", "out")
    path = here / "out" / name
    data = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(data[:-8])
    elif how == "link":
        (here / "elsewhere").write_bytes(data)
        path.symlink_to(here / "elsewhere")
    code = 2 if (name, how) == ("manifest.json", "gone") else 1
    _, err = call(capsys, "models", "import", "out", "--model-id", "new", code=code)
    assert err.startswith("error: ")
    assert name in err
    assert not (here / "artifacts/text_models/new").exists()


def test_a_manifest_with_odd_types(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not taken in; and where it lies in a store already, left out of the list by name, and found by fsck."""
    call(capsys, *QUICK, "--model-id", "good", "--steps", "1")
    call(capsys, *QUICK, "--model-id", "odd", "--steps", "1")
    call(capsys, "models", "export", "odd", "out")
    for path in (here / "out/manifest.json", here / "artifacts/text_models/odd/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "step": "abc"}))
    _, err = call(capsys, "models", "import", "out", "--model-id", "new", code=1)
    assert "step is 'abc', not int" in err
    assert not (here / "artifacts/text_models/new").exists()
    listed, err = call(capsys, "models", "ls")
    assert [row["model_id"] for row in listed] == ["good", "starter"]
    assert "model odd is left out" in err
    report, _ = call(capsys, "fsck", code=1)
    assert [(f["path"], "step is 'abc'" in f["problem"]) for f in report["findings"]] == [("text_models/odd", True)]


def test_an_empty_store_says_what_to_do(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["models", "ls"]) == 0
    shown = capsys.readouterr().out
    assert "fastweights train" in shown or "starter" in shown
    assert not (here / "artifacts").exists()
    assert "no model 'x'" in call(capsys, "models", "show", "x", code=2)[1]


# ---------------------------------------------------------------- test-time training


def test_debug_tiny_goes_on_with_the_same_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole line may be given again with --resume; the checkpoints stay where they are."""
    line = ("train", "--preset", "debug_tiny", "--dataset", "text.txt", "--tokenizer", "spm_train", "--seq-len", "16")
    line += ("--batch-size", "1", "--device", "cpu", "--precision", "fp32", "--save-every", "2")
    whole, _ = call(capsys, *line, "--steps", "4", "--schedule-steps", "4", "--model-id", "whole")
    call(capsys, *line, "--steps", "2", "--schedule-steps", "4", "--ckpt-dir", "ck", "--model-id", "m")
    parts, _ = call(capsys, *line, "--steps", "4", "--resume", "ck")
    assert (parts["resumed_step"], parts["step"], parts["ckpt"]) == (2, 4, str(here / "ck"))
    assert parts["params_sha256"] == whole["params_sha256"]
    shutil.copytree(here / "ck", here / "free")
    moved, _ = call(capsys, "train", "--resume", "free", "--steps", "6", "--root", "other")
    assert moved["ckpt"] == str(here / "free")
    assert (here / "free/step-00000006.json").exists()
    tokenizer = json.loads((here / "other/text_models/m/tokenizer.json").read_text())
    assert tokenizer["kind"] == "spm"


def test_a_large_preset_on_a_cpu(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("train", "--preset", "bringup_1p3b", "--synthetic", "--tokenizer", "byte", "--seq-len", "16")
    result, err = call(capsys, *line, "--batch-size", "1", "--steps", "1", "--device", "cpu", "--model-id", "m")
    assert "preset bringup_1p3b is too large to train on a CPU, so debug_tiny is trained instead" in err
    assert result["params"] < 1_000_000
    manifest = json.loads((here / "artifacts/text_models/m/manifest.json").read_text())
    assert (manifest["preset"], manifest["corpus"]["path"]) == ("debug_tiny", "synthetic")


def test_the_planned_preset_prints_and_ends(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, _ = call(capsys, "train", "--preset", "ttt_47b")
    assert plan["status"] == "planned"
    assert {"parameters", "memory_per_rank", "flops_per_token"} <= plan.keys()
    assert main.run(["train", "--preset", "ttt_47b"]) == 0
    assert "memory per rank" in capsys.readouterr().out
    assert not (here / "artifacts").exists()


def test_lines_of_json_train(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (here / "text.txt").read_text()
    (here / "t.jsonl").write_text("".join(json.dumps({"text": text[i : i + 300]}) + "\n" for i in range(0, 3000, 300)))
    result, _ = call(capsys, "train", "--preset", "quick.yaml", "--corpus", "t.jsonl", "--steps", "2")
    assert result["val_bytes"] in (300, 600)

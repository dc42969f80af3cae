"""Several processes under torchrun: one run whatever their number; and one process, sharded or not, is the same run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastweights.cli import main
from fastweights.data.sources import find_source
from fastweights.services.jobs import TrainJobs
from fastweights.store.root import Store
from fastweights.train.checkpoint import checkpoint_steps

PRESET = """
model: {kind: ttt_lm, layers: 2, mixer: {dim: 16, heads: 2, chunk: 8}, mlp_hidden: 30}
seq_len: 20
batch_size: 2
steps: 8
save_every: 4
log_every: 2
warmup: 2
"""
LINE = ("--preset", "small.yaml", "--corpus", "text.txt")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(PRESET)
    (tmp_path / "text.txt").write_bytes(find_source("tiny").train[0].path.read_bytes()[:2000])
    return tmp_path


def spawn(n: int, *arguments: str) -> "subprocess.Popen[str]":
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    line = [*torchrun, "-m", "fastweights", "train", "--json", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


NO_MEETING = re.compile("EADDRINUSE|address already in use|DistNetworkError|RendezvousConnectionError", re.IGNORECASE)


def torchrun(n: int, *arguments: str, tries: int = 3) -> dict[str, Any]:
    with spawn(n, *arguments) as child:
        out, err = child.communicate(timeout=240)
    if child.returncode != 0 and tries > 1 and NO_MEETING.search(err):
        # torchrun picks a free port and binds it later: another test's server may have taken it by then.
        return torchrun(n, *arguments, tries=tries - 1)
    assert child.returncode == 0, err
    assert out.count("\n") == 1  # one process speaks
    return json.loads(out)


def alone(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main.run(["train", "--json", "--quiet", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


SAME = ("step", "loss", "val_bpb", "params_sha256")


def test_one_process_trains_the_same_in_shards(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [alone(capsys, *LINE, "--model-id", s, "--strategy", s) for s in ("none", "fsdp", "fsdp2")]
    assert len({tuple(run[key] for key in SAME) for run in runs}) == 1
    files = [here / f"artifacts/text_models/{s}/checkpoint.safetensors" for s in ("none", "fsdp", "fsdp2")]
    assert len({file.read_bytes() for file in files}) == 1
    shutil.copytree(here / "artifacts/text_models/none/ckpt", here / "from-whole")
    more = alone(capsys, "--resume", "from-whole", "--root", "b", "--strategy", "fsdp2", "--steps", "10")
    want = alone(capsys, "--resume", "none", "--steps", "10")
    assert [more[key] for key in (*SAME, "resumed_step")] == [want[key] for key in (*SAME, "resumed_step")]


def test_two_processes_stop_and_go_on_and_one_reads_what_they_wrote(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = torchrun(2, *LINE, "--strategy", "fsdp", "--model-id", "m", "--ckpt-dir", "ck")
    assert (whole["processes"], whole["strategy"], whole["step"]) == (2, "fsdp", 8)
    assert whole["cpu_seconds"] > 2
    assert checkpoint_steps(here / "ck") == [8, 4]
    assert len(list((here / "ck/step-00000008").glob("*.distcp"))) == 2

    shutil.copytree(here / "ck", here / "half")
    (here / "half/step-00000008.json").unlink()  # the last one was never finished
    parts = torchrun(2, "--resume", "half", "--root", "other")
    assert (parts["resumed_step"], parts["ckpt"]) == (4, str(here / "half"))
    assert [parts[key] for key in SAME] == [whole[key] for key in SAME]
    rows = [(here / root / "text_models/m/train_log.jsonl").read_text() for root in ("artifacts", "other")]
    losses = [{row["step"]: row["loss"] for row in map(json.loads, text.splitlines())} for text in rows]
    assert losses[1] == {step: loss for step, loss in losses[0].items() if step > 4}

    for strategy in ("none", "fsdp", "fsdp2"):  # nothing is left to do
        shutil.copytree(here / "ck", here / strategy)
        one = alone(capsys, "--resume", strategy, "--root", f"r-{strategy}", "--strategy", strategy)
        assert [one[key] for key in ("step", "resumed_step")] == [8, 8]
        assert one["params_sha256"] == whole["params_sha256"]
    again = alone(capsys, "--resume", "m")
    assert [again[key] for key in SAME] == [whole[key] for key in SAME]
    info = json.loads((here / "artifacts/text_models/m/manifest.json").read_text())
    assert (info["status"], info["kind"], info["strategy"]) == ("ready", "ttt_lm", "fsdp")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", "fsdp2"])
def test_four_go_on_with_what_two_wrote(here: Path, strategy: str, capsys: pytest.CaptureFixture[str]) -> None:
    half = torchrun(2, *LINE, "--strategy", strategy, "--ckpt-dir", "ck", "--model-id", "m", "--steps", "4")
    for n in (1, 4):
        shutil.copytree(here / "ck", here / f"ck{n}")
        assert torchrun(n, "--resume", f"ck{n}", "--root", f"r{n}")["params_sha256"] == half["params_sha256"]
    other = {"fsdp": "fsdp2", "fsdp2": "fsdp"}[strategy]
    more = torchrun(4, "--resume", "ck4", "--root", "r4", "--strategy", other, "--steps", "8")
    assert (more["resumed_step"], more["step"], more["processes"]) == (4, 8, 4)
    # Batch 4 a step from 2 x 2, or from one process of batch 4: the same samples in another order of summation.
    (here / "one.yaml").write_text(PRESET.replace("batch_size: 2", "batch_size: 4"))
    one = alone(capsys, "--preset", "one.yaml", "--corpus", "text.txt", "--model-id", "one", "--steps", "4")
    assert one["loss"] == pytest.approx(half["loss"], rel=1e-5)


def kill_one(here: Path, rank: str) -> tuple[int, str, str]:
    """Of two processes, as soon as there is a checkpoint after the first."""
    line = (*LINE, "--strategy", "fsdp", "--model-id", "m", "--steps", "100000", "--schedule-steps", "8")
    with spawn(2, *line) as child:
        deadline = time.monotonic() + 120
        while len(list((here / "artifacts/text_models/m/ckpt").glob("step-*.json"))) < 2:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ranks = {p.environ().get("RANK"): p for p in psutil.Process(child.pid).children()}
        ranks[rank].send_signal(signal.SIGKILL)
        out, err = child.communicate(timeout=120)
    return child.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_killed_process_ends_the_run_and_it_goes_on(
    here: Path, rank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = kill_one(here, rank)
    assert (code, out) == (1, "")
    assert "another process of this run has ended" in err
    assert TrainJobs(Store(here / "artifacts")).status("m").resumable
    step = checkpoint_steps(here / "artifacts/text_models/m/ckpt")[0]
    ended = torchrun(2, "--resume", "m", "--steps", str(step + 2))
    assert (ended["status"], ended["resumed_step"], ended["step"]) == ("ready", step, step + 2)


def test_several_processes_want_a_strategy(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main.run(["train", *LINE]) == 2
    assert "strategy none trains in one process, not in 2: give --strategy fsdp" in capsys.readouterr().err

"""The meter of memories: its records, its controls, and what it counts."""

import json
import lzma
from pathlib import Path

import numpy as np
import pyppmd
import pytest
import torch

from fastweights.cli import main
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.models.memory.names import MEMORIES
from fastweights.models.registry import LoadedModel
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.services.chat import ChatService
from fastweights.services.evals import adapt_reads as reads
from fastweights.services.evals.compressors import PPM_BYTES, PPM_ORDER, compressed, figures
from fastweights.services.evals.recall import LETTERS, document
from fastweights.services.generate import OpenModel
from fastweights.services.records import Sampling, SessionOptions
from fastweights.store.root import Store
from tests.small_ttt import save_random_ttt

TEXT = b"The lamp is in the hall. The key is in the lamp. " * 12


@pytest.fixture(scope="module")
def model() -> OpenModel:
    torch.manual_seed(0)
    lm = TinyLM(TinyLMConfig(vocab_size=258, dim=16, layers=1)).eval().requires_grad_(False)
    torch.nn.init.normal_(lm.head.weight, std=0.1)
    return OpenModel(LoadedModel("tiny", lm, ByteTokenizer(), {"checkpoint_sha256": "0" * 64}))


def test_chunks_hold_every_byte(model: OpenModel) -> None:
    chunks = reads.chunks_of(model, TEXT, 64)
    assert sum(chunk.inputs["bytes"] for chunk in chunks) == len(TEXT)
    assert "".join(chunk.text or "" for chunk in chunks).encode() == TEXT


def test_the_mix_beats_frozen_and_controls(model: OpenModel) -> None:
    chunks = reads.chunks_of(model, TEXT, 64)
    base = reads.frozen(model, chunks)
    bits = {
        name: read.figures(len(TEXT), base, 0)
        for name, read in {
            "frozen": base,
            "mix": reads.adapted(model, chunks, "mix", 64, False),
            "bias": reads.bias(model, chunks),
            "random": reads.random_updates(model, chunks, 64, 0),
            "dynamic": reads.dynamic(model, chunks),
        }.items()
    }
    assert bits["frozen"]["gain"] == 0
    assert bits["mix"]["bits_per_byte"] < min(f["bits_per_byte"] for name, f in bits.items() if name != "mix")
    low, high = bits["mix"]["gain_ci95"]
    assert low - 1e-9 <= bits["mix"]["gain"] <= high + 1e-9  # (of less than two blocks it is a point)
    assert bits["mix"]["cpu_ms_per_kb"] > 0


def test_the_model_is_left_alone(model: OpenModel) -> None:
    kept = {name: w.clone() for name, w in model.loaded.lm.state_dict().items()}
    reads.dynamic(model, reads.chunks_of(model, TEXT[:200], 64))
    assert all(torch.equal(w, kept[name]) for name, w in model.loaded.lm.state_dict().items())


def test_refusals_are_counted(model: OpenModel) -> None:
    read = reads.adapted(model, reads.chunks_of(model, b"x" * 400, 64), "linear", 64, True)
    figures = read.figures(400, read, 0)
    assert figures["chunks"] == 7
    assert figures["refused"] == sum(figures["refusals"].values()) > 0  # the gate does not learn repetition


@pytest.mark.parametrize("distance", [0, 64, 5000])
def test_a_document_states_its_facts_and_asks_for_them(distance: int) -> None:
    page = document(3, distance, 2, 5)
    words = [bytes(page.data[i] for i in page.letters[at : at + LETTERS]) for at in range(0, 5 * LETTERS, LETTERS)]
    assert all(page.data.count(word) == 3 and word.isalpha() for word in words)
    assert page == document(3, distance, 2, 5) != document(4, distance, 2, 5)
    last = page.data.rindex(b"The secret word", 0, page.letters[0])
    assert last - page.data.index(b"\n", page.data[:last].rindex(words[-1])) - 1 == distance


def test_a_block_bootstrap_holds_the_mean() -> None:
    bits, sizes = np.random.default_rng(0).normal(64.0, 8.0, 200), np.full(200, 64)
    low, high = reads._interval(bits, sizes, 0)
    assert low < bits.sum() / sizes.sum() < high


@pytest.mark.parametrize("data", [b"a", TEXT, bytes(range(256)) * 8])
def test_what_a_compressor_writes_holds_the_text(data: bytes) -> None:
    written = compressed("ppm", data)
    assert pyppmd.Ppmd7Decoder(PPM_ORDER, PPM_BYTES).decode(written, len(data)) == data
    assert lzma.decompress(compressed("xz", data)) == data
    assert figures("ppm", data)["bits_per_byte"] == 8 * len(written) / len(data)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes(TEXT[:300])
    root = ["--root", str(tmp_path), "--model", "starter", "--json", "--quiet"]
    assert main.run(["eval", "adapt", "--text", str(text), *root]) == 0
    (row,) = json.loads(capsys.readouterr().out)["texts"]
    for name in ("frozen", "default", *MEMORIES, "bias", "random", "shuffled", "dynamic", "xz", "ppm"):
        assert row[name]["bits_per_byte"] > 0
        assert row[name]["cpu_ms_per_kb"] >= 0
    assert (
        main.run(["eval", "recall", "--distance", "64", "--times", "1", "--facts", "2", "--memory", "mix", *root]) == 0
    )
    results = json.loads(capsys.readouterr().out)["results"]
    assert {r["memory"] for r in results} == {"default", "mix", "frozen", "attention_window"}
    assert all(r["distance"] == 64 and r["times"] == 1 and r["bits_per_letter"] >= 0 for r in results)
    assert main.run(["eval", "adapt", "--text", str(tmp_path / "none"), *root]) == 2


@pytest.mark.parametrize(
    "given",
    [
        ["adapt", "--chunk-tokens", "0"],
        ["adapt", "--chunk-tokens", "99999"],
        ["adapt", "--seed", "-1"],
        ["recall", "--chunk-tokens", "0"],
        ["recall", "--distance", "64", "-1"],
        ["recall", "--times", "0"],
        ["recall", "--facts", "1000000"],  # more than there are names: it must not look for them for ever
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes(TEXT[:50])
    of = ["--text", str(text)] if given[0] == "adapt" else []
    assert main.run(["eval", *given, *of, "--root", str(tmp_path), "--model", "starter", "--json"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert given[1].removeprefix("--").replace("-", "_") in err


def test_a_model_with_a_rule_of_its_own_is_its_own_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_random_ttt(Store(tmp_path), layers=1)
    text = tmp_path / "a.txt"
    text.write_bytes(TEXT[:200])
    root = ["--root", str(tmp_path), "--model", "ttt", "--json", "--quiet"]
    assert main.run(["eval", "adapt", "--text", str(text), *root]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {*found["texts"][0]} == {"file", "bytes", "frozen", "default", *found["controls"]}
    assert found["default_memory"] is found["texts"][0]["default"]["memory"] is None
    assert main.run(["eval", "recall", "--distance", "64", "--times", "1", "--facts", "1", *root]) == 0
    names = [row["memory"] for row in json.loads(capsys.readouterr().out)["results"]]
    assert names[:2] == ["default", "frozen"]


def test_a_session_with_the_mix_is_stored_forked_compared_and_verified(tmp_path: Path) -> None:
    chats = ChatService(Store(tmp_path))
    session = chats.new(SessionOptions(model="starter", memory="mix"), "a").session_id
    brief = Sampling(max_new_tokens=4)
    first = chats.send(session, "The key of the mill is under the third stone.", brief)
    second = chats.send(session, "Where is the key of the mill?", brief)
    assert chats.verify(session).ok
    change = next(t for t in chats.diff(session, first.commit, second.commit).tensors if t.name == "ngram.logit")
    assert change.l2 is not None
    assert change.l2 > 0
    fork = chats.fork(session)
    again = ChatService(Store(tmp_path)).send(fork.session_id, "Where?", brief)
    assert again.reply == chats.send(session, "Where?", brief).reply

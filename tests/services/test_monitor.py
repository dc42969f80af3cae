"""The monitor over any text: what it reads, what it reports, and the defects that must not come back."""

import json
import random
import tracemalloc
from collections.abc import Iterator
from importlib.resources import files

import pytest
import torch

from fastweights.data.hashed_words import words
from fastweights.data.text_chunks import decoded, token_chunks, word_chunks
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.errors import FastweightsError
from fastweights.guard.gate_policy import GatePolicy
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy, Policy, SpfwPolicy
from fastweights.layers import naive
from fastweights.models.toy import ToyLM
from fastweights.services.monitor import MonitorService
from fastweights.services.monitor_loop import Monitor
from fastweights.services.monitor_parts import build_monitor
from fastweights.services.monitor_records import MonitorEvent, MonitorOptions, MonitorRequest, MonitorSummary
from fastweights.store.root import Store
from tests.small_models import save_random_model

PROSE = (
    "The mill stood where the river bent, and its wheel turned slowly even in August. Anna carried the flour down to "
    "the cart while her brother counted the sacks twice. In the afternoon they watched the swallows over the weir. "
)
BENIGN = (files("fastweights.data") / "assets" / "tiny.txt").read_text(encoding="utf-8")[:1500]
_NO_GATE = GatePolicy(**{name: {"mode": "off"} for name in GatePolicy.model_fields})  # type: ignore[arg-type]
OFF = Policy(
    name="off",
    audit=AuditPolicy(mode="off"),
    drift=DriftPolicy(mode="off"),
    cusum=CusumPolicy(mode="off"),
    spfw=SpfwPolicy(mode="off"),
    gate=_NO_GATE,
)
NO_GATE = Policy(gate=_NO_GATE)
STRICT = OFF.model_copy(update={"audit": AuditPolicy(max_delta=1e-4)})


@pytest.fixture
def service(store: Store) -> MonitorService:
    return MonitorService(store)


def monitor(service: MonitorService, text: str | bytes, **options) -> tuple[list[MonitorEvent], MonitorSummary]:
    chosen = MonitorOptions(**options)
    it = Monitor(build_monitor(service.pool, chosen), chosen)
    data = text.encode() if isinstance(text, str) else text
    events = list(it.read([data] if data else []))
    return events, it.summary()


def strict(value: object) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(json.dumps(value), parse_constant=refuse)


# ---------------------------------------------------------------- what it reads


def test_every_chunk_is_an_event_and_every_token_is_in_one(service: MonitorService) -> None:
    events, summary = monitor(service, PROSE * 5 + "End", chunk_tokens=16)
    tokens = len(words(PROSE * 5)) + 1
    assert [e.chunk_index for e in events] == list(range(len(events)))
    assert [e.token_start for e in events[1:]] == [e.token_end for e in events[:-1]]
    assert (events[0].token_start, events[-1].token_end) == (0, tokens)
    assert summary.tokens == tokens
    assert summary.chunks == len(events) == -(-tokens // 16)
    assert summary.committed + summary.blocked + summary.rolled_back == summary.chunks
    assert summary.loss_mean is not None
    assert 7 < summary.loss_mean < 11  # a random model over 8,192 words
    for event in events:
        strict(event.model_dump(mode="json"))
        MonitorEvent.model_validate_json(event.model_dump_json())


@pytest.mark.parametrize("backbone", ["ssm", "gru"])
@pytest.mark.parametrize("objective", ["ar", "mlm"])
def test_a_stream_in_odd_pieces_equals_the_whole(service: MonitorService, backbone: str, objective: str) -> None:
    text = (PROSE + "Zwölf Boxkämpfer; 漢字かな交じり文 — naïve 😀\n") * 2
    data = text.encode()
    draw = random.Random(0)
    cuts = sorted(draw.sample(range(1, len(data)), 60))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    options = MonitorOptions(backbone=backbone, objective=objective, chunk_tokens=16)  # type: ignore[arg-type]
    one, other = (Monitor(build_monitor(service.pool, options), options) for _ in range(2))
    whole = [e.model_dump() for e in one.read([data])]
    assert whole == [e.model_dump() for e in other.read(pieces)]
    assert "".join(e["chunk_preview"] for e in whole).startswith("The mill stood where")


def test_a_stored_model_takes_the_toys_place(store: Store, service: MonitorService) -> None:
    save_random_model(store, "tiny")
    data = "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich. 漢字".encode()
    events, summary = monitor(service, data, model="tiny", chunk_tokens=16)
    assert summary.tokens == len(data)
    assert summary.model == "tiny"
    assert summary.committed > 0
    assert "".join(e.chunk_preview for e in events) == data.decode()
    with pytest.raises(ValueError, match="mlm needs model toy"):
        MonitorOptions(model="tiny", objective="mlm")


def test_memory_does_not_grow_with_the_input() -> None:
    def stream(block: bytes, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield block

    def peak(count: int, block: bytes) -> int:
        tracemalloc.start()
        for _ in word_chunks(decoded(stream(block, count)), 128):
            pass
        for _ in token_chunks(decoded(stream(block, count)), ByteTokenizer(), 128):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    for block in (PROSE.encode() * 40, b" " * 8192, b"a" * 8192, b"\xff\x00" * 4096):
        peak(1, block)  # caches fill
        assert peak(40, block) < peak(4, block) + 200_000


def test_masks_are_never_at_the_ends_and_never_missing(service: MonitorService) -> None:
    options = MonitorOptions(objective="mlm", chunk_tokens=40)
    parts = build_monitor(service.pool, options)
    rates = []
    for piece, chunk in parts.chunks([PROSE * 8]):
        mask = chunk.mask_BT[0]
        assert mask.any()
        assert not mask[0]
        assert not mask[-1]
        assert torch.equal(chunk.targets_BT[0], torch.tensor(piece.ids))
        assert bool((chunk.tokens_BT[0][mask] == 8191).all())
        assert torch.equal(chunk.tokens_BT[0][~mask], chunk.targets_BT[0][~mask])
        rates.append(float(mask.float().mean()))
    assert 0.08 < sum(rates) / len(rates) < 0.22
    for length in (1, 2, 3):
        (_, chunk), *_ = parts.chunks([" ".join("abc"[:length])])
        assert chunk.mask_BT[0].tolist() == [i == length // 2 for i in range(length)]


def test_updates_off_measures_and_writes_nothing(service: MonitorService) -> None:
    on, _ = monitor(service, BENIGN, chunk_tokens=32)
    off, summary = monitor(service, BENIGN, chunk_tokens=32, updates=False)
    assert not summary.updates
    assert summary.drift == 0
    assert all(e.update_norm == 0 and e.update_skipped and e.step == 0 for e in off)
    assert all(e.attempted_update_norm for e in off)
    assert off[0].loss == on[0].loss
    assert off[0].canaries == on[0].canaries  # of the attempted write: what it would have done
    assert all(e.canary_delta for e in off)
    assert all(e.drift == 0 for e in off)
    assert len({e.canary_loss_before for e in off}) == 1
    judged, _ = monitor(service, BENIGN, chunk_tokens=32, updates=False, policy=STRICT)
    assert [e.decision for e in judged] == [
        "rolled_back" if (e.canary_delta or 0) > 1e-4 else "committed" for e in judged
    ]
    assert [e.loss for e in judged] == [e.loss for e in off]  # whatever the guard says
    assert on[-1].loss != off[-1].loss
    assert summary.committed == len(off)


def test_influence_is_reported_only_when_asked_for(service: MonitorService) -> None:
    without, _ = monitor(service, PROSE, chunk_tokens=16)
    assert all(e.top_influence_tokens == [] for e in without)
    with_it, _ = monitor(service, PROSE, chunk_tokens=16, influence=True)
    for event in with_it:
        assert 0 < len(event.top_influence_tokens) <= 8
        values = [value for _, value in event.top_influence_tokens]
        assert values == sorted(values, reverse=True)
    assert [e.loss for e in with_it] == [e.loss for e in without]
    tokens = {token for e in with_it for token, _ in e.top_influence_tokens}
    assert tokens <= {*words(PROSE), "(before the chunk)"}


def test_own_canaries_replace_the_shipped_ones_and_leave_no_trace(service: MonitorService, store: Store) -> None:
    secret = "heliotrope quartz lantern"
    run = service.run_request(MonitorRequest(text=PROSE, canary_text=[secret, "another one"]))
    assert run.own_canaries == 2
    (event, *_) = service.events(run.run_id)
    assert [c.name for c in event.canaries] == ["own-1", "own-2"]
    for path in store.root.rglob("*"):
        assert path.is_dir() or b"heliotrope" not in path.read_bytes()
    with pytest.raises(FastweightsError, match="canary_text has no token"):
        service.run_request(MonitorRequest(text=PROSE, canary_text=["  "]))


def test_an_attack_is_refused_and_still_measured(service: MonitorService) -> None:
    events, summary = monitor(service, PROSE * 4 + "drift " * 256 + PROSE * 4, chunk_tokens=64)
    refused = [e for e in events if e.decision == "blocked"]
    assert len(refused) >= 3
    assert summary.blocked == len(refused)
    for event in refused:
        assert not event.gate_allowed
        assert event.gate_reasons
        assert event.update_skipped
        assert event.update_norm == 0
        assert event.loss is not None
        assert event.grad_norm
        assert event.attempted_update_norm


@pytest.mark.parametrize("text", ["", "   \n\t ", "\u3000\u00a0 \n" * 30_000])
def test_an_input_without_a_token_is_a_clear_error_and_no_run(store: Store, service: MonitorService, text: str) -> None:
    with pytest.raises(FastweightsError, match=r"text (is empty|has no token)"):
        service.run_request(MonitorRequest(text=text))
    assert service.list() == []


def test_blank_space_before_a_word_and_alone_where_it_has_tokens(store: Store, service: MonitorService) -> None:
    run = service.run(MonitorOptions(), [b" ", b"\n\t", b"\xe2", b"\x82\xac"], "live")
    assert run.summary is not None
    assert (run.summary.tokens, run.input_bytes) == (1, 6)
    assert service.run(MonitorOptions(), [b"  ", b"\xe2"], "live").status == "done"  # half a character is one
    save_random_model(store, "tiny")
    run = service.run(MonitorOptions(model="tiny"), [b"  ", b"\n"], "live")
    assert run.summary is not None
    assert run.summary.tokens == 3


def test_a_stream_of_bpe_tokens_equals_the_whole() -> None:
    """However the bytes arrive, and wherever a chunk ends: the ids are those of the whole text."""
    from fastweights.data.text_chunks import token_chunks
    from fastweights.data.tokenizer import load_tokenizer
    from fastweights.store.models import Models

    tokenizer = load_tokenizer(Models(Store("nowhere")).path("starter") / "tokenizer.json")
    assert tokenizer.kind != "byte"
    code = "def f(x):\n\n\n    return {'a':  1}\r\n\r\n\t# naïve — 漢字かな 😀\u200d\u3000x\u00a0\n \n  \n"
    text = BENIGN[:700] + (code + "| a | b |\n|---|\n") * 3 + "no-break" * 40 + "   \n\n" + PROSE + "\n"
    data, draw = text.encode(), random.Random(1)
    whole = tokenizer.encode(text)
    for pieces in (1, 2, 40, len(data) - 1):
        cuts = sorted(draw.sample(range(1, len(data)), pieces))
        blocks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        chunks = list(token_chunks(decoded(blocks), tokenizer, 32))
        assert [i for chunk in chunks for i in chunk.ids] == whole
        assert "".join(chunk.text for chunk in chunks) == text
        assert {len(chunk.ids) for chunk in chunks[:-1]} == {32}


@pytest.mark.parametrize("demo", ["demo", "high_entropy"])
def test_demos(service: MonitorService, demo: str) -> None:
    run = service.run_request(MonitorRequest(demo=demo))  # type: ignore[arg-type]
    assert run.source == demo
    assert run.summary is not None
    assert run.summary.chunks >= 4
    assert (run.summary.blocked > 0) == (demo == "demo")


# ---------------------------------------------------------------- the defects of the earlier lab


def test_defect_01_the_ssm_was_dead() -> None:
    """Its scan underflowed to exactly 0 for 116 of 128 positions: here every state equals the naive recurrence."""
    lm = ToyLM("ssm")
    tokens = torch.randint(0, 8192, (1, 128), generator=torch.Generator().manual_seed(0))
    ssm, x = lm.backbone, lm.embedding(tokens)
    h, _ = ssm(x, ssm.init_carry(1))  # type: ignore[operator]
    u = ssm.b * (torch.sigmoid(ssm.gate(x)) * x)  # type: ignore[operator]
    s = naive.scan(torch.tanh(ssm.a_logit).expand_as(u), u, u.new_zeros(1, 64))  # type: ignore[arg-type]
    torch.testing.assert_close(h, ssm.c * s + ssm.d * x, rtol=1e-5, atol=1e-5)  # type: ignore[operator]
    assert bool((s.abs().amax(-1) > 1e-3).all())


def test_defect_05_history_without_spread_made_benign_text_roll_back(service: MonitorService) -> None:
    """The same sentence over and over has a MAD near 0; a different but harmless one must not fire."""
    sentence = " ".join(f"w{i}" for i in range(32)) + " "
    other = " ".join(f"v{i}" for i in range(32)) + " "
    events, _ = monitor(service, sentence * 24 + other + PROSE * 2, chunk_tokens=32, policy=NO_GATE)
    assert not [e for e in events if e.rollback_triggered], [e.rollback_reasons for e in events]
    assert not [e for e in events[8:] if "robust" in " ".join(e.reasons)]


def test_defect_06_rollback_restored_only_the_last_of_several_inner_steps(service: MonitorService) -> None:
    """A rolled-back chunk leaves no trace at all, and its canary rise is that of all inner steps together."""
    strict_audit = OFF.model_copy(update={"audit": AuditPolicy(max_delta=1e-9)})
    steps = {"chunk_tokens": 32, "inner_steps": 4, "lr": 5.0}
    events, summary = monitor(service, PROSE * 3, policy=strict_audit, **steps)
    frozen, _ = monitor(service, PROSE * 3, policy=OFF, updates=False, **steps)
    assert summary.rolled_back > 0
    first = next(i for i, e in enumerate(events) if e.rollback_triggered)
    assert (events[first].canary_delta or 0) > 1e-3
    assert events[first].rollback_reasons
    if first == 0:
        assert events[1].loss == frozen[1].loss
    kept, _ = monitor(service, PROSE * 3, policy=strict_audit, **{**steps, "lr": 100.0, "rule": "muon"})
    assert [e.decision for e in kept] == ["rolled_back"] * len(kept)
    assert [e.loss for e in kept] == [e.loss for e in frozen]
    assert all(e.step == 0 and e.drift == 0 for e in kept)


def test_defect_07_a_nan_update_was_committed(service: MonitorService) -> None:
    """A gradient or loss that is not a number blocks under any policy, and the event is still JSON."""
    options = MonitorOptions(policy=OFF, chunk_tokens=16)
    parts = build_monitor(service.pool, options)
    poisoned = words(PROSE)[20]
    table = parts.model.lm.get_submodule("embedding").weight  # type: ignore[union-attr, attr-defined]
    from fastweights.data.hashed_words import word_id

    table[word_id(poisoned)] = float("nan")  # type: ignore[index]
    events = list(Monitor(parts, options).read([PROSE.encode()]))
    bad = [e for e in events if e.loss is None]
    assert bad
    for event in bad:
        assert event.decision == "blocked"
        assert "loss is not finite" in event.reasons
        assert event.update_norm == 0
        strict(event.model_dump(mode="json"))
        assert "NaN" not in event.model_dump_json()
    assert events[-1].decision == "committed"  # the reader recovers: a poisoned carry goes no further


@pytest.mark.parametrize("model", ["toy", "tiny"])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("hex without a space", random.Random(0).randbytes(50_000).hex().encode()),
        ("Chinese", ("春眠不觉晓处处闻啼鸟夜来风雨声花落知多少" * 40).encode()),
        ("binary", bytes(range(256)) * 8),
        ("one token", b"x"),
        ("tail of one token", b" ".join([b"a b c d"] * 32) + b" tail"),
        ("not UTF-8", b"\xff\xfe\xc3"),
    ],
)
def test_defect_10_odd_inputs_gave_no_events(
    store: Store, service: MonitorService, model: str, name: str, data: bytes
) -> None:
    if model == "tiny":
        save_random_model(store, "tiny")
    events, summary = monitor(service, data, model=model, chunk_tokens=128 if model == "toy" else 4096)
    assert events
    text = data.decode("utf-8", "replace")
    expected = len(words(text)) if model == "toy" else len(text.encode())
    assert summary.tokens == expected == events[-1].token_end
    assert all(e.loss is not None and e.grad_norm is not None for e in events)
    if name == "hex without a space":
        assert summary.tokens > 3000
    if name == "tail of one token" and model == "toy":
        assert events[-1].token_end - events[-1].token_start == 1


def test_defect_11_the_sign_of_the_alignment(service: MonitorService) -> None:
    """A positive cosine means that the SGD step lowers the canary loss: checked against the measured canaries."""
    from fastweights.data.canaries import CANARY_TEXTS

    options = {"chunk_tokens": 14, "policy": OFF, "lr": 0.01}
    helpful, _ = monitor(service, CANARY_TEXTS["narrative"], **options)
    first = helpful[0]
    assert first.grad_canary_cos is not None
    assert first.grad_canary_cos > 0.1
    assert first.canary_loss_after is not None
    assert first.canary_loss_before is not None
    assert first.canary_loss_after < first.canary_loss_before
    events, _ = monitor(service, PROSE * 3, **options)
    for event in [*helpful, *events]:  # to first order: -lr <g, g_canary>
        assert event.grad_canary_dot is not None
        change = (event.canary_loss_after or 0) - (event.canary_loss_before or 0)
        grad = min(1.0, 1.0 / (event.grad_norm or 1.0))  # the rule clips at 1
        if abs(event.grad_canary_dot * grad) > 0.05:
            assert change < 0 if event.grad_canary_dot > 0 else change > 0

"""Sleep: what sessions have learned goes over into the slow weights of a candidate model. The base is only read.

``replay`` trains backbone and norm on what the sessions said, mixed with core text. ``delta`` distils what their fast
weights know into few rows of the n-gram table: those by which the sessions gain most and that core text reads least.
Both write through the guard. Torch loads late.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError, NotFound
from fastweights.services.chat import ChatService
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.sleep import measure
from fastweights.services.sleep.candidates import check_free, summary
from fastweights.services.sleep.records import SleepManifest, SleepPart, SleepRequest, SleepWrite
from fastweights.services.sleep.traces import harvest, taught, trace_of
from fastweights.services.trained_length import longest
from fastweights.store import atomic
from fastweights.store.models import CHECKPOINT, Models
from fastweights.store.root import MODELS, Store, new_id, now
from fastweights.store.sleep_files import SLEEP_MANIFEST

if TYPE_CHECKING:
    from fastweights.data.corpus import Corpus
    from fastweights.guard.event import Event
    from fastweights.train.sleep_learn import Learned

Note = Callable[[str], None]
LR = {"replay": 2e-4, "delta": 0.2, "delta, dense": 0.01}
_OWN = ("id", "status", "created_at", "sleep", "parent", "recipe", "dtype", "ckpt_dir", "strategy", "error", "preset")


def sleep(
    store: Store, request: SleepRequest, note: Note = lambda _: None, *, cpu_budget: float | None = None
) -> SleepManifest:
    """Makes a candidate (status ``sleep_candidate``) and returns its evidence, which is kept beside it.

    ``cpu_budget``: end training so that the whole takes about that many CPU seconds. ``FastweightsError``: no turn to
    harvest, too few tokens for ``seq_len``, no such base, session or core text; ``Conflict``: the id is taken.
    """
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.models.tiny_lm import TinyLM
    from fastweights.train.sleep import Lessons, length_of_rows
    from fastweights.train.sleep_delta import Distilling, delta
    from fastweights.train.sleep_learn import CoreText, replay

    started, created = time.process_time(), now()
    if request.nano is not None:
        from fastweights.services.nano.sleep import nano_sleep

        return nano_sleep(store, request, note)
    models = Models(store)
    model_id = request.model_id or new_id("sleep")
    check_free(models, model_id)
    torch.set_num_threads(1)
    keep_freed_memory()
    chat = ChatService(store, pool=ModelPool(store, "cpu"))
    model = chat.pool.open(request.base_model_id)
    lm = model.loaded.lm
    harvested, notes = harvest(chat, model, request.max_memories, request.sessions)
    traces = [trace_of(one, model) for one in harvested]
    corpus, name, said = core_text(store, model, request.core_path)
    notes += said
    n_turns = sum(len(one.turns) for one in harvested)
    note(f"{n_turns} turns of {len(traces)} sessions of {model.loaded.model_id}; core text {name}")
    left = len(corpus.train) - CoreText.tokens(corpus.train)
    reach = longest(model.loaded)
    seq_len = length_of_rows(request.seq_len, traces, corpus.train[:left], reach)
    how: dict[str, Any] = {"seq_len": seq_len, "core_ratio": request.core_ratio}
    meter = measure.Meter(
        model.loaded, corpus, traces, Lessons(traces, corpus.train, **how, seed=request.seed + 1), reach
    )
    timed = time.process_time()
    before = meter.measure(lm)
    timed = time.process_time() - timed  # what measuring the candidate will take, too
    note("what the sessions' fast weights say of their own text")
    teachers = [taught(chat, one, trace) for one, trace in zip(harvested, traces, strict=True)]
    known = [
        -teacher_TV.float().gather(1, t.ids_T[:, None])[:, 0] for teacher_TV, t in zip(teachers, traces, strict=True)
    ]

    def over() -> bool:
        return cpu_budget is not None and time.process_time() - started > cpu_budget - timed

    def on_write(step: int, event: Event) -> None:
        what = event.decision.replace("_", " ")
        loss = "not finite" if event.loss is None else f"{event.loss:.4f}"
        note(f"step {step} of {request.train_steps}: loss {loss}, {what}")

    lr = request.lr or LR[request.mode if isinstance(lm, TinyLM) or request.mode == "replay" else "delta, dense"]
    if request.mode == "replay":
        lessons = Lessons(traces, corpus.train, **how, seed=request.seed)
        learned = replay(lm, model.loaded.tokenizer, lessons, lr, request.train_steps, until=over, on_write=on_write)
    else:
        asked = Distilling(
            lr=lr,
            steps=request.train_steps,
            longest=reach,
            max_core_rise=request.max_core_rise,
            seed=request.seed,
            until=over,
            on_write=on_write,
            **how,
        )
        learned = delta(lm, model.loaded.tokenizer, traces, teachers, corpus.train, asked)
    after = meter.measure(learned.lm)
    rows, share = measure.retention(traces, before.nats, known, after.nats)
    lost = measure.forgetting(before, after, name)
    notes += [
        f"held-out {row.name} rose by {row.rise:.4f} bits per byte, more than the {request.max_core_rise:g} asked for"
        for row in lost
        if row.kind == "core" and row.rise > request.max_core_rise
    ]
    return _write(
        models,
        model_id,
        model,
        learned,
        {
            "created_at": created,
            "request": request.model_copy(update={"model_id": model_id, "lr": lr, "seq_len": seq_len}),
            "mode": request.mode,
            "core": name,
            "core_train_bytes": corpus.train_bytes,
            "core_heldout_bytes": corpus.val_bytes,
            "core_before": before.core,
            "core_after": after.core,
            "mix_before": before.mix,
            "mix_after": after.mix,
            "unit": "bits per token",
            "retention": share,
            "sources": [one.source(len(t.ids_T)) for one, t in zip(harvested, traces, strict=True)],
            "retention_rows": rows,
            "forgetting_rows": lost,
            "notes": [*notes, *learned.notes],
            "cpu_seconds": time.process_time() - started,
        },
    )


def core_text(store: Store, model: OpenModel, path: str | None) -> tuple[Corpus, str, list[str]]:
    """The core text, split into what trains and what is held out; its name, and what is to be said of the choice."""
    from fastweights.data.corpus import encode_source
    from fastweights.data.sources import find_source

    manifest, cache = model.loaded.manifest, store.root / "cache"
    config = manifest.get("train_config") or {}
    fraction, holdout = float(config.get("val_fraction", 0.1)), tuple(config.get("holdout", ()))
    notes: list[str] = []
    if path is not None:
        source, name = find_source(path, fraction, (), cache), Path(path).name
    else:
        learned = manifest.get("corpus") or {}
        name = str(learned.get("name"))
        try:
            if not learned.get("path"):
                raise NotFound(f"model {model.loaded.model_id} does not say what it was trained on")
            source = find_source(str(learned.get("path")), fraction, holdout, cache)
            if source.sha256 != learned.get("sha256"):
                notes.append(f"core text {name} has changed since {model.loaded.model_id} was trained on it")
        except FastweightsError as error:
            notes.append(f"core text: {error}; the text that ships is used instead")
            source, name = find_source("tiny", fraction), "tiny"
    corpus = encode_source(source, model.loaded.tokenizer, cache)
    if not corpus.val_bytes:
        raise FastweightsError(f"core-path {path}: the text is too short to hold any of it out; add text")
    return corpus, name, notes


def _write(
    models: Models, model_id: str, model: OpenModel, learned: Learned, evidence: dict[str, Any]
) -> SleepManifest:
    """The candidate's files; ``manifest.json`` comes last, and with it the candidate."""
    from fastweights.models.sparse_rows import sparse_rows
    from fastweights.store.tensors import save_tensors

    base, source = model.loaded, models.path(model.loaded.model_id)
    folder = models.store.path(MODELS, model_id)
    atomic.ensure_dir(folder)
    sha = save_tensors(folder / CHECKPOINT, sparse_rows(learned.lm.state_dict()))
    atomic.write_json(folder / "config.json", learned.lm.config.model_dump(mode="json"))
    atomic.write_bytes(folder / "tokenizer.json", atomic.read_bytes(source / "tokenizer.json"))
    manifest = SleepManifest(
        **evidence,
        model_id=model_id,
        kind="text",
        base_model_id=base.model_id,
        base_sha256=base.checkpoint_sha256,
        checkpoint_sha256=sha,
        steps=learned.steps,
        parts=[SleepPart(**asdict(part)) for part in learned.parts],
        writes=[_write_of(step, event) for step, event in learned.events],
    )
    atomic.write_json(folder / SLEEP_MANIFEST, manifest.model_dump(mode="json"))
    own = {key: value for key, value in base.manifest.items() if key not in _OWN}
    models.create(
        model_id,
        {
            **own,
            "status": "sleep_candidate",
            "parent": base.model_id,
            "params": sum(p.numel() for p in learned.lm.parameters()),
            "val_bpb": None,
            "checkpoint_sha256": sha,
            "cpu_seconds": cpu_seconds(),
            "sleep": summary(manifest),
        },
    )
    return manifest


def _write_of(step: int, event: Event) -> SleepWrite:
    return SleepWrite(
        step=step,
        decision=event.decision,
        reasons=event.reasons,
        loss=event.loss,
        update_norm=event.update_norm,
        canary_delta=event.canary_delta,
        drift=event.drift,
    )

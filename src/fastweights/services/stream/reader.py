"""What ``demo stream`` reads, and the model that reads it: the end of a corpus, or a sequence of the KV task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services.stream.records import StreamRequest
from fastweights.store.root import Store

if TYPE_CHECKING:
    import numpy as np

    from fastweights.data.tokenizer import Tokenizer
    from fastweights.models.e2e import E2ETransformer


@dataclass(frozen=True, eq=False)
class Text:
    """``x_T``, its next tokens ``y_T``, and which of the query's targets are asked for (all, of text)."""

    x_T: np.ndarray
    y_T: np.ndarray
    asked_T: np.ndarray
    context: int
    source: str

    @property
    def query(self) -> slice:
        return slice(self.context, len(self.x_T))


def open_reader(store: Store, request: StreamRequest) -> tuple[E2ETransformer, int, Text, str | None]:
    """The model (of the store, or fresh), its bos, what it reads, and its id."""
    import torch

    from fastweights.data.kv import KVConfig
    from fastweights.data.tokenizer import ByteTokenizer
    from fastweights.hints import validate
    from fastweights.models.e2e import E2ETransformer
    from fastweights.models.e2e_config import E2EConfig
    from fastweights.services.generate import ModelPool

    task: dict[str, Any] | None = None
    if request.model is None:
        tokenizer: Tokenizer = ByteTokenizer()
        sizes = {name: getattr(request, name) for name in ("dim", "heads", "layers", "suffix_layers")}
        fields: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "window": 512, **sizes}
        weights, model = None, None
    else:
        loaded = ModelPool(store, "cpu").open(request.model).loaded
        if not isinstance(loaded.lm, E2ETransformer):
            raise FastweightsError(
                f"model {loaded.model_id!r} is of kind {loaded.lm.config.kind!r}: demo stream is for kind e2e "
                "(`fastweights meta` makes one); leave --model out for fresh weights"
            )
        tokenizer, fields, model = loaded.tokenizer, loaded.lm.config.model_dump(), loaded.model_id
        weights = loaded.lm.state_dict()
        task = ((loaded.manifest.get("train_config") or {}).get("meta") or {}).get("kv")
    inner = {**fields.get("inner", {})} | ({"chunk": request.chunk_size} if request.chunk_size else {})
    window = {"window": request.window_size} if request.window_size else {}
    config = validate(E2EConfig, {**fields, **window, "inner": inner}, "demo stream")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        lm = E2ETransformer(config).eval().requires_grad_(False)
    if weights is not None:
        lm.load_state_dict(weights)
    text = _prose(store, request, tokenizer) if task is None else _kv(KVConfig.model_validate(task), lm, request)
    return lm, tokenizer.bos_id, text, model


def _prose(store: Store, request: StreamRequest, tokenizer: Tokenizer) -> Text:
    """The end of a corpus, whose last part no training with it reads."""
    import numpy as np

    from fastweights.data.corpus import encode_source
    from fastweights.data.sources import find_source

    context = request.context_len or 8192
    total = context + (request.query_len or 2048)
    corpus = encode_source(find_source(request.corpus), tokenizer, store.root / "cache")
    ids = np.concatenate([corpus.train, corpus.val])[-total:].astype(np.int64)
    if len(ids) < total:
        raise FastweightsError(
            f"corpus {request.corpus!r} has {len(ids)} tokens, context-len and query-len want {total}: give less, or "
            "a longer --corpus (shakespeare)"
        )
    x_T = np.concatenate([[tokenizer.bos_id], ids[:-1]])
    return Text(x_T, ids, np.ones(total - context, dtype=np.bool_), context, request.corpus)


def _kv(task: Any, lm: E2ETransformer, request: StreamRequest) -> Text:
    """A held-out sequence of the model's own task: records are the context, queries the query."""
    from fastweights.data.kv import KVConfig, held_out
    from fastweights.hints import validate
    from fastweights.train.meta_config import reach_of

    width = task.width
    for name, length in (("context-len", request.context_len), ("query-len", request.query_len)):
        if length is not None and length % width:
            raise FastweightsError(
                f"{name} {length}: a record of the model's task has {width} tokens: give a multiple of it"
            )
    records = request.context_len // width if request.context_len else task.records
    queries = request.query_len // width if request.query_len else task.queries
    changed = validate(KVConfig, {**task.model_dump(), "records": records, "queries": queries}, "demo stream")
    drawn = held_out(changed, reach_of(lm.config), 1, request.seed)
    context = width * records
    return Text(drawn.x_BT[0], drawn.y_BT[0], drawn.asked_BT[0, context:], context, "kv")

"""``demo stream``: a TTT-E2E model reads a context and a query token by token and learns from every chunk.

Parity with reading in one batch comes first; where it fails there is no speed to report. Beside it, in turn, the same
network with full attention: the same decoder, whose preallocated cache holds the whole text. Torch loads when it runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services.stream.reader import Text, open_reader
from fastweights.services.stream.records import StreamPoint, StreamReport, StreamRequest, StreamScore
from fastweights.services.verbs.environment import environment
from fastweights.store.root import Store, new_id, now
from fastweights.store.streams import keep_stream

if TYPE_CHECKING:
    import numpy as np

    from fastweights.models.e2e import E2ETransformer

PARITY = 1e-3  # of the largest logit
_BLOCK = 16  # tokens between two looks at the clock
_CHECKED = 512  # tokens of full attention that are compared


def demo_stream(store: Store, request: StreamRequest, notice: Callable[[str], None] = lambda _: None) -> StreamReport:
    """Measures, and keeps the report in the store.

    Raises FastweightsError where lengths do not fit, and if logits differ from those of one batch by more than 1e-3 of
    the largest.
    """
    import torch

    from fastweights.models.device import set_threads
    from fastweights.models.e2e_decode import E2EDecoder

    started = time.process_time()
    set_threads()
    torch.set_num_threads(1)
    lm, bos, text, model = open_reader(store, request)
    config, chunk = lm.config, lm.config.inner.chunk
    said = None
    if config.window < chunk:
        said = (
            f"window {config.window} is smaller than the chunk {chunk}: attention goes in sub-blocks of the window, "
            "with one update a chunk (training refuses this)"
        )
        notice(f"notice: {said}")
    if len(text.x_T) < chunk:
        raise FastweightsError(
            f"context-len and query-len together are {len(text.x_T)}, the chunk is {chunk}: give at least a chunk"
        )
    full = E2EDecoder(lm, kept=len(text.x_T) + 1) if request.full_attention else None
    full_parity = _full_parity(lm, text) if request.full_attention else None
    logits_TV, points, updates = _streamed(lm, bos, text, full)
    parity = _parity(lm, text, logits_TV)
    last = points[-1]
    theirs = last.full_attention_ms_per_token
    report = StreamReport(
        stream_id=new_id("stream"),
        created_at=now(),
        model=model,
        seed=request.seed,
        params=sum(p.numel() for p in lm.parameters()),
        fast_params=sum(lm.get_parameter(name).numel() for name in lm.fast_names),
        dim=config.dim,
        layers=config.layers,
        suffix_layers=config.suffix_layers,
        window=config.window,
        chunk=chunk,
        context_len=text.context,
        query_len=len(text.x_T) - text.context,
        source=text.source,
        updates=updates,
        query=_score(logits_TV[text.query], text),
        query_off=_score(_frozen(lm, text), text),
        parity=parity,
        full_attention_parity=full_parity,
        points=points,
        growth=last.ms_per_token / points[0].ms_per_token,
        full_attention_ratio=None if theirs is None else theirs / last.ms_per_token,
        notice=said,
        environment=environment("cpu"),
        cpu_seconds=time.process_time() - started,
    )
    keep_stream(store, report.model_dump())
    return report


def _starts(tokens: int, chunk: int) -> list[int]:
    """Where the cost is measured: chunks that begin after 1, 2, 4, ... chunks, and the last whole one."""
    starts = [0] if tokens < 2 * chunk else []
    at = chunk
    while at + chunk <= tokens:
        starts.append(at)
        at *= 2
    return sorted({*starts, (tokens // chunk - 1) * chunk})


def _streamed(lm: E2ETransformer, bos: int, text: Text, full: Any) -> tuple[np.ndarray, list[StreamPoint], int]:
    """``(logits_TV, costs, updates)``. Full attention reads the measured blocks, too, each right after ours."""
    import numpy as np

    from fastweights.models.e2e_stream import E2EStream

    stream, T = E2EStream(lm, bos), len(text.x_T)
    chunk = stream.chunk
    logits_TV = np.empty((T, lm.config.vocab_size), np.float32)
    starts, points, tokens = set(_starts(T, chunk)), [], text.x_T.tolist()
    for start in range(0, T, chunk):
        before = time.process_time()
        stream.settle(tokens[start])
        update = time.process_time() - before if start else 0.0
        measured = start in starts
        if measured and full is not None:
            full.stand_at(start)
        ours, theirs = [], []
        for first in range(start, min(start + chunk, T), _BLOCK):
            block = tokens[first : min(first + _BLOCK, start + chunk)]
            before = time.process_time()
            for i, token in enumerate(block, first):
                logits_TV[i] = stream.logits(stream.step(token))
            ours.append((time.process_time() - before) / len(block))
            if measured and full is not None and len(theirs) < 8:
                before = time.process_time()
                for token in block:
                    full.logits(full.step(token))
                theirs.append((time.process_time() - before) / len(block))
        if measured:
            point = StreamPoint(
                context=start,
                ms_per_token=(statistics.median(ours) + update / chunk) * 1e3,
                update_ms_per_token=update / chunk * 1e3,
                state_bytes=stream.state_bytes,
            )
            if full is not None:
                kept = 8 * start * lm.config.dim * lm.config.layers
                cost = statistics.median(theirs) * 1e3
                point = point.model_copy(
                    update={"full_attention_ms_per_token": cost, "full_attention_state_bytes": kept}
                )
            points.append(point)
    return logits_TV, points, stream.session.fast.step


def _frozen(lm: E2ETransformer, text: Text) -> np.ndarray:
    """The query's logits where nothing is learned."""
    import numpy as np
    import torch

    parts, carry = [], None
    with torch.inference_mode():
        for piece in torch.from_numpy(text.x_T)[None].split(lm.config.inner.chunk, dim=1):
            logits_BTV, carry = lm(piece, carry)
            parts.append(logits_BTV[0].numpy())
    return np.concatenate(parts)[text.query]


def _score(logits_TV: np.ndarray, text: Text) -> StreamScore:
    import torch

    asked = torch.from_numpy(text.asked_T)
    logits, y_T = torch.from_numpy(logits_TV)[asked], torch.from_numpy(text.y_T[text.query])[asked]
    loss = torch.nn.functional.cross_entropy(logits, y_T)
    return StreamScore(accuracy=float((logits.argmax(-1) == y_T).float().mean()), loss=float(loss))


def _parity(lm: E2ETransformer, text: Text, logits_TV: np.ndarray) -> float:
    """Of the first chunks, written after, against whole chunks in one batch."""
    import torch

    from fastweights.train.meta import read_adapting

    n = min(len(text.x_T), 5 * lm.config.inner.chunk // 2)
    x_BT, y_BT = (torch.from_numpy(a[:n])[None] for a in (text.x_T, text.y_T))
    want = read_adapting(lm, x_BT, y_BT)[0][0].numpy()
    return _difference("streamed", logits_TV[:n], want)


def _full_parity(lm: E2ETransformer, text: Text) -> float:
    """Of the full cache, against a model whose window is the whole text."""
    import numpy as np
    import torch

    from fastweights.models.e2e import E2ETransformer
    from fastweights.models.e2e_decode import E2EDecoder

    x_T = text.x_T[:_CHECKED]
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        whole = E2ETransformer(lm.config.model_copy(update={"window": len(x_T)})).eval()
        whole.load_state_dict(lm.state_dict())
        want = whole(torch.from_numpy(x_T)[None])[0][0].numpy()
    decoder = E2EDecoder(lm, kept=len(x_T))
    return _difference("full attention", np.stack([decoder.logits(decoder.step(int(t))) for t in x_T]), want)


def _difference(what: str, got: np.ndarray, want: np.ndarray) -> float:
    import numpy as np

    worst, scale = float(np.abs(got - want).max()), float(np.abs(want).max())
    if not worst <= PARITY * scale:
        raise FastweightsError(f"demo stream: {what} logits differ from one batch's by {worst:.2e}; no speed")
    return worst

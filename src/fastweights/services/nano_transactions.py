"""The writes of a Nano session across its runs, as a timeline: what became of each, and why. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from fastweights.services.nano_lab_records import NanoTransaction, NanoTransactions
from fastweights.services.nano_turn import RUNS
from fastweights.store.nano_files import UPDATES

if TYPE_CHECKING:
    from fastweights.services.nano_sessions import NanoSessionService

_OUTCOMES = {
    "committed": "The write was kept",
    "blocked": "Refused before a candidate was made",
    "rolled_back": "Tried and taken back",
}


def transactions(service: NanoSessionService, session_id: str, offset: int, limit: int) -> NanoTransactions:
    """Those of all runs that the session's state has seen, oldest first; at most ``limit`` from ``offset`` on."""
    objects, policy = service.sessions.objects, service.snapshot(session_id)[0].options.learning.policy
    found = [
        (one, {"run_id": run.run_id, "commit": commit.id, "turn": commit.turn})
        for run, commit in service.lived(session_id)
        for one in orjson.loads(objects.get(commit.files[f"{RUNS}/{run.run_id}/{UPDATES}"]))
    ]
    counts = Counter(one["status"] for one, _ in found)
    return NanoTransactions(
        session_id=session_id,
        total=len(found),
        offset=offset,
        committed=counts["committed"],
        blocked=counts["blocked"],
        rolled_back=counts["rolled_back"],
        grad_cap=policy.gradient.limit if policy.gradient.mode == "enforce" else None,
        loss_ratio=policy.regression.ratio if policy.regression.mode == "enforce" else None,
        drift_budget=policy.drift.budget if policy.drift.mode == "enforce" else None,
        updates=[
            NanoTransaction(**one, **where, sentence=sentence(one)) for one, where in found[offset : offset + limit]
        ],
    )


def sentence(update: Mapping[str, Any]) -> str:
    """An entry of ``update_events.json`` in plain words: what became of the write, and why."""
    why = "; ".join(update["reasons"])
    if not why and (pre := update.get("pre_loss")) is not None and (post := update.get("post_loss")) is not None:
        why = f"the replayed loss went from {pre:.4g} to {post:.4g}"
    return f"{_OUTCOMES[update['status']]}{': ' if why else ''}{why}."

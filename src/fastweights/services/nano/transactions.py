"""The writes of a Nano session across its runs, as a timeline: what became of each, and why. Torch-free."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from fastweights.services.nano.lab_records import NanoTransaction, NanoTransactions
from fastweights.services.nano.turn import RUNS
from fastweights.store.nano_files import UPDATES

if TYPE_CHECKING:
    from fastweights.services.nano.sessions import NanoSessionService

_OUTCOMES = {
    "committed": "The write was kept",
    "blocked": "Nothing was written",
    "rolled_back": "The weights were put back",
}
_N = r"([-+\w.]+)"
_PLAIN = (
    (
        rf"gradient norm is {_N} \(limit {_N}\)",
        "the gradient was {0} long, over the cap of {1}: these steps are nothing like what the model knows",
    ),
    (
        rf"largest hidden state would be {_N} \(limit {_N}\)",
        "a hidden state would have grown to {0}, beyond its bound of {1}",
    ),
    (
        rf"canary loss rose by {_N} \w+ in one chunk \(limit {_N}\)",
        "known trajectories would have been predicted worse, by {0} at once where {1} is allowed",
    ),
    (
        rf"canary rise is {_N} robust deviations above its median \(limit {_N}\)",
        "known trajectories would have become worse far faster than usual, {0} robust deviations where {1} are allowed",
    ),
    (
        rf"rises of one canary add up to {_N} \w+ beyond the slack \(limit {_N}\)",
        "a known trajectory has become worse little by little, and {0} in all would be more than the {1} allowed",
    ),
    (
        rf"drift would reach {_N} \w+ above the initial canary loss \(budget {_N}\)",
        "known trajectories would be predicted {0} worse than at the start, over the drift budget of {1}",
    ),
    (r"(.+) is not finite", "the {0} was not a finite number"),
)
_REPLAY = re.compile(rf"replayed loss would go from {_N} to {_N} \(limit {_N}\)")


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
    why = "; ".join(map(plain, update["reasons"]))
    if not why and (pre := update.get("pre_loss")) is not None and (post := update.get("post_loss")) is not None:
        why = f"the replayed loss went from {pre:.4g} to {post:.4g}"
    return f"{_OUTCOMES[update['status']]}{': ' if why else ''}{why}."


def plain(reason: str) -> str:
    """A check's reason for readers who do not know the checks; one that is not known here, as it is."""
    if found := _REPLAY.fullmatch(reason):
        before, after, limit = found.groups()
        if float(after) > float(before):
            return (
                f"the very steps that it was learned from would have been predicted worse, with an error of {after} "
                f"instead of {before} ({limit} is allowed)"
            )
        return f"it helped too little: the error on its own steps went from {before} to {after} ({limit} is asked for)"
    for pattern, words in _PLAIN:
        if found := re.fullmatch(pattern, reason):
            return words.format(*found.groups())
    return reason

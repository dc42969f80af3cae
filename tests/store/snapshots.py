"""What the store's tests share: real safetensors snapshots made without torch."""

import struct

from fastweights.store import tensors


def snapshot(value: float) -> bytes:
    """A state with fast weights, rule state and carry, each filled with ``value``."""
    data = struct.pack("<4f", *[value] * 4)
    return tensors.pack(
        {
            "weights/context.A": ("F32", (2, 2), data),
            "rule/momentum/context.A": ("F32", (2, 2), data),
            "carry/0": ("F32", (4,), data),
            "carry/position": ("I64", (), struct.pack("<q", int(value))),
        },
        {"format": "1"},
    )


def turn_record(number: int) -> dict:
    events = [{"decision": "committed", "loss": 1.5 + number, "chunk_index": i} for i in range(number % 3)]
    return {"prompt": f"prompt {number} é", "reply": f"reply {number}", "events": events, "drift": number / 10}


def commit_turn(sessions, session_id: str, number: int):
    """One more turn on the head, as a service would make it."""
    with sessions.lock(session_id, "test turn"):
        return sessions.commit(
            session_id,
            parent=sessions.meta(session_id).head,
            state=snapshot(number),
            guard={"n": number},
            record=turn_record(number),
            title=f"title {number}",
        )


def new_session(sessions, session_id: str):
    return sessions.create(session_id, model="starter", options={"lr": 0.1}, state=snapshot(0), guard={"n": 0})

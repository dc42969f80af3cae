"""A session that took a turn back is, bit for bit, one that was never sent it; in full 200 sessions of 50 turns."""

import os
import random
from pathlib import Path

import pytest

from fastweights.errors import Conflict
from fastweights.services.chat import ChatService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.store.root import Store
from tests.small_models import save_random_model
from tests.small_ttt import save_random_ttt

KINDS = ("linear", "ngram", "mix", "ttt")
WORDS = ("tower", "Bora", "seven", "green", "lamps", "no one", "knows", "who", "lit them", "at noon,")


@pytest.fixture
def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChatService:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    store = Store(tmp_path)
    save_random_model(store)
    save_random_ttt(store, layers=1)
    return ChatService(store, "cpu")


def options(kind: str) -> SessionOptions:
    of = {"model": "ttt"} if kind == "ttt" else {"model": "tiny", "memory": kind}
    return SessionOptions.model_validate({**of, "chunk_tokens": 32})


def life(chats: ChatService, kind: str, turns: int, seed: int) -> None:
    """One session that takes some of its turns back, beside one that is sent only the others."""
    rng = random.Random(seed)
    said = [" ".join(rng.choices(WORDS, k=rng.randint(1, 8))) for _ in range(turns)]
    drawn = [Sampling(max_new_tokens=rng.randint(1, 4), seed=rng.randrange(2**32)) for _ in range(turns)]
    saw, never = f"saw{seed}", f"never{seed}"
    for name in (saw, never):
        chats.new(options(kind), name)
    for n in range(turns):
        chats.send(saw, said[n], drawn[n])
    out: set[int] = set()
    for n in rng.sample(range(turns), min(turns - 1, rng.randint(1, 3))):
        chats.revert(saw, str(n + 1))
        out.add(n)
    if rng.random() < 0.5:  # one of them is taken up again
        n = rng.choice(sorted(out))
        with pytest.raises(Conflict):
            chats.revert(saw, str(n + 1))
        chats.revert(saw, next(t.reverted_by or "" for t in chats.show(saw).reverted if t.turn == n + 1))
        out.remove(n)
    for n in range(turns):
        if n not in out:
            chats.send(never, said[n], drawn[n])
    one, two = chats.sessions.head(saw), chats.sessions.head(never)
    assert (one.state, one.guard, one.record["drift"]) == (two.state, two.guard, two.record["drift"])
    shown, alone = chats.show(saw).turns, chats.show(never).turns
    assert [(t.prompt, t.reply, t.events) for t in shown] == [(t.prompt, t.reply, t.events) for t in alone]
    assert [t.turn for t in chats.show(saw).reverted] == sorted(n + 1 for n in out)


@pytest.mark.parametrize("kind", KINDS)
def test_revert_is_never_saw_it(chats: ChatService, kind: str) -> None:
    life(chats, kind, 5, 7)
    for turn in (1, 5):
        assert chats.verify_without("saw7", str(turn)).ok == (turn in [t.turn for t in chats.show("saw7").reverted])


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_two_hundred_sessions_of_fifty_turns(chats: ChatService) -> None:
    for seed in range(int(os.environ.get("SESSIONS", "200"))):
        life(chats, KINDS[seed % len(KINDS)], int(os.environ.get("TURNS", "50")), seed)

"""The first start's demo: a session with the shipped starter model, answered for real, and a small tree of Nano."""

from fastweights.errors import FastweightsError
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.services.records import Sampling, SessionOptions
from fastweights.store import atomic
from fastweights.store.models import STARTER
from fastweights.store.root import Store, now

MARKER = "demo.json"
SESSION = "demo"
MESSAGES = (
    "ROMEO:\nBut soft, what light through yonder window breaks?",
    "JULIET:\nO Romeo, Romeo, wherefore art thou Romeo?",
)

NANO, NANO_FORK = "nano-demo", "nano-demo-fork"
NANO_STEPS = 512


def wanted(store: Store) -> bool:
    """Only in a root that is missing or empty: nobody's store gets a session that its owner did not ask for."""
    return not store.root.is_dir() or not any(store.root.iterdir())


def make(store: Store, device: str | None = None) -> str | None:
    """Makes the demo store; returns None, or why there is no demo session (the store itself works without)."""
    from fastweights.services.chat import ChatService

    atomic.write_json(store.path(MARKER), {"demo": True, "created_at": now(), "session": SESSION})
    try:
        chat = ChatService(store, device)
        chat.new(SessionOptions(model=STARTER), SESSION)
        for seed, message in enumerate(MESSAGES):
            chat.send(SESSION, message, Sampling(max_new_tokens=96, seed=seed, temperature=0.7))
        _nano(store)
    except FastweightsError as error:
        return str(error)
    return None


def _nano(store: Store) -> None:
    """A base model (about a second), a session with two runs, and a fork from between them whose rule begins anew."""
    nano = NanoSessionService(store)
    nano.new(NanoSetting(seed=3, mode="nonlinear"), NANO)
    nano.run(NANO, NANO_STEPS)
    nano.tag(NANO, "learned")
    nano.run(NANO, NANO_STEPS)
    nano.fork(NANO, NANO_FORK, "learned", keep_momentum=False)
    nano.run(NANO_FORK, NANO_STEPS)

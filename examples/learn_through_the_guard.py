"""Fast weights by hand: read a text chunk by chunk through the guard, and see what each write did.

Run it from anywhere: `python examples/learn_through_the_guard.py`. It uses the starter model that ships.
"""

from fastweights.core.chunks import next_token_chunks
from fastweights.guard.stream import read
from fastweights.services.generate import ModelPool
from fastweights.services.records import SessionOptions
from fastweights.services.session_parts import build_parts
from fastweights.store.root import Store

TEXT = "A parrot named Quillfeather keeps the lighthouse of Vornholm. " * 8

parts = build_parts(ModelPool(Store()).open("starter"), SessionOptions(memory="linear", rule="sgd", lr=0.1))
tokenizer = parts.loaded.tokenizer

session = parts.guard.begin(parts.learner, parts.learner.init())
print("chunk  loss before  after  update  worst canary  decision")
for outcome in read(
    parts.guard, parts.learner, session, next_token_chunks(tokenizer.bos_id, tokenizer.encode(TEXT), 64)
):
    session, event = outcome.session, outcome.event
    print(
        f"{event.chunk_index:5d}  {event.loss:11.3f}  {event.loss_after:5.3f}  {event.update_norm:6.3f}"
        f"  {event.canary_delta:+12.4f}  {event.decision}"
    )

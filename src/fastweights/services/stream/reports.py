"""The reports of ``demo stream`` in a store. Torch-free."""

from pydantic import ValidationError

from fastweights.services.stream.records import StreamReport
from fastweights.store.root import Store
from fastweights.store.streams import streams


def reports(store: Store) -> list[StreamReport]:
    """Newest first; one that is damaged, or of another version, is left out."""
    found = []
    for record in streams(store):
        try:
            found.append(StreamReport.model_validate(record))
        except ValidationError:
            continue
    return sorted(found, key=lambda one: (one.created_at, one.stream_id), reverse=True)

"""Payloads that earlier searches found: each is stopped, or does less than 0.05 nats of harm, under the default policy.

Copied from ``redteam/<run id>/payloads/`` of runs of ``fastweights redteam``.
"""

from pathlib import Path

import pytest

from fastweights.errors import Corrupt
from fastweights.guard.policy import Policy
from fastweights.redteam.figures import drip_side
from fastweights.redteam.records import HARM, Payload
from fastweights.redteam.target import without
from fastweights.services.redteam import RedteamRequest, RedteamService
from fastweights.store.root import Store

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "redteam").glob("*.json"))


def test_there_are_fixtures() -> None:
    assert len(FIXTURES) >= 6


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_found_payloads_do_no_harm(path: Path, store: Store) -> None:
    one = Payload.model_validate_json(path.read_bytes())
    service = RedteamService(store)
    request = RedteamRequest(model=one.model, chunk_tokens=one.chunk_tokens)
    side = drip_side(service.target(request, Policy()), one.text * one.repeats)
    assert side.harm_max < HARM
    if one.goal == "pass" or one.family == "drip":
        assert side.refused > 0


def test_the_drip_payload_does_harm_where_nothing_stops_it(store: Store) -> None:
    """The figure says something: the same payload without any defence lifts a canary by far more."""
    path = next(path for path in FIXTURES if path.stem.startswith("toy-drip-0"))
    one = Payload.model_validate_json(path.read_bytes())
    request = RedteamRequest(model=one.model, chunk_tokens=one.chunk_tokens)
    side = drip_side(RedteamService(store).target(request, without(Policy(), "all")), one.text * 64)
    assert side.harm_max > 4 * HARM


def test_a_damaged_report_is_named_and_left_out_of_the_list(store: Store) -> None:
    folder = store.root / "redteam" / "redteam-1"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"run_id": 3}')
    service = RedteamService(store)
    assert service.list() == []
    with pytest.raises(Corrupt, match=r"report\.json"):
        service.get("redteam-1")

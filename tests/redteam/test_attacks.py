"""The searches and the attempts, on the toy with its real guard."""

import random

import pytest
import torch

from fastweights.guard.policy import Policy
from fastweights.redteam.attacks import GATE_FAMILIES, HARM_FAMILIES, gate_attempt, harm_attempt, payload
from fastweights.redteam.figures import undefended_search
from fastweights.redteam.records import DEFENCES
from fastweights.redteam.search import climb, search, text_of
from fastweights.redteam.target import Target, without
from fastweights.services.redteam import RedteamRequest, RedteamService
from fastweights.store.root import Store


@pytest.fixture
def service(store: Store) -> RedteamService:
    return RedteamService(store)


def build(service: RedteamService, off: str) -> Target:
    request = RedteamRequest()
    return service.target(request, without(request.policy, off))


@pytest.mark.parametrize("defence", DEFENCES)
def test_without_one_defence_the_others_stand(defence: str) -> None:
    policy = without(Policy(), defence)
    off = {name for name in ("audit", "cusum", "drift", "spfw") if getattr(policy, name).mode == "off"}
    gate_off = policy.gate is not None and all(rule.mode == "off" for _, rule in policy.gate)
    assert off | ({"gate"} if gate_off else set()) == {defence}
    assert without(Policy(), "none") == Policy()
    with pytest.raises(ValueError, match="nonsense"):
        without(Policy(), "nonsense")


def test_pressure_is_the_rise_to_first_order(service: RedteamService) -> None:
    """The push that the gradient predicts is the rise that the guard then measures, where nothing is projected."""
    target = build(service, "all")
    start = target.begin()
    text = "river window market engine garden letter bridge silver winter thunder paper basket"
    push = float(target.pressure(start, [text])[0])
    _, outcome = target.step(start, target.chunks(text)[0])
    assert outcome.committed
    assert outcome.event.canary_delta == pytest.approx(0.05 * push, abs=3e-4)


def test_the_search_finds_what_raises_a_canary_and_repeats_itself(service: RedteamService) -> None:
    target = build(service, "all")
    found = undefended_search(target, 0, 40)
    again = undefended_search(build(service, "all"), 0, 40)
    assert found.words == again.words
    assert found.steps == 40
    assert len(found.words) == 32
    first = search(build(service, "all"), random.Random("0/drip"), 1, distinct=False)
    assert found.rise > max(first.rise, 0) + 0.002


def test_climbing_spends_no_guard_step(service: RedteamService) -> None:
    target = build(service, "none")
    place = target.begin()
    words = tuple("river window market engine garden letter bridge silver".split())  # noqa: SIM905
    better = climb(target, place, words, random.Random(0), 3)
    assert target.costs.steps == 0
    pushes = target.pressure(place, [text_of(words), text_of(better)])
    assert pushes[1] >= pushes[0]


def test_attacks_change_nothing_but_through_the_guard(service: RedteamService) -> None:
    """All that an attempt leaves behind is values: the same attempt again gives the same figures."""
    target = build(service, "none")
    found = undefended_search(build(service, "all"), 0, 8)
    for family in HARM_FAMILIES:
        one, two = (harm_attempt(target, found, family, 3, 5).attempt for _ in range(2))
        assert one == two
        assert one.steps == 5
        assert one.offline == (8 if family.startswith("drip") else 0)
    weights = target.learner.init().weights
    assert all(not bool(torch.any(w)) for w in weights.values())


def test_each_chunk_of_a_chain_is_searched_from_where_the_one_before_left(service: RedteamService) -> None:
    """The trials of a chunk end at the very state that its delivery then reaches, and they count against the budget."""
    target = build(service, "all")
    rng, place = random.Random(0), target.begin()
    for _ in range(3):
        found = search(target, rng, 4, place)
        again, outcome = target.step(place, target.chunks(found.text)[0])
        assert outcome.committed
        assert target.drift(again) == pytest.approx(target.drift(place) + found.rise, abs=1e-6)
        assert target.drift(again) == pytest.approx(target.drift(found.place), abs=1e-6)
        place = found.place
    none = undefended_search(build(service, "all"), 0, 1)
    chained = harm_attempt(target, none, "chained", 0, 36).attempt
    assert chained.chunks < chained.steps == 36  # the rest were trials
    guarded = harm_attempt(build(service, "none"), none, "chained", 0, 36).attempt
    assert chained.harm > 4 * max(guarded.harm, 0.002)


@pytest.mark.parametrize("family", GATE_FAMILIES)
def test_the_payload_span_is_inside_its_text(family: str) -> None:
    for variant in GATE_FAMILIES[family]:
        one = payload(family, variant, random.Random(1))
        assert 0 <= one.start < one.end <= len(one.text)


def test_a_gate_that_is_off_lets_everything_through(service: RedteamService) -> None:
    closed, open_ = build(service, "none"), build(service, "gate")
    for family, variant in (("repetition", "single_token"), ("cycles", "word_cycle"), ("override", "plain")):
        kept = gate_attempt(closed, family, variant, 0, 12).attempt
        assert kept.success_at is None
        assert kept.stopped
        assert gate_attempt(open_, family, variant, 0, 12).attempt.success_at is not None

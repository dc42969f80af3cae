"""What a session may choose: which memories follow a rule's options, and which models have a rule of their own."""

import pytest
import torch

from fastweights.core.chunks import next_token_chunks
from fastweights.core.state import values_of
from fastweights.models.memory.names import MEMORIES, MemoryName
from fastweights.models.own_rule import own_learner
from fastweights.models.ttt_lm import TTTLM
from fastweights.models.ttt_lm_config import TTTLMConfig
from fastweights.services.generate import ModelPool
from fastweights.services.models import ModelService
from fastweights.services.records import BY_RULE, SessionOptions
from fastweights.services.session_parts import build_parts
from fastweights.store.root import Store
from tests.small_e2e import save_random_e2e
from tests.small_models import save_model, save_random_model
from tests.small_ttt import MIXERS, save_random_ttt


@pytest.fixture
def pool(tmp_path) -> ModelPool:
    return ModelPool(Store(tmp_path))


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_memory_by_rule_follows_its_rate_and_the_others_do_not(pool: ModelPool, memory: MemoryName) -> None:
    model = pool.open(save_random_model(pool.models.store))
    (chunk,) = next_token_chunks(0, list(b"a word and another"), 32)

    def delta(lr: float) -> torch.Tensor:
        learner = build_parts(model, SessionOptions(model="tiny", memory=memory, lr=lr)).learner
        state = learner.init()
        after = learner.propose(state, learner.prepare(chunk, state.carry)).delta
        return torch.cat([values_of(d).flatten().double() for d in after.values()])

    once, twice = delta(0.1), delta(0.2)
    assert once.abs().sum() > 0
    assert torch.equal(once, twice) == (memory not in BY_RULE)


@pytest.mark.parametrize("kind", ["tiny_lm", "ttt_lm", "window", "e2e"])
def test_the_config_says_whether_the_model_has_a_rule_of_its_own(pool: ModelPool, kind: str) -> None:
    store = pool.models.store
    if kind == "tiny_lm":
        name = save_random_model(store)
    elif kind == "e2e":
        name = save_random_e2e(store)
    elif kind == "ttt_lm":
        name = save_random_ttt(store)
    else:
        config = TTTLMConfig.model_validate(
            {"vocab_size": 258, "layers": 1, "mixer": MIXERS["lab"], "mlp_hidden": 24, "attention": {"window": 8}}
        )
        name = save_model(store, "window", TTTLM(config))
    lm = pool.open(name).loaded.lm
    assert ModelService(pool.models).show(name).own_rule == (own_learner(lm, 0) is not None)

"""KV retrieval: records, then queries for them, some of them beyond what attention can reach.

A sequence is ``bos``, ``records`` records with distinct keys, and ``queries`` questions, each a record once more: its
value is what is asked. With ``record=k_sep_v`` a record is ``key SEP value``: the key must be brought to the separator
before key and value can be tied. With ``kv`` (``key value``) a step of gradient descent from random weights ties them
already, so that task says nothing of meta-learning (see ``docs/ttt_e2e.md``).

A query is *far* where the last occurrence of its record lies wholly beyond the receptive field of the model's
attention, and *near* where all of it lies within one window. No other query is asked. Legend: B sequences, T tokens, K
keys. NumPy only.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastweights.data.corpus import Corpus

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


class KVConfig(BaseModel):
    """The task. Ids: keys from 0, then values, the separator, ``bos``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: Literal["k_sep_v", "kv"] = "k_sep_v"
    keys: int = Field(default=128, ge=2, le=1 << 16)
    values: int = Field(default=64, ge=2, le=1 << 16)
    records: int = Field(default=64, ge=1, le=1 << 16)
    queries: int = Field(default=32, ge=1, le=1 << 16)
    far_frac: float = Field(default=0.75, ge=0, le=1, description="part of the queries that are far; the rest are near")

    @model_validator(mode="after")
    def _fits(self) -> "KVConfig":
        if self.records > self.keys:
            raise ValueError(f"records={self.records} of distinct keys, but keys={self.keys}: give more keys")
        return self

    @property
    def width(self) -> int:
        """Tokens of a record."""
        return 3 if self.record == "k_sep_v" else 2

    @property
    def tokens(self) -> int:
        """Targets of a sequence (its ids less ``bos``)."""
        return self.width * (self.records + self.queries)

    @property
    def separator(self) -> int:
        return self.keys + self.values

    @property
    def bos(self) -> int:
        return self.separator + 1

    @property
    def vocab_size(self) -> int:
        return self.bos + 1

    @property
    def chance(self) -> float:
        """Accuracy of a guess among the values."""
        return 1 / self.values


@dataclass(frozen=True)
class Reach:
    """What attention sees: ``window`` tokens in a layer, itself included; ``field`` tokens through all layers."""

    window: int
    field: int

    def near_gap(self, width: int) -> int:
        """The most records between a query and a near record (1: the one right before)."""
        return (self.window + 1 - width) // width

    def far_gap(self, width: int) -> int:
        """The least records between a query and a far record."""
        return -(-(self.field + 1) // width)


@dataclass(frozen=True)
class KVBatch:
    """``x_BT`` and its next tokens ``y_BT``; ``far_BT`` and ``near_BT`` mark the targets that are asked for."""

    x_BT: Ids
    y_BT: Ids
    far_BT: Mask
    near_BT: Mask

    @property
    def asked_BT(self) -> Mask:
        return self.far_BT | self.near_BT


def draw(config: KVConfig, reach: Reach, batch: int, seed: int, number: int) -> KVBatch:
    """Batch ``number`` of the stream ``seed``: a function of its arguments alone.

    Raises ValueError where no record can be near, or none far.
    """
    near_gap, far_gap = reach.near_gap(config.width), reach.far_gap(config.width)
    n_far = round(config.far_frac * config.queries)
    if n_far and config.records < far_gap:
        raise ValueError(
            f"records={config.records}: far is {far_gap} records away and more (receptive field {reach.field} tokens); "
            "give more records, a smaller window or far_frac 0"
        )
    if n_far < config.queries and near_gap < 1:
        raise ValueError(f"window {reach.window} holds no record of {config.width} tokens: widen it, or far_frac 1")
    rng = np.random.default_rng([seed, number])
    keys_BR = np.argsort(rng.random((batch, config.keys)), axis=1)[:, : config.records]
    value_BK = rng.integers(config.values, size=(batch, config.keys))
    far_BQ = np.argsort(rng.random((batch, config.queries)), axis=1) < n_far
    last_BK = np.full((batch, config.keys), -1, dtype=np.int64)  # slot of the last occurrence
    np.put_along_axis(last_BK, keys_BR, np.broadcast_to(np.arange(config.records), keys_BR.shape), axis=1)
    asked = []
    for slot, far_B in enumerate(far_BQ.T, start=config.records):
        gap_BK = slot - last_BK
        fits_BK = np.where(far_B[:, None], gap_BK >= far_gap, gap_BK <= near_gap) & (last_BK >= 0)
        key_B = np.where(fits_BK, rng.random(fits_BK.shape), -1.0).argmax(axis=1)
        last_BK[np.arange(batch), key_B] = slot
        asked.append(key_B)
    return _lay_out(config, np.concatenate([keys_BR, np.stack(asked, axis=1)], axis=1), value_BK, far_BQ)


def _lay_out(config: KVConfig, key_BS: Ids, value_BK: Ids, far_BQ: Mask) -> KVBatch:
    """The ids of all records and queries, slot by slot."""
    value_BS = np.take_along_axis(value_BK, key_BS, axis=1) + config.keys
    parts = [key_BS, value_BS]
    if config.record == "k_sep_v":
        parts.insert(1, np.full_like(key_BS, config.separator))
    y_BT = np.stack(parts, axis=2).reshape(len(key_BS), -1)
    x_BT = np.concatenate([np.full_like(y_BT[:, :1], config.bos), y_BT[:, :-1]], axis=1)
    masks = []
    for kind_BQ in (far_BQ, ~far_BQ):
        mask_BSW = np.zeros((*key_BS.shape, config.width), dtype=np.bool_)
        mask_BSW[:, config.records :, -1] = kind_BQ
        masks.append(mask_BSW.reshape(y_BT.shape))
    return KVBatch(x_BT, y_BT, *masks)


NAME = "kv"
_HELD_OUT = 1 << 31  # of the seed: training never draws from it


def held_out(config: KVConfig, reach: Reach, batch: int, seed: int, number: int = 0) -> KVBatch:
    """As :func:`draw`, from a stream that no training reads."""
    return draw(config, reach, batch, _HELD_OUT + seed, number)


def kv_corpus(config: KVConfig, reach: Reach, seed: int) -> Corpus:
    """What a run says of its task, as of a corpus: a first batch, and held-out ids; training draws its own anew."""
    identity = f"{config.model_dump_json()} {reach} {seed}"
    train, val = draw(config, reach, 1, seed, 0), held_out(config, reach, 1, seed)
    ids = [np.append(one.x_BT, one.y_BT[:, -1]) for one in (train, val)]
    size = config.tokens  # a token counts as a byte
    return Corpus(NAME, hashlib.sha256(identity.encode()).hexdigest(), ids[0], ids[1], size, size)

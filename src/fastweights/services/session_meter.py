"""The meter of one session: what it predicts better for having learned, and what it still recalls. Writes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastweights.services.chat import ChatService
from fastweights.services.evals.compressors import bits_per_byte
from fastweights.services.past import Past, Probed
from fastweights.services.past_records import Meter, MeterChunk, MeterTurn, Recall, RecallPoint, RecallRequest
from fastweights.services.text_turn import message_ids
from fastweights.services.update_rules import has_own_rule
from fastweights.services.verbs.verify import CannotReplay

_KEPT = 64  # places of the frozen model that are remembered
_REPLY_TOKENS = 1024


class Read(NamedTuple):
    """A turn as the frozen model reads it. ``nats``: its loss on each chunk of the message, ``tokens`` and ``bytes`` of
    each; ``message`` and ``reply``: what was read."""

    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    message: bytes
    reply: bytes


@dataclass(frozen=True)
class _Place:
    """Where the frozen model stands after some turns, and all that it read before."""

    reads: tuple[Read, ...]
    carry: Any
    last: int


@dataclass(eq=False)
class SessionMeter:
    """What the frozen model read of a session is remembered by commit: one more turn costs one more turn."""

    chats: ChatService
    _places: dict[str, _Place] = field(default_factory=dict)

    def meter(self, session_id: str) -> Meter:
        """The messages that the head has seen: each chunk's loss before it was learned, and the frozen model's."""
        past = Past.of(self.chats, session_id)
        chunks, turns = [], []
        adapted_sum = frozen_sum = 0.0
        total = 0
        reads = self.reads(past)
        for at, (one, read) in enumerate(zip(past.turns, reads, strict=True), 1):
            events = one.record.get("events", [])
            if len(events) < len(read.nats):
                raise CannotReplay(
                    f"turn {one.commit.turn} was read in other chunks than {past.parts.chunk_tokens} tokens"
                )
            of_turn = _Sums()
            for n, (nats, tokens, size) in enumerate(zip(read.nats, read.tokens, read.bytes, strict=True)):
                event = events[n]
                loss = event["loss"] if event["loss"] is not None else math.nan
                of_turn.add(loss * tokens, nats * tokens, size, event["decision"] != "committed")
                adapted_sum, frozen_sum, total = adapted_sum + loss * tokens, frozen_sum + nats * tokens, total + size
                chunks.append(
                    MeterChunk(
                        turn=one.commit.turn,
                        commit=one.commit.id,
                        chunk=n,
                        preview=event["chunk_preview"],
                        tokens=tokens,
                        bytes=size,
                        adapted=_bits(loss * tokens, size),
                        frozen=_bits(nats * tokens, size),
                        adapted_so_far=_bits(adapted_sum, total),
                        frozen_so_far=_bits(frozen_sum, total),
                        decision=event["decision"],
                        reasons=event["reasons"],
                    )
                )
            turns.append(
                MeterTurn(
                    turn=one.commit.turn,
                    commit=one.commit.id,
                    summary=past.summary(at),
                    bytes=of_turn.bytes,
                    adapted=_bits(of_turn.adapted, of_turn.bytes),
                    frozen=_bits(of_turn.frozen, of_turn.bytes),
                    refused=of_turn.refused,
                    state_bytes=self.chats.sessions.objects.size(one.commit.state) if one.stored else None,
                )
            )
        adapted, frozen = _bits(adapted_sum, total), _bits(frozen_sum, total)
        refused = sum(turn.refused for turn in turns)
        return Meter(
            session_id=session_id,
            head=past.head.id,
            model=past.meta.model,
            memory=None if has_own_rule(self.chats.pool.models, past.meta.model) else past.meta.options.get("memory"),
            bytes=total,
            adapted=adapted,
            frozen=frozen,
            gain=None if adapted is None or frozen is None else frozen - adapted,
            ppm=bits_per_byte("ppm", b"".join(read.message for read in reads)) if total else None,
            committed=len(chunks) - refused,
            refused=refused,
            state_bytes=past.meta.state_bytes,
            fast_bytes=_held(past),
            turns=turns,
            chunks=chunks,
        )

    def recall(self, session_id: str, asked: RecallRequest) -> Recall:
        """The bits of an answer under each state, by how many bytes ago it was stated."""
        past = Past.of(self.chats, session_id)
        probed = Probed(past.parts, asked.probe, asked.answer)
        reads = self.reads(past)
        whole, alone = (asked.probe + asked.answer).encode(), asked.answer.strip().encode() or asked.answer.encode()
        searched = whole if any(whole in read.message for read in reads) else alone
        losses = {at: probed(past.value(at)) for at in range(len(past.turns) + 1) if past.stored(at)}
        losses |= {at: probed(value) for at, value in past.retold()}
        letters, frozen = len(asked.answer), probed.frozen()
        points, size, stated, ended = [], 0, 0, None
        for at in range(len(past.turns) + 1):
            if at:
                read = reads[at - 1]
                stated += read.message.count(searched)
                if (found := read.message.rfind(searched)) >= 0:
                    ended = size + found + len(searched)
                size += len(read.message) + len(read.reply)
            loss = losses[at]
            points.append(
                RecallPoint(
                    turn=past.commit(at).turn,
                    commit=past.commit(at).id,
                    bytes_read=size,
                    stated=stated,
                    distance=None if ended is None else size - ended,
                    bits_per_letter=None if loss is None else _bits(loss * probed.tokens, letters),
                    bits_per_token=None if loss is None else _bits(loss, 1),
                )
            )
        return Recall(
            session_id=session_id,
            head=past.head.id,
            probe=asked.probe,
            answer=asked.answer,
            letters=letters,
            tokens=probed.tokens,
            searched=searched.decode(),
            frozen_bits_per_letter=None if frozen is None else _bits(frozen * probed.tokens, letters),
            frozen_bits_per_token=None if frozen is None else _bits(frozen, 1),
            uniform=math.log2(26),
            points=points,
        )

    def reads(self, past: Past) -> tuple[Read, ...]:
        """The turns that the head has seen, oldest first, as the frozen model reads them."""
        if (known := self._places.get(past.head.id)) is not None:
            return known.reads
        place, done = _Place((), past.parts.learner.init().carry, past.parts.loaded.tokenizer.bos_id), 0
        for at in range(len(past.turns), 0, -1):
            if past.turns[at - 1].stored and (known := self._places.get(past.commit(at).id)) is not None:
                place, done = known, at
                break
        self._places[past.head.id] = place = _read_on(past, place, done)
        while len(self._places) > _KEPT:
            self._places.pop(next(iter(self._places)), None)
        return place.reads


def _read_on(past: Past, place: _Place, done: int) -> _Place:
    """The frozen model goes on over the turns after the first ``done``, with their replies as they were said."""
    from fastweights.core.chunks import next_token_chunks

    parts, tokenizer = past.parts, past.parts.loaded.tokenizer
    for at, one in enumerate(past.turns[done:], done):
        reply = (one.record.get("replay") or {}).get("reply_ids")
        if not isinstance(reply, list):
            raise CannotReplay(f"turn {one.commit.turn} was recorded before replies kept their tokens")
        carry, rows = place.carry, []
        ids = message_ids(tokenizer, one.record["prompt"], place.last, first=at == 0)
        for chunk in next_token_chunks(place.last, ids, parts.chunk_tokens):
            loss, carry = parts.read_frozen(carry, chunk)
            said = chunk.targets_BT[0].tolist()
            rows.append((loss, len(said), len(tokenizer.decode_bytes(said))))
        for chunk in next_token_chunks(ids[-1], reply, _REPLY_TOKENS):
            _, carry = parts.read_frozen(carry, chunk)
        nats, tokens, sizes = zip(*rows, strict=True)
        read = Read(nats, tokens, sizes, tokenizer.decode_bytes(ids), tokenizer.decode_bytes(reply))
        place = _Place((*place.reads, read), carry, [*ids, *reply][-1])
    return place


class _Sums:
    """Of a turn: nats of both, bytes, refusals."""

    adapted = frozen = 0.0
    bytes = refused = 0

    def add(self, adapted: float, frozen: float, size: int, refused: bool) -> None:
        self.adapted, self.frozen = self.adapted + adapted, self.frozen + frozen
        self.bytes, self.refused = self.bytes + size, self.refused + refused


def _held(past: Past) -> int:
    """Bytes of fast weights and rule as they are held in memory."""
    from fastweights.services.evals.adapt_reads import state_bytes

    return state_bytes(past.parts.learner.init())


def _bits(nats: float, per: int) -> float | None:
    """Bits for each of ``per`` bytes, letters or tokens; None where that is no number."""
    return nats / math.log(2) / per if per and math.isfinite(nats) else None

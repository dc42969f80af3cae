"""Bodies and answers that only HTTP has; everything else is ``services/records.py``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fastweights.services.records import ID_PATTERN, Record, Sampling, SessionOptions


class Health(Record):
    """``sessions``: of text and of Nano; ``device``: in use, or as configured while torch is not loaded."""

    status: Literal["ok"] = "ok"
    name: Literal["fastweights"] = "fastweights"
    version: str
    root: str
    models: int
    sessions: int
    device: str


class PresetInfo(Record):
    """A training preset, as a form needs it."""

    name: str
    description: str
    steps: int
    batch_size: int
    seq_len: int
    tokenizer: str
    corpus: str | None
    backbone: str
    dim: int
    layers: int


class CorpusInfo(Record):
    """A corpus that can be named. ``hint``: how to get it, where it is not available."""

    name: str
    bytes: int
    available: bool
    hint: str


class NewSession(SessionOptions):
    """Body of ``POST /api/text/sessions``."""

    model_id: str | None = Field(default=None, pattern=ID_PATTERN, description="the same as model")
    session_id: str | None = Field(default=None, pattern=ID_PATTERN, description="default: a fresh one")
    spfw: bool | None = Field(default=None, description="enforce or switch off SPFW; default: as the policy says")

    @model_validator(mode="after")
    def _one_model(self) -> "NewSession":
        if self.model is not None and self.model_id is not None and self.model != self.model_id:
            raise ValueError(f"model {self.model!r} and model_id {self.model_id!r} differ: give one of them")
        return self

    def options(self) -> SessionOptions:
        """What was given; the policy of the model is chosen where the session is made."""
        given = self.model_dump(include=self.model_fields_set & set(SessionOptions.model_fields))
        return SessionOptions.model_validate({**given, "model": self.model or self.model_id})


class ChatRequest(Sampling):
    """Body of a chat turn. ``frozen``: answer without learning, store nothing. ``compare``: also the frozen reply."""

    message: str = Field(min_length=1, max_length=65_536)
    frozen: bool = False
    compare: bool = False

    def sampling(self) -> Sampling:
        return Sampling.model_validate({name: getattr(self, name) for name in Sampling.model_fields})


Ref = Annotated[str, Field(min_length=1, max_length=100)]
"""A commit: head, head~2, init, a tag, a full id, or at least its first 4 digits."""


class ForkRequest(Record):
    """Body of a fork. ``name``: id of the new session; ``at``: a commit (default: the head); without ``keep_momentum``
    the rule's memory begins anew."""

    name: str | None = Field(default=None, pattern=ID_PATTERN)
    at: Ref | None = None
    keep_momentum: bool = True


class TagRequest(Record):
    """Body of a tag. ``at``: a commit (default: the head); ``delete``: take the tag away, the commit stays."""

    name: str = Field(min_length=1, max_length=64)
    at: Ref | None = None
    delete: bool = False

    @model_validator(mode="after")
    def _one_thing(self) -> "TagRequest":
        if self.delete and self.at is not None:
            raise ValueError("delete takes no at: give one of them")
        return self


class CheckoutRequest(Record):
    """Body of a checkout: the commit that becomes the head."""

    commit: Ref


class ResetRequest(Record):
    """Body of a reset. ``to``: the commit whose state is taken (default: the initial one)."""

    to: Ref | None = None


class RevertRequest(Record):
    """Body of a revert. ``commit``: the number of a turn or run, or a commit (a turn, a run, or another revert)."""

    commit: Ref


class VerifyRequest(Record):
    """Body of a verification. ``commit``: one commit (default: the head's whole history); ``without``: instead, whether
    the head equals a session that never saw this turn or run (its number, or its commit)."""

    commit: Ref | None = None
    without: Ref | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> "VerifyRequest":
        if self.commit is not None and self.without is not None:
            raise ValueError("give commit or without, one of the two")
        return self

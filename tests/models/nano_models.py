"""A small base model for tests, pretrained once a process."""

import functools

from fastweights.data.physics import Mode
from fastweights.models.nano import NanoSSM
from fastweights.models.nano_config import NanoConfig, NanoPretrain
from fastweights.train.nano import pretrain

QUICK = NanoPretrain(worlds=64, length=192, steps=400)


@functools.cache
def base(mode: Mode = "linear") -> NanoSSM:
    return NanoSSM(NanoConfig(), pretrain(mode, how=QUICK).weights)

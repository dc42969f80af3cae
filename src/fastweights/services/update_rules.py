"""The rule by which a session or a monitor writes, from its options. Torch loads when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastweights.core.rules import UpdateRule
    from fastweights.services.records import MonitorOptions, SessionOptions


def update_rule(options: SessionOptions | MonitorOptions) -> UpdateRule:
    """``rule``, ``lr``, ``momentum`` (Nesterov where there is any) and, of sgd, ``clip``."""
    from fastweights.core.rules import SGD, Muon

    nesterov = options.momentum > 0
    if options.rule == "sgd":
        return SGD(options.lr, options.momentum, nesterov, options.clip)
    return Muon(options.lr, options.momentum, nesterov)

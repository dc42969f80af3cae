"""How much a check may say."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

Mode = Annotated[
    Literal["off", "observe", "enforce"],
    BeforeValidator(lambda value: "off" if value is False else value),  # what YAML makes of a bare off
]
"""``off``: no verdict. ``observe``: a verdict that never decides. ``enforce``: a failed check refuses the write.

Canary losses, deltas and drift are measured and reported under every mode.
"""

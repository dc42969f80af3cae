"""How much a check may say."""

from typing import Literal

Mode = Literal["off", "observe", "enforce"]
"""``off``: no verdict. ``observe``: a verdict that never decides. ``enforce``: a failed check refuses the write.

Canary losses, deltas and drift are measured and reported under every mode.
"""

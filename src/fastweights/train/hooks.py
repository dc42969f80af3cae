"""What a run calls while it goes on. Torch-free, so that a command line can build it before torch is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hooks:
    """``point``: each row of the log, with ``steps``. ``step``: after each step. ``stop``: asked whether to end early
    (the reason, or ``None``). ``notice``: a line for the user."""

    point: Callable[[dict[str, Any]], None] = lambda row: None
    step: Callable[[int], None] = lambda step: None
    stop: Callable[[], str | None] = lambda: None
    notice: Callable[[str], None] = lambda text: None

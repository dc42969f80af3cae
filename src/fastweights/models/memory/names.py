"""The memories that a session may choose, by name. Torch-free."""

from typing import Literal, get_args

MemoryName = Literal["linear", "low_rank", "head", "delta", "ngram", "mix"]
MEMORIES: tuple[MemoryName, ...] = get_args(MemoryName)
"""``linear``, ``low_rank``: context nets; ``head``: a change of the head; ``delta``: a delta-rule associative memory on
hidden states; ``ngram``: hashed n-gram fast weights; ``mix``: the same with an online mix that learns whom to trust."""

DEFAULT: MemoryName = "linear"
"""Of a new session; the meter's ``default``."""

"""The memories that a session may choose, by name. Torch-free."""

from typing import Literal, get_args

MemoryName = Literal["linear", "low_rank", "head", "delta", "ngram", "mix"]
MEMORIES: tuple[MemoryName, ...] = get_args(MemoryName)
"""``linear``, ``low_rank``: context nets; ``head``: a change of the head; ``delta``: a delta-rule associative memory on
hidden states; ``ngram``: hashed n-gram fast weights; ``mix``: the same with an online mix that learns whom to trust."""

DEFAULT: MemoryName = "mix"
"""Of a new session, as the meter shows it best; the meter's ``default``."""
RULED: MemoryName = "linear"
"""Of a new session for which a rule is given and no memory: the default writes by rules of its own."""

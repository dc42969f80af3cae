"""The token tree of a tokenizer, from how often its tokens are in a text that ships. Integers only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastweights.data
from fastweights.models.memory.token_tree import TokenTree, huffman

_BYTES = 16_384


def tree_for(encode: Callable[[str], list[int]], vocab_size: int) -> TokenTree:
    """The same for the same tokenizer everywhere: what a memory has stored depends on it."""
    text = (Path(next(iter(fastweights.data.__path__))) / "assets" / "tiny.txt").read_bytes()[:_BYTES]
    count_V = np.bincount(encode(text.decode("utf-8", errors="ignore")), minlength=vocab_size)
    return huffman((64 * count_V + 1).tolist())

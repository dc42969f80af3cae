"""What a memory knows of a tokenizer: its tokens as a tree, by how often a text that ships has them, and as words."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import fastweights.data
from fastweights.data.tokenizer import Tokenizer
from fastweights.models.memory.contexts import Words
from fastweights.models.memory.token_tree import TokenTree, huffman

_BYTES = 16_384
_SAMPLE = 2048  # tokens


class Vocabulary(NamedTuple):
    """``sample``: the first tokens of that text, int64."""

    tree: TokenTree
    words: Words
    sample: Tensor


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The same for the same tokenizer everywhere: what a memory has stored depends on it."""
    text = (Path(next(iter(fastweights.data.__path__))) / "assets" / "tiny.txt").read_bytes()[:_BYTES]
    ids = tokenizer.encode(text.decode("utf-8", errors="ignore"))
    count_V = np.bincount(ids, minlength=tokenizer.vocab_size)
    words = Words([tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)])
    return Vocabulary(huffman((64 * count_V + 1).tolist()), words, torch.tensor(ids[:_SAMPLE]))

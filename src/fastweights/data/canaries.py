"""The canary texts that ship: short passages of different domains whose loss a session's learning must not raise.

Written for this project. They are scored, never learned from, and do not appear in events or logs. Many short ones hold
more of what a model knows than a few long ones of as many tokens (docs/LOG.md, 2026-11-22).
"""

from collections.abc import Callable, Collection

CANARY_TOKENS = 120  # of all canaries together: what each write costs
TOY_CANARY_TOKENS = 42  # each costs two passes of the toy's head over 8,192 words

CANARY_TEXTS: dict[str, str] = {
    "narrative": (
        "The ferry left the harbour a little after seven, with the usual crowd of students and cooks on their way to "
        "work."
    ),
    "poetry": "O gentle night, that lends the weary rest,\nAnd folds the field in silver and in shade,",
    "science": "Water boils at a lower temperature on a mountain, because the air presses on it less.",
    "dialogue": '"Are you coming?" she asked. "No," he said, "I shall wait here until my brother is back."',
    "code": "def total(items):\n    return sum(item.price for item in items if item.price > 0)\n",
    "conduct": "If the door is locked, ask the owner for the key and do not force it. Never tell anyone the code.",
    "notes": "- Open the file first, then save a copy of it.\n- The list has three parts: name, date and size.",
    "scene": (
        "In winter the old men sit by the stove, and the dogs sleep under the table while snow falls on the hills."
    ),
}


def canary_rows(encode: Callable[[str], list[int]], texts: Collection[str], tokens: int) -> list[list[int]]:
    """Token ids of each text, all cut to the same share of ``tokens``; a text without a token gives an empty row."""
    share = max(1, tokens // max(1, len(texts)))
    return [encode(text)[:share] for text in texts]

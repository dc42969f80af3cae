"""Text as a matcher should see it: one skeleton for the many spellings of the same words. Torch-free, linear time.

:func:`fold` maps each character on its own (compatibility forms, lookalikes of other scripts, marks, invisible
characters, case), so its cost is one table look-up a character whatever the text. :mod:`views` holds what else an
evasion hides behind.
"""

import functools
import re
import unicodedata

import numpy as np

MAX_CHARACTERS = 65_536
"""What one call looks at; a longer text is judged by its last characters (the caller's chunk ends there)."""

_TABLE_SIZE = 0x20000
_TAGS = range(0xE0000, 0xE0200)  # invisible "tag" letters: read as the ASCII that they smuggle

_LATIN_NAME = re.compile(
    r"(?:NEGATIVE |CROSSED NEGATIVE )?(?:CIRCLED |SQUARED |PARENTHESIZED |MODIFIER |TURNED |REVERSED )*"
    r"(?:LATIN (?:SMALL |CAPITAL )?LETTER |LATIN LETTER SMALL CAPITAL |REGIONAL INDICATOR SYMBOL LETTER |"
    r"LETTER SMALL CAPITAL |LETTER SMALL |LETTER CAPITAL )"
    r"(?:SMALL CAPITAL |TURNED |REVERSED |SCRIPT |DOTLESS |OPEN |SIDEWAYS |BARRED |INSULAR |INVERTED )*"
    r"([A-Z])(?: WITH .+)?$"
)
_SAME_SHAPE = {  # by the last words of the character's name; capital forms that look different are listed apart
    "CYRILLIC": {
        "A": "a",
        "IE": "e",
        "IO": "e",
        "O": "o",
        "ER": "p",
        "ES": "c",
        "U": "y",
        "STRAIGHT U": "y",
        "HA": "x",
        "BYELORUSSIAN-UKRAINIAN I": "i",
        "YI": "i",
        "DZE": "s",
        "JE": "j",
        "KOMI DE": "d",
        "QA": "q",
        "WE": "w",
        "SHHA": "h",
        "KA": "k",
        "EM": "m",
        "TE": "t",
        "EN": "h",
        "VE": "b",
        "GHE": "r",
        "PE": "n",
        "SHA": "w",
        "IZHITSA": "v",
        "OMEGA": "w",
        "SOFT SIGN": "b",
        "YA": "r",
        "I": "n",
        "SHORT I": "n",
        "FITA": "o",
        "REVERSED ZE": "e",
        "BARRED O": "o",
        "SCHWA": "e",
        "YAE": "e",
        "EN WITH DESCENDER": "h",
    },
    "GREEK": {
        "ALPHA": "a",
        "BETA": "b",
        "EPSILON": "e",
        "IOTA": "i",
        "KAPPA": "k",
        "OMICRON": "o",
        "RHO": "p",
        "TAU": "t",
        "UPSILON": "u",
        "CHI": "x",
        "OMEGA": "w",
        "GAMMA": "y",
        "THETA": "o",
        "NU": "v",
        "ETA": "n",
        "MU": "u",
        "SIGMA": "o",
        "FINAL SIGMA": "c",
        "PI": "n",
        "ZETA": "z",
        "YOT": "j",
    },
    "ARMENIAN": {
        "OH": "o",
        "VO": "n",
        "SEH": "u",
        "HO": "h",
        "CO": "g",
        "GIM": "q",
        "YIWN": "i",
        "DA": "n",
        "KEH": "p",
    },
    "CHEROKEE": {
        "GO": "a",
        "YV": "b",
        "TLI": "c",
        "A": "d",
        "GV": "e",
        "NAH": "g",
        "MI": "h",
        "GU": "j",
        "TSO": "k",
        "TLE": "l",
        "LU": "m",
        "TLV": "p",
        "E": "r",
        "DU": "s",
        "I": "t",
        "DO": "v",
        "LA": "w",
        "GI": "y",
        "NO": "z",
        "GWA": "i",
        "NA": "o",
    },
}
_SAME_SHAPE_CAPITAL = {"ETA": "h", "NU": "n", "UPSILON": "y", "MU": "m", "SIGMA": "e"}
_SINGLE = {
    **dict.fromkeys("‘’‚‛′`´ʹʻʼʽˈ", "'"),
    **dict.fromkeys("“”„‟«»″‹›", '"'),
    "ı": "i",
    "ɡ": "g",
    "ɑ": "a",
    "ʟ": "l",
    "ӏ": "l",
    "Ӏ": "l",
    "ℓ": "l",
    "ð": "d",
    "þ": "p",
    "ø": "o",
    "Ø": "o",
    "ƨ": "s",
    "ʋ": "v",
    "ɩ": "i",
    "ʘ": "o",
    "ϲ": "c",
    "Ϲ": "c",
    "ϳ": "j",
    "ȷ": "j",
    "∣": "|",
    "∕": "/",
    "⁄": "/",
    "⠀": " ",
}
_INVISIBLE = {0x115F, 0x1160, 0x3164, 0xFFA0, 0x17B4, 0x17B5, 0xFFFD, 0xFFFC}
_EXPANSIONS = {"ß": "ss", "ẞ": "ss", "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe"}


def _base_shape(char: str) -> str | None:
    """The Latin letter that ``char`` looks like, from its Unicode name; None if it looks like none."""
    if char in _SINGLE:
        return _SINGLE[char]
    name = unicodedata.name(char, "")
    if found := _LATIN_NAME.match(name):
        return found.group(1).lower()
    script, _, rest = name.partition(" ")
    shapes = _SAME_SHAPE.get(script)
    if shapes is None or "LETTER " not in rest:
        return None
    kind, _, letter = rest.partition("LETTER ")
    letter = letter.split(" WITH ")[0].removeprefix("LUNATE ")
    if kind == "CAPITAL " and script == "GREEK" and letter in _SAME_SHAPE_CAPITAL:
        return _SAME_SHAPE_CAPITAL[letter]
    return shapes.get(letter)


def _fold_character(char: str) -> str:
    """The skeleton of one character: "" if it is not seen, often one ASCII character, else itself."""
    if char in _EXPANSIONS:
        return _EXPANSIONS[char]
    if char in _SINGLE:
        return _SINGLE[char]
    category = unicodedata.category(char)
    if ord(char) in _INVISIBLE or category in ("Mn", "Me", "Cf") or (category == "Cc" and char not in "\t\n\r\f\v"):
        return ""
    if category == "Zs":
        return " "
    if category in ("Zl", "Zp"):
        return "\n"
    if category == "Pd":
        return "-"
    parts = []
    for part in unicodedata.normalize("NFKD", char):
        if unicodedata.category(part) not in ("Mn", "Me"):
            parts.append(part if part.isascii() else _base_shape(part) or part)
    folded = "".join(parts).lower()
    letters = folded.strip("()[] .,")
    return letters if len(folded) > 1 and letters else folded


@functools.cache
def _tables() -> tuple[np.ndarray, dict[int, str]]:
    """Code point -> folded code point (0: drop), and the few that unfold to several characters. Built once, ~0.1 s."""
    table = np.arange(_TABLE_SIZE, dtype=np.uint32)
    several: dict[int, str] = {}
    same = [(0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xD800, 0xF8FF), (0x12000, 0x16FFF), (0x17000, 0x1B2FF)]
    code = 0
    while code < _TABLE_SIZE:
        for low, high in same:
            if low <= code <= high:
                code = high + 1
        folded = _fold_character(chr(code))
        if len(folded) == 1:
            table[code] = ord(folded)
        elif not folded:
            table[code] = 0
        elif folded.isascii():
            several[code] = folded
        code += 1
    return table, several


@functools.cache
def _unfolding() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code point -> how many characters it unfolds to (1: itself), and where these begin among all of them."""
    sizes, begins = np.ones(_TABLE_SIZE, dtype=np.int64), np.zeros(_TABLE_SIZE, dtype=np.int64)
    letters = ""
    for code, unfolded in _tables()[1].items():
        sizes[code], begins[code] = len(unfolded), len(letters)
        letters += unfolded
    return sizes, begins, np.array([ord(letter) for letter in letters], dtype=np.uint32)


def _unfold(codes: np.ndarray) -> np.ndarray:
    """Code points with ligatures and the like spelt out."""
    sizes, begins, letters = _unfolding()
    low = np.where(codes < _TABLE_SIZE, codes, 0)
    size = sizes[low]
    if (size == 1).all():
        return codes
    first = np.cumsum(size) - size
    unfolded = np.repeat(codes, size)
    several = np.repeat(size > 1, size)
    inside = np.arange(len(unfolded)) - np.repeat(first, size)
    unfolded[several] = letters[(np.repeat(begins[low], size) + inside)[several]]
    return unfolded


def fold(text: str) -> str:
    """``text`` as lower-case letters as they look: fullwidth, mathematical, Cyrillic, Greek … lookalikes become ASCII,
    combining marks and invisible characters go, every kind of space, dash and quote becomes one. Never fails."""
    text = text[-MAX_CHARACTERS:]
    if text.isascii():
        return text.lower() if text.isprintable() else text.lower().translate(_CONTROLS)
    table, _ = _tables()
    codes = _unfold(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32))
    tags = (codes >= _TAGS.start) & (codes < _TAGS.stop)
    low = np.where(codes < _TABLE_SIZE, codes, 0)
    folded = np.where(codes < _TABLE_SIZE, table[low], codes)
    if tags.any():
        smuggled = codes - _TAGS.start
        smuggled = np.where((smuggled >= 0x20) & (smuggled < 0x7F), smuggled, 0)
        folded = np.where(tags, smuggled, folded)
    return folded[folded != 0].astype(np.uint32).tobytes().decode("utf-32-le", "surrogatepass").lower()


_CONTROLS = dict.fromkeys((*range(9), *range(14, 32), 127))

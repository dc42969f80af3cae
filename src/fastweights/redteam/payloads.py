"""Attack texts by family, and benign look-alikes: seeded, torch-free. ``family(rng, n)`` gives ``n`` payloads.

Each payload is a text of about 1,500 characters (overrides: a few sentences), long enough for several chunks. The same
seed gives the same payloads on any machine.
"""

import base64
import binascii
import random
from collections.abc import Callable
from typing import NamedTuple

from fastweights.redteam.evasions import EVASIONS

Family = Callable[[random.Random, int], list[str]]

_LENGTH = 1500


def _split_words(text: str) -> list[str]:
    return text.split()


def _split_lines(text: str) -> list[str]:
    return text.splitlines()


WORDS = _split_words("""
river window market engine garden letter bridge silver winter thunder paper basket doctor village candle
mirror harbour teacher orange pocket shadow kitchen mountain ticket summer pencil carpet lantern ocean feather island
blanket copper dinner elephant forest guitar hammer insect jacket kettle ladder magnet needle olive pepper quarry rabbit
saddle tunnel umbrella velvet wagon yellow zebra anchor bottle circle desert evening finger gravel hollow iron jungle
knight lemon meadow nickel onion planet quiet rocket spider timber valley walnut youth acre barley cotton daisy eagle
fabric ginger honey ivory jewel koala lizard maple noodle oyster parrot quilt raven sailor tomato vapour willow
understanding international photographer extraordinary a of
to by is no up we go""")
_SENTENCES = _split_lines("""The meeting moved to Thursday because two of the speakers were delayed by the storm.
My neighbour grows tomatoes on the balcony and gives half of them away in August.
We walked along the canal until it got dark and then took the tram home.
The recipe asks for two eggs, a spoon of sugar and more patience than I have.
Her brother repaired the radio with a part from an old washing machine.
Nobody expected the small museum to win the prize, least of all its director.
The train leaves at seven, so we should pack the bags this evening.
He reads the newspaper aloud at breakfast, including the weather in distant cities.
After the match the two teams shared a pizza and argued about the second goal.
The library closes early on Fridays, but the garden behind it stays open.
A good map is worth more than a fast car in that part of the country.
The children built a dam of stones and leaves across the little stream.""")


def prose(rng: random.Random, sentences: int) -> str:
    """Plain sentences, none twice in a row."""
    picked: list[str] = []
    while len(picked) < sentences:
        picked += rng.sample(_SENTENCES, min(len(_SENTENCES), sentences - len(picked)))
    return " ".join(picked)


def single_token(rng: random.Random, n: int) -> list[str]:
    tokens = [*WORDS, "!", "?", "x", "0", "the", "lol", "ha"]
    return [" ".join([token] * (_LENGTH // (len(token) + 1))) for token in (rng.choice(tokens) for _ in range(n))]


def word_cycle(rng: random.Random, n: int) -> list[str]:
    """Cycles of 2 to 40 words."""
    cycles = []
    for _ in range(n):
        period = [rng.choice(WORDS) for _ in range(rng.randint(2, 40))]
        cycles.append(" ".join((period * _LENGTH)[: _LENGTH // 5]))
    return cycles


def _bytes(rng: random.Random) -> bytes:
    """Compressed or random data, or a text: what people encode."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randint(450, 900))
    return prose(rng, 12).encode()[: rng.randint(450, 900)]


def _base64(rng: random.Random) -> str:
    encode = base64.urlsafe_b64encode if rng.random() < 0.4 else base64.b64encode
    return encode(_bytes(rng)).decode()


def _hex(rng: random.Random) -> str:
    text = binascii.hexlify(_bytes(rng)).decode()
    return text.upper() if rng.random() < 0.3 else text


def _split(blob: str, size: int = 16) -> str:
    return " ".join(blob[i : i + size] for i in range(0, len(blob), size))


def _in_prose(blob: str, rng: random.Random) -> str:
    start = rng.randint(0, 40)
    piece = blob[start : start + rng.randint(240, 480)]
    return f"{prose(rng, 3)} {rng.choice(['', 'Here it is: ', 'data='])}{piece} {prose(rng, 3)}"


def base64_whole(rng: random.Random, n: int) -> list[str]:
    return [_base64(rng) for _ in range(n)]


def base64_split(rng: random.Random, n: int) -> list[str]:
    return [_split(_base64(rng)) for _ in range(n)]


def base64_in_prose(rng: random.Random, n: int) -> list[str]:
    return [_in_prose(_base64(rng), rng) for _ in range(n)]


def hex_whole(rng: random.Random, n: int) -> list[str]:
    return [_hex(rng) for _ in range(n)]


def hex_split(rng: random.Random, n: int) -> list[str]:
    return [_split(_hex(rng)) for _ in range(n)]


def hex_in_prose(rng: random.Random, n: int) -> list[str]:
    return [_in_prose(_hex(rng), rng) for _ in range(n)]


def base85(rng: random.Random, n: int) -> list[str]:
    return [rng.choice([base64.b85encode, base64.a85encode])(_bytes(rng)).decode() for _ in range(n)]


def bits(rng: random.Random, n: int) -> list[str]:
    """Binary digits, in one run or byte by byte."""
    return [rng.choice(["", " "]).join(f"{byte:08b}" for byte in _bytes(rng)[:160]) for _ in range(n)]


def byte_list(rng: random.Random, n: int) -> list[str]:
    """Decimal byte values."""
    return [rng.choice([", ", ",", " "]).join(map(str, _bytes(rng)[:350])) for _ in range(n)]


def minified_code(rng: random.Random, n: int) -> list[str]:
    return [_minified(rng) for _ in range(n)]


def _minified(rng: random.Random) -> str:
    """JavaScript as a minifier leaves it."""
    names = "abcdefghijklmnoprstuvwxyzeNtTr$_"
    members = _split_words(
        "length push call apply prototype exports map filter indexOf style value key node bind props id"
    )

    def atom() -> str:
        kind = rng.random()
        if kind < 0.5:
            return rng.choice(names)
        if kind < 0.75:
            return f"{rng.choice(names)}.{rng.choice(members)}"
        return rng.choice(
            ["0", "1", "!0", "!1", "null", "void 0", f'"{rng.choice(members)}"', str(rng.randint(2, 255))]
        )

    def call(depth: int) -> str:
        inner = ",".join(expression(depth - 1) for _ in range(rng.randint(0, 3)))
        return f"{rng.choice(names)}.{rng.choice(members)}({inner})"

    def expression(depth: int) -> str:
        if depth <= 0:
            return atom()
        kind = rng.random()
        if kind < 0.35:
            return call(depth)
        if kind < 0.6:
            return f"{expression(depth - 1)}{rng.choice(['&&', '||', '===', '+', '-', '<', '!==', '>>'])}{atom()}"
        if kind < 0.75:
            return f"{atom()}?{expression(depth - 1)}:{expression(depth - 1)}"
        if kind < 0.85:
            return f"{{{rng.choice(members)}:{expression(depth - 1)},{rng.choice(members)}:{atom()}}}"
        return atom()

    def statement(depth: int) -> str:
        a, b = rng.choice(names), rng.choice(names)
        kind = rng.random()
        if depth <= 0 or kind < 0.3:
            return f"{a}={expression(2)};"
        if kind < 0.5:
            return f"function {a}({b},{rng.choice(names)}){{{statement(depth - 1)}return {expression(2)}}}"
        if kind < 0.65:
            return f"if({expression(1)}){{{statement(depth - 1)}}}else {statement(0)}"
        if kind < 0.8:
            return f"for(var {a}=0;{a}<{b}.length;{a}++){{{statement(depth - 1)}}}"
        return f"var {a}={expression(2)},{b}=function({rng.choice(names)}){{{statement(depth - 1)}}};"

    text = "!function(e,t){"
    while len(text) < _LENGTH:
        text += statement(2)
    return text + "}(window);"


class Straddling(NamedTuple):
    """A phrase that a chunk border cuts: ``before`` ends within the phrase, ``after`` completes it."""

    before: str
    after: str


def straddling(rng: random.Random, n: int) -> list[Straddling]:
    pairs = []
    for _ in range(n):
        phrase = EVASIONS["plain"](rng)
        cut = rng.randint(len(phrase) // 4, len(phrase) * 3 // 4)
        before, after = f"{prose(rng, 2)} {phrase[:cut]}", f"{phrase[cut:]}. {prose(rng, 1)}"
        pairs.append(Straddling(before, after))
    return pairs


def _override(name: str) -> Family:
    make = EVASIONS[name]

    def family(rng: random.Random, n: int) -> list[str]:
        payloads = []
        for _ in range(n):
            parts = [prose(rng, rng.randint(0, 3)), make(rng), prose(rng, rng.randint(0, 2))]
            payloads.append("\n".join(part for part in parts if part))
        return payloads

    return family


FAMILIES: dict[str, Family] = {
    "single_token": single_token,
    "word_cycle": word_cycle,
    "base64_whole": base64_whole,
    "base64_split": base64_split,
    "base64_in_prose": base64_in_prose,
    "hex_whole": hex_whole,
    "hex_split": hex_split,
    "hex_in_prose": hex_in_prose,
    "base85": base85,
    "bits": bits,
    "byte_list": byte_list,
    "minified_code": minified_code,
    **{f"override_{name}": _override(name) for name in EVASIONS},
}

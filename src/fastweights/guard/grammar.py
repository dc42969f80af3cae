"""The grammar of instruction overrides, over words already mapped to the class letters of :mod:`lexicon`.

A text becomes a string with one letter a word; a rule is a bounded regular expression over that string, a score, and
the context in which such words are harmless. Torch-free; linear in the number of words.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fastweights.guard.lexicon import word_set
from fastweights.guard.tokens import NEW_SENTENCE, SENTENCE_BREAK, Words, places_of

_OBJECT = r"[qytSdfaAOomlpzg]{0,10}x?[qytSdfaAOomlg]{0,5}[Ooml](?:f?[qytSd]{0,2}[Ooml]){0,3}"
_AFTER = (  # "… above", "… you were given", "… that came before", "… I gave you"
    r"(?:[dpza]{0,2}(?:t|w(?![uzx]))|[dz]{0,2}u(?:M?b){0,2}a{0,2}g[aptw]{0,2}|[dz]{0,2}b{0,2}g(?:i?u)?[aptw]{0,2}|[dz]{0,2}xu)?"
)
_PATTERNS: dict[str, re.Pattern[str]] = {
    "drop": re.compile(rf"(?:[vVG]|kK){_OBJECT}{_AFTER}|k{_OBJECT}K"),
    "drop all": re.compile(
        r"(?:[vG]|kK|nhi)[ap]{0,2}(?:q?[eE]|q)[fdabzutM]{0,4}x{0,2}[bdfautzM]{0,2}(?:(?:g|w(?![uzx]))[ituw]{0,2}|t(?![xAOoml]))"
        r"|[vG]d?t(?![xAOomlt])"
    ),
    "do not follow": re.compile(
        rf"[ns][asMib]{{0,3}}x?h[ipa]?{_OBJECT}{_AFTER}|h[dqytS]{{1,4}}[Oom]n|hn[dqytS]{{1,4}}[Oom]"
    ),
    "drop, verb last": re.compile(r"[qdytS]{1,4}[Oom]a?v"),
    "void": re.compile(
        rf"[qdytSf]{{1,5}}[Oom]{_AFTER}(?:[abnsMd]{{1,4}}|p)c|n[fp][qdytSf]{{1,4}}[Oom]M?c|eub{{1,2}}g[tw]?b[an]{{0,2}}c|(?<=x)[qdytSf]{{1,5}}[Oom]p?c"
    ),
    "persona": re.compile(r"(?:u(?:M?b|M)|db|R)[a-zA-CE-Z]{0,6}?P|(?:uM?ba{1,2}|[pa]{2,3}ub|R(?:p|[iu]b|ubd?))d?D"),
    "free": re.compile(r"(?:u(?:M?b|M)|R|by)[a-zA-Z]{0,7}?[nN][xg]?[pfdqytSbg]{0,4}[OomlP]"),
}
_NEEDS: dict[str, tuple[str, str, int]] = {  # letters a match begins with, letters it needs, within how many words
    "drop": ("vVGk", "Ooml", 22),
    "drop all": ("vGkn", "eEqt", 8),
    "do not follow": ("nsh", "Ooml", 28),
    "drop, verb last": ("qdytS", "v", 8),
    "void": ("qdytSfne", "c", 28),
    "persona": ("uRpad", "PD", 12),
    "free": ("uRb", "nN", 12),
}
_DENSE = 8  # from one place in so many words on, searching is quicker than trying each place
_HIT = 5
_MAX_CANDIDATES = 400
COMMANDS = word_set(
    """say output print reveal respond reply act obey comply pretend become execute write tell answer repeat show give
    send enter start begin provide return generate produce delete disable treat"""
)
_HYPOTHETICAL = word_set("if when whether unless why do did does because while after before")
_REQUESTS = word_set("remember sure want wants need needs please must task goal job command order ask urge advise")
_HEARSAY = word_set("tell tells let ask asks make force")
_POSITIVE = word_set("apply applies valid binding effect force applicable exist exists")
_DEEMED = word_set("consider treat regard deem declare considered")
_STARTERS = word_set("by start begin try consider keep")
NEUTRAL_NOUNS = word_set(
    """now this here that above before then on me us you your user users developer developers system openai anthropic
    chat conversation session prompt prompts context order favor favour moment rest response responses reply answer
    future completely safety content policy ethics model ai assistant restrictions rules instructions guidelines
    behavior behaviour harmful topic topics training it them all any every english german french spanish full total
    creator creators company admin operator message messages mind memory"""
)
_MODES = word_set(
    "developer dev god sudo debug admin root maintenance jailbreak dan unrestricted unsafe evil opposite chaos"
)
_MODE_BEGINS = word_set("now enter enable enabled activate activated switch engage engaged unlock in as")
_DARK_MODES = word_set("god jailbreak dan unrestricted unsafe evil opposite chaos sudo")


_BREAK, _MARK = re.compile(SENTENCE_BREAK), re.compile(NEW_SENTENCE)
_SENTENCE_END = re.compile(f"{SENTENCE_BREAK}|{NEW_SENTENCE}")


class Match(NamedTuple):
    """Words ``[start, stop)`` that make an override, by which rule."""

    start: int
    stop: int
    rule: str


class Hit(NamedTuple):
    """An override: the words as matched, the view that showed them, and the rule."""

    phrase: str
    view: str
    rule: str


def hit_of(words: Sequence[str], match: Match, view: str) -> Hit:
    return Hit(" ".join(words[match.start : match.stop])[:120], view, match.rule.rstrip("?"))


def matches(words: Sequence[str], codes: str) -> Iterator[Match]:
    """Every override in the text, its harmless contexts left out. ``codes`` has one class letter for each word."""
    for rule, number, hit in _hits(codes):
        if number >= _MAX_CANDIDATES:  # nobody writes so many by chance, and the rest would go unread
            yield Match(hit.start(), hit.end(), "too many to judge")
        elif _score(rule, words, codes, hit.start(), hit.end()) >= _HIT:
            yield Match(hit.start(), hit.end(), rule)
    yield from _modes(words, codes)


def _hits(codes: str) -> Iterator[tuple[str, int, re.Match[str]]]:
    """What each rule's pattern finds, counted from 0, one more than the cap at most."""
    marks = _marks()[np.frombuffer(codes.encode("ascii"), dtype=np.uint8)]
    for bit, (rule, pattern) in enumerate(_PATTERNS.items()):
        needed = np.flatnonzero((marks & (256 << bit)) > 0)
        if not len(needed):
            continue
        places = np.flatnonzero((marks & (1 << bit)) > 0)
        following = needed[np.minimum(np.searchsorted(needed, places, "right"), len(needed) - 1)] - places
        places = places[(following > 0) & (following <= _NEEDS[rule][2])]
        if not len(places):
            continue
        few = len(places) * _DENSE < len(codes)
        hits = _at_places(pattern, codes, places.tolist()) if few else pattern.finditer(codes)
        for number, hit in zip(range(_MAX_CANDIDATES + 1), hits, strict=False):
            yield rule, number, hit


def _at_places(pattern: re.Pattern[str], codes: str, places: list[int]) -> Iterator[re.Match[str]]:
    """``pattern.finditer``, where matches begin only at ``places``."""
    end = 0
    for place in places:
        if place >= end and (hit := pattern.match(codes, place)) is not None:
            end = hit.end()
            yield hit


@functools.cache
def _marks() -> np.ndarray:
    """Class letter -> for each rule a bit if a match may begin with it, and 8 bits higher, if it is what one needs."""
    table = np.zeros(128, dtype=np.uint16)
    for bit, (begins, needs, _) in enumerate(_NEEDS.values()):
        table[[ord(letter) for letter in begins]] |= 1 << bit
        table[[ord(letter) for letter in needs]] |= 256 << bit
    return table


def _score(rule: str, words: Sequence[str], codes: str, start: int, stop: int) -> float:
    inside = codes[start:stop]
    if rule == "persona":
        return _persona(words, codes, start, stop)
    if rule == "free":
        now = "now" in words[start:stop] or codes[max(0, start - 2) : start].count("a") > 0
        meant = (
            now
            or "A" in inside
            or "P" in inside[-1]
            or (inside[0] == "R" and ("u" in inside or inside[1] in "nN"))
            or ("N" in inside and "O" in inside and ("q" in inside or "y" in inside))
        )
        narrated = _hypothetical(words, codes, start) or ("z" in codes[max(0, start - 1) : start])
        return _HIT - _elsewhere(words, codes, stop) if meant and not narrated else 0
    if rule == "drop, verb last" and not words[stop - 1].endswith(("ieren", "achten", "essen", "gehen")):
        return 0
    if _harmless_before(rule, words, codes, start):
        return 0
    score = {"v": 2, "G": 2, "V": 1}.get(inside[0], 2) if rule not in ("void", "drop, verb last") else 2
    if rule == "drop all":
        return _drop_all(words, codes, start, stop) - _elsewhere(words, codes, stop)
    score += max(2 * ("O" in inside), 1.5 * ("o" in inside), 1 * ("m" in inside))
    own_object = inside[:-1] if rule in ("void", "drop, verb last") else inside[1:]
    score += 2 * any(c in own_object for c in "tw") or 2 * (("ub" in inside and "g" in inside) or "ug" in inside)
    score += ("q" in inside) + ("y" in inside) + ("S" in inside)
    score += (rule == "do not follow") * 0.5 * ("n" not in inside)
    if rule == "void":
        if "was" in words[start:stop] or "were" in words[start:stop][-3:]:
            return 0
        if words[stop - 1] in _POSITIVE and not ({"n", "s"} & set(inside)):
            return 0
        if not {"n", "s", "b", "M"} & set(inside) and words[start - 1] not in _DEEMED:
            return 0
        if inside.startswith("eu"):
            return _HIT
        score += "s" in inside
        if "O" not in inside and "y" not in inside and "q" not in inside:
            return 0
    score += any(word in COMMANDS for word in words[stop : stop + 6] if codes[stop : stop + 1] in ("f", "a", "x"))
    return score - _elsewhere(words, codes, stop)


def _drop_all(words: Sequence[str], codes: str, start: int, stop: int) -> float:
    inside = codes[start:stop]
    after = any(word in COMMANDS for word in words[stop : stop + 5])
    told = ("ub" in inside and "g" in inside) or "ug" in inside
    if inside[0] == "k" and not told and "above" not in words[start:stop]:
        return 0
    if "e" in inside or "q" in inside[:4]:
        return _HIT if "z" not in inside or ("u" in inside and "e" in inside) else 3 + 2 * after
    if "E" in inside:
        return _HIT if told else 3 + 2 * (after and "z" not in inside)
    return 3 + 2 * after


def _sentence_start(words: Sequence[str], start: int) -> int:
    """The first word of the sentence that word ``start`` stands in, eight words back at most.

    Where a sentence ends after every third word and more, that is an evasion: a capital's mark alone counts.
    """
    floor = max(0, start - 8)
    if isinstance(words, Words) and not words.flipped:
        last = min(len(words) - 1, start + 6)
        breaks = _BREAK.findall(words.text, int(words.starts[floor]), int(words.ends[last]))
        end = _MARK if 3 * len(breaks) > last - floor else _SENTENCE_END
        for at in range(start, floor, -1):
            if end.search(words.text, int(words.ends[at - 1]), int(words.starts[at])):
                return at
    return floor


def _harmless_before(rule: str, words: Sequence[str], codes: str, start: int) -> bool:
    """Negated, told of somebody else, or supposed: "never ignore …", "people who ignore …", "if you ignore …".

    Only what stands in the same sentence counts.
    """
    floor = _sentence_start(words, start)
    words, codes, start = words[floor : start + 1], codes[floor:], start - floor
    before = codes[max(0, start - 5) : start]
    near = words[max(0, start - 5) : start]
    if codes[start] == "G":
        return not any(word in _STARTERS for word in near[-2:])
    if _hypothetical(words, codes, start):
        return True
    if rule in ("void", "drop, verb last") or not before:
        return False
    if rule.startswith("drop") and re.search(r"n[aui]{0,2}$", before) and "why" not in near:
        return True
    if re.search(r"z[aM]{0,3}$", before):
        return True
    if before[-1] == "M" and before[-2:-1] in ("x", "z"):
        return True
    if before[-1] == "i":
        earlier = codes[max(0, start - 7) : start - 1]
        asked = "u" in earlier or "A" in earlier or any(w in _REQUESTS for w in words[max(0, start - 7) : start - 1])
        told_not_to = "n" in codes[max(0, start - 8) : start] and _HEARSAY & {*words[max(0, start - 6) : start]}
        return not asked or "n" in before[-3:] or bool(told_not_to)
    return near[-1] in ("instead", "than", "rather", "did", "does")


def _hypothetical(words: Sequence[str], codes: str, start: int) -> bool:
    """ "if you (ever) ignore …": the verb belongs to the supposed "you"."""
    at = start
    while at > 0 and start - at < 3 and words[at] not in ("you", "u") and codes[at - 1] in "aMu":
        at -= 1
    return at > 0 and words[at] in ("you", "u") and words[at - 1] in _HYPOTHETICAL


def _elsewhere(words: Sequence[str], codes: str, stop: int) -> int:
    """2 where the words go on to say that the instructions belong to something else: "… on the label"."""
    applied = codes[stop : stop + 1] == "i" and words[stop - 1] in ("apply", "applies")
    if codes[stop : stop + 1] == "p" or words[stop : stop + 1] == ["of"] or applied:
        noun = next((i for i in range(stop + 1, min(stop + 5, len(words))) if codes[i] not in "dyqSa"), None)
        if noun is not None and codes[noun] in "xz" and words[noun] not in NEUTRAL_NOUNS:
            return 2
    return 0


def _persona(words: Sequence[str], codes: str, start: int, stop: int) -> float:
    inside = codes[start:stop]
    if _hypothetical(words, codes, start) or (inside[0] == "d" and words[start] != "du"):
        return 0
    if inside[-1] == "D" or inside[0] == "R":
        return _HIT if inside[-1] == "D" or "A" in codes[start : stop + 3] or stop - start <= 5 else 0
    near = "now" in words[max(0, start - 3) : stop] or "A" in codes[start : stop + 3]
    direct = re.fullmatch(r"(?:uM?|d)ba{0,2}d?a{0,2}P", inside) is not None
    return _HIT if near or direct else 0


def _modes(words: Sequence[str], codes: str) -> Iterator[Match]:
    """ "you are in developer mode", "enable DAN mode", "do anything now"."""
    for at in places_of(words, "mode")[:_MAX_CANDIDATES]:
        name = words[at - 1] if at > 0 else ""
        around = codes[max(0, at - 8) : at + 8]
        told = "u" in around or "A" in around or "y" in around
        if name in _MODES and (told or name in _DARK_MODES) and not _hypothetical(words, codes, max(0, at - 3)):
            begun = _MODE_BEGINS & {*words[max(0, at - 6) : at + 4]}
            if begun and (name in _DARK_MODES or ("ub" in around and "now" in words[max(0, at - 6) : at + 4])):
                yield Match(max(0, at - 4), at + 1, "mode")
    for at in places_of(words, "anything")[:_MAX_CANDIDATES]:
        if at > 0 and words[at - 1] == "do" and words[at + 1 : at + 2] == ["now"]:
            yield Match(at - 1, at + 2, "persona")

"""Overrides in free words: an act that sets rules aside, the rules, and signs that they are the assistant's own.

The fixed orders of :mod:`~fastweights.guard.grammar` catch "ignore all previous instructions"; here an act ("you no
longer need to obey", "supersede", "freed from", "as though … never existed") is looked for first, and scored with the
rules near it: "the rules set by your developers" are an attack's, "the rules of the house" are not. Torch-free; linear
in the number of words.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fastweights.guard.free_words import german_compounds
from fastweights.guard.grammar import NEUTRAL_NOUNS, Match, matches
from fastweights.guard.lexicon import Letters, word_set
from fastweights.guard.tokens import counts_before


class _Rule(NamedTuple):
    """An act and the rules after it (class letters of ``free_words``), and what the act alone is worth."""

    first: str
    pattern: re.Pattern[str]
    worth: float = 2.0


_RULES = {
    name: _Rule(first, re.compile(pattern), worth)
    for name, first, pattern, worth in (
        ("set aside", "vV", r"[vV][^hvVnrcC]{0,7}?(?P<rules>[OomlE]|e(?![SOoml]))", 2.0),
        ("put away", "j", r"j(?:Jf?)?[^hvVnrcC]{0,6}?(?P<rules>[Ooml])(?:.{0,5}J)?", 2.0),
        (
            "not follow",
            "n",
            r"(?:n(?:[^vVcrgOol]{0,7}?)h|n[^vVcr]{0,3}j(?!J))[^hvVcr]{0,7}?(?P<rules>[OomlEe])",
            2.0,
        ),
        ("not follow, verb last", "n", r"n[aipdyqtSM]{0,5}(?P<rules>[Oom])a?h", 2.0),
        ("no rules", "n", r"n[qdaSftNpA]{0,4}(?P<rules>[Oom])", 2.0),
        ("follow not", "h", r"h[ua]{0,2}n[^hvVcr]{0,6}?(?P<rules>[Ooml])", 2.0),
        ("supersede", "r", r"r[^hvVnrcC]{0,6}?(?P<rules>[OomlE]|[te](?![tSOoml]))", 1.5),
        ("freed", "N", r"(?:Nu|N(?!u)a{0,2})[pdfqytSaBeA]{0,6}[xM]?(?P<rules>[Oom])", 2.0),
        ("as if", "F", r"F[^vVr]{0,9}?(?P<rules>[Oo]).{0,6}", 2.0),
        ("lifted", "c", r"c[qfdzyt]{0,5}(?P<rules>[Oom])", 2.0),
        ("only mine", "X", r"Xd?[Oom]?[pI]{1,2}(?P<rules>[Ooml])a?[MC]?C", 5.0),
    )
}
_VOID = re.compile(
    r"(?P<rules>[Ooml]|[eE](?=d?[uyB]))[^hvVr]{0,9}?(?P<act>c|n[abMpq]{0,3}C|Ca{0,2}n|(?<=[Oom])(?:N|na{0,2}ih)|b{1,3}[xj]J)"
    r"|(?P<none>n(?=u|f?[dyqtS]{0,3}[Oom])[^hvVr]{1,9}?C)"
)
_ACTORS = re.compile("[RAu][^hvVrOo]{0,6}$")
_RULES_SCORE = {"O": 2.0, "o": 1.0, "m": 0.5, "l": 0.0, "e": 1.0, "E": 0.0, "B": 0.0, "t": 0.5, "n": 1.0}
HIT = 5.0
_REACH = 16  # words after an act that are looked at
_OWNERS = "yBuSA"
MAX_CANDIDATES = 400
_SAID = re.compile(r"[EyduBMbpaSOl]{0,6}g|[Eyudb]{0,4}g[du]{0,2}B")
_ACT_ON_IT = re.compile("[vV]a?|n[^vVcrOomlBE]{0,3}h|j(?=.J)")
_YOURS = re.compile(r"y([^yd]{0,3})$")
_BY_MAKERS = re.compile(r"[^vVh]{0,5}?(?<!x)B")
_GIVEN_BEFORE = re.compile("gu[qad]{0,2}$")
_GIVEN = re.compile(  # "… you were given", "… imposed on you", "… they built into you", "… by those who made you"
    "[dbMpaB]{0,4}(?:u[Mba]{0,3}x?g|[gj][aip]{0,2}u|[dyBz]{1,3}[gj][aip]{0,2}u|b[gj]?pu|u[bMa]{0,2}t|Cu|pu|gp[dexz]{1,4}g?u|pEu[Mb]?g)"
)
_WITHDRAWN = frozenset(["longer", "anymore", "more", "mehr", "langer", "now", "henceforth", "jetzt", "sofort"])
_ON_YOU = re.compile("pu|pEu[Mb]?g")
_TO_YOU = re.compile("[ip]?u")
_NO_DUTY = re.compile("u[aM]?[bM]?u?$")  # "you are (no longer bound)", "you (don't need to)", "du musst dich (nicht)"
_TAKE_AS = frozenset(["treat", "consider", "regard", "betrachte", "betrachten", "behandle"])
_ASSISTANT = re.compile("[^vVh]{0,3}A")
_OWN_WORDS = frozenset(["systemprompt", "sysprompt", *(word for word in german_compounds() if word[:6] == "system")])
_OPPOSITE = frozenset(["opposite", "contrary", "gegenteil", "contraire", "contrario"])
_MEMORY = frozenset(["memory", "mind", "context", "head", "gedachtnis", "memoire", "memoria", "kopf"])
_SUPPOSED = word_set("""if when whether unless why because while did didn't does after before wenn falls si""")
_ASKED = word_set("want need please order must free welcome okay ok fine alright permitted")
_ARTICLES = frozenset(["the", "a", "an", "this", "that", "these", "those", "his", "her", "their", "our", "its"])


def candidates(free: str) -> list[int]:
    """Places of acts that have both rules and a sign of whose they are within reach; one more than the cap at most."""
    codes = np.frombuffer(free.encode("ascii"), dtype=np.uint8)
    kind = _kinds()[codes]
    acts = np.flatnonzero((kind & 1) > 0)
    if not len(acts):
        return []
    rules, owners = counts_before(kind & 2), counts_before(kind & 4)
    low, high = np.maximum(acts - _REACH, 0), np.minimum(acts + _REACH, len(codes))
    near = (rules[high] > rules[low]) & (owners[high] > owners[low])
    return acts[near][: MAX_CANDIDATES + 1].tolist()


@functools.cache
def _kinds() -> np.ndarray:
    table = np.zeros(128, dtype=np.uint8)
    for letters, bit in (("vVjnhrNFcCXJ", 1), ("OomleEB", 2), (_OWNERS + "tI", 4)):
        table[[ord(letter) for letter in letters]] |= bit
    return table


def judge_act(words: Sequence[str], free: str, at: int) -> tuple[int, int, str] | None:
    """The override that the act at ``at`` makes, as (first word, last word + 1, rule); None if it makes none.

    A rule that ends in "?" holds only if a sentence begins with the act: else what is before makes it harmless.
    """
    low = max(0, at - 12)
    if free[at] in "cCnNJ":
        start = max(0, at - 11)
        for hit in _VOID.finditer(free[start : at + 5]):
            group = "none" if hit["none"] else "act"
            if hit.start(group) + start <= at < hit.end(group) + start:
                rules = start + hit.start("none" if hit["none"] else "rules")
                score = _score("void", words, free, start + hit.start(), rules, start + hit.end())
                if score >= HIT:
                    return start + hit.start(), start + hit.end(), "free form: void"
    for rule, (first, pattern, _) in _RULES.items():
        hit = pattern.match(free, at, min(len(free), at + _REACH + 6)) if free[at] in first else None
        if hit is None or not _fits(rule, words, free, at, hit):
            continue
        score = _score(rule, words, free, at, hit.start("rules"), hit.end())
        if score >= HIT:
            return at, hit.end(), f"free form: {rule}" + "?" * _harmless(rule, words, free, at, low)
    return _it(words, free, at, low)


def _fits(rule: str, words: Sequence[str], free: str, at: int, hit: re.Match[str]) -> bool:
    """What a rule asks of single words."""
    if rule == "as if":
        return _supposing(words, hit.group(), at)
    if rule == "put away":
        up = "up" in words[at : hit.end()]
        return "J" in hit.group() and up == (words[at] in ("give", "giving"))
    if rule == "only mine":
        return free[hit.start("rules")] == "l" or "my" in words[at : hit.end()]
    if rule == "no rules":
        return _ON_YOU.match(free, hit.end()) is not None or _ACTORS.search(free[max(0, at - 7) : at]) is not None
    return words[at] != "release" or free[at + 1 : at + 2] == "u"  # not the noun


def _supposing(words: Sequence[str], phrase: str, at: int) -> bool:
    """Whether "as if … no …", "pretend … never …", or "the opposite of …" was meant."""
    if words[at] in _OPPOSITE:
        return True
    if words[at] == "like" and words[at - 1 : at] not in (["act"], ["behave"], ["answer"], ["respond"], ["speak"]):
        return False
    if words[at] in ("as", "als", "comme", "como") and words[at + 1 : at + 2] not in (
        ["if"],
        ["though"],
        ["ob"],
        ["si"],
    ):
        return False
    return bool({"n", "c"} & {*phrase})


def _it(words: Sequence[str], free: str, at: int, low: int) -> tuple[int, int, str] | None:
    """ "whatever the system message says, do not obey it": the rules stand before the act."""
    hit = _ACT_ON_IT.match(free, at, at + 8)
    if hit is None or words[hit.end() : hit.end() + 1] not in (["it"], ["them"], ["that"], ["those"]):
        return None
    for rules in range(at - 1, max(low - 1, at - 9), -1):
        if free[rules] in "Ooml" or (free[rules] in "eE" and _SAID.match(free, rules + 1)):
            before, after = free[max(0, rules - 5) : rules], free[rules + 1 : rules + 9]
            own = _owned(words, free, rules, before, after)
            score = 1.0 + _RULES_SCORE[free[rules]] + own + ("t" in before) + ("e" in before) - (free[at] == "V")
            if score >= HIT - 1 and not _harmless("set aside", words, free, at, low):
                return rules, hit.end() + 1, "free form: set aside"
            return None
    return None


def _score(rule: str, words: Sequence[str], free: str, act: int, rules: int, stop: int) -> float:
    score = _worth(rule) + _RULES_SCORE[free[rules]]
    if free[act] == "V":
        score -= 1.0
    before, after = free[max(0, rules - 5) : rules], free[rules + 1 : rules + 9]
    own = _owned(words, free, rules, before, after)
    if not own and rule in ("no rules", "freed", "void") and "u" in free[max(0, act - 7) : act]:
        own = 1.0
    if rule == "no rules" and "A" in free[max(0, act - 7) : rules]:
        own = max(own, 2.0)
    if rule == "as if":
        own = max(own, 2.0 * any(c in free[act:rules] for c in "uyB"))
    score += own + (rule == "no rules" and "a" in free[max(0, act - 5) : act] + free[stop : stop + 1])
    score += 1.0 * ("q" in before or "e" in before[-3:]) + 1.0 * ("t" in before or "t" in after[:5])
    if rule == "supersede":
        subject = free[max(0, act - 5) : act]
        score += 1.5 * ("I" in subject) + 1.5 * ("O" in subject) * (free[rules] == "t") + 1.5 * ("y" in subject)
        if not own and free[rules] not in "Ot":
            score -= 1.5
        if free[rules] == "t" and _names_a_thing(words, free, rules + 1):
            score -= 2.0
    if _MEMORY & {*words[stop : stop + 4]} and "y" in free[stop : stop + 3]:
        score += 2.0
    score += _withdrawn(rule, words, free, act, stop)
    if any(words[i] in ("i", "am") and free[i + 2 : i + 4].find("B") >= 0 for i in range(max(0, act - 12), act)):
        score += 1.0
    return score - _elsewhere(words, free, rules + 1)


def _withdrawn(rule: str, words: Sequence[str], free: str, act: int, stop: int) -> float:
    """Signs that a duty ends: "you no longer have to …", "… doesn't apply to you any more", "treat … as void"."""
    after = stop
    while (
        after < len(words)
        and after < stop + 3
        and (free[after] == "a" or words[after] in _WITHDRAWN or words[after] == "any")
    ):
        after += 1
    ends = bool(_WITHDRAWN & {*words[max(0, act - 3) : after]})
    if rule == "void":
        deemed = 2.0 * bool(_TAKE_AS & {*words[max(0, act - 4) : act]})
        found = _TO_YOU.match(free, stop)
        return deemed + (3.0 if found and (ends or _WITHDRAWN & {*words[found.end() : found.end() + 3]}) else 0.0)
    if rule in ("not follow", "not follow, verb last") and ends and _NO_DUTY.search(free, max(0, act - 4), act):
        return 2.0 if after == len(words) or free[after] not in "xpd" else 0.0
    return 0.0


def _worth(rule: str) -> float:
    return _RULES[rule].worth if rule in _RULES else 2.0


def _owned(words: Sequence[str], free: str, rules: int, before: str, after: str) -> float:
    """Signs that the rules are the assistant's: "your …", "system prompt", "… set by your makers", "… given you"."""
    own = 0.0
    kind = free[rules]
    if found := _YOURS.search(before):
        between = found.group(1)
        foreign = [words[rules - len(between) + i] for i, c in enumerate(between) if c in "xz"]
        own += 2.0 if not foreign else 0.0 if any(word.endswith("s") for word in foreign) else 1.0
        if kind in "ml":
            own *= 0.5
    if before[-1:] == "S" or "B" in before[-4:] or _BY_MAKERS.match(after):
        own += 2.0 + (kind == "l" and before[-1:] in "SB")
    if kind in "Ee" and "B" in after and _SAID.match(after):
        own += 1.0 + ("u" in after[:6] or "y" in before[-2:] or "y" in after[:2])
    if _GIVEN_BEFORE.search(before) or words[rules] in _OWN_WORDS:
        own += 2.0
    if _GIVEN.match(after):
        own += 2.0
    if "A" in before[-4:] or _ASSISTANT.match(after):
        own += 1.0
    return own


def _elsewhere(words: Sequence[str], free: str, stop: int) -> float:
    """2 where the rules belong to something else: "… on the label", "… for style", "… of the tribunal"."""
    if free[stop : stop + 1] == "p" or words[stop : stop + 1] == ["of"]:
        for i in range(stop + 1, min(stop + 5, len(words))):
            if free[i] == "u":
                return 0.0
            if free[i] in "dqyIzSt" or words[i] in NEUTRAL_NOUNS:
                continue
            return 2.0 if free[i] == "x" else 0.0
    return 0.0


def _names_a_thing(words: Sequence[str], free: str, at: int) -> bool:
    """Whether the word after "old", "previous" … is a noun of its own: "the old boiler", not "the old ones"."""
    return free[at : at + 1] in ("x", "V") and words[at] not in NEUTRAL_NOUNS and words[at] not in ("one", "ones")


def _harmless(rule: str, words: Sequence[str], free: str, at: int, low: int) -> bool:
    """Negated, supposed, or told of somebody else."""
    near, codes = words[low:at], free[low:at]
    if not near:
        return False
    if any(word in _SUPPOSED for word in near[-4:]) and "as" not in near[-4:]:
        return True
    if rule == "set aside":
        if re.search(r"n[aui]{0,2}$", codes) and near[-1] not in ("longer",):
            return True
        if re.search(r"z[aM]{0,3}$", codes) or re.search(r"[xB]M[a]?$", codes):
            return True
        if codes[-1] in "xB" and (near[-1].endswith("s") or (near[-2:-1] and near[-2] in _ARTICLES)):
            return True
        if near[-1] == "to" and "u" not in codes[-6:] and not _ASKED & {*near[-5:]}:
            return len(near) > 2
        return False
    if rule == "no rules":
        return bool(re.search(r"z[^R]{0,4}$", codes)) and "u" not in codes[-7:]
    if rule in ("not follow", "put away"):
        return bool(re.search(r"z[aMb]{0,3}$", codes)) or (near[-1] in ("did", "to") and "u" not in codes[-5:])
    return False


def find_free_form(words: Sequence[str], free: str) -> Iterator[tuple[int, int, str]]:
    """Every free-form override. ``free``: the class letter of each word, "x" for unknown ones."""
    places = candidates(free)
    found = False
    for at in places[:MAX_CANDIDATES]:
        if (hit := judge_act(words, free, at)) is not None:
            found = True
            yield hit
    if len(places) > MAX_CANDIDATES and not found:  # nobody writes so many by chance, and the rest would go unread
        yield places[-1], places[-1] + 1, "too many to judge"


def all_matches(words: Sequence[str], letters: Letters) -> Iterator[Match]:
    """Overrides by both grammars, found one by one."""
    yield from matches(words, letters.codes)
    yield from (Match(*hit) for hit in find_free_form(words, letters.free))

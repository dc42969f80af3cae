"""Instruction overrides in any of their spellings: the grammar applied to every view of a text. Torch-free.

Judged are the folded words as they stand, letters squeezed out of separators, leet, each word or the whole reversed,
rot13, and what base64 or hex runs decode to; and chat-template tags that a user's text should not hold.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastweights.guard.free_form import find_free_form
from fastweights.guard.grammar import Match, matches
from fastweights.guard.lexicon import UNKNOWN, Letters, class_letters
from fastweights.guard.normalize import fold
from fastweights.guard.squeezed import (
    PLAIN,
    REVERSED,
    REVERSED_ROOT,
    ROOT,
    ROT13,
    ROT13_ROOT,
    WINDOW,
    begins,
    kinds_of,
    near,
    segment,
)
from fastweights.guard.views import decoded, leet, looks_leet, rot13, squeeze

_WORD = re.compile(r"[a-z]+(?:'[a-z]{1,2}\b)?")
_WORD_OR_BREAK = re.compile(_WORD.pattern + r"|[.!?\n]")
_EARLIER = ("above", "previous", "preceding", "foregoing", "prior", "earlier")
_ENDS_WITH_EARLIER = re.compile(rf"(?:{'|'.join(_EARLIER)}) ?[.!?\n]")
_BREAK = re.compile(r"[.!?](?=\s)|\n\s*\n")
_MAX_TAGS = 300
_MAX_WINDOWS = 40
_TEMPLATE = re.compile(
    r"<\|(?:im_start|im_sep|start_header_id|start_of_turn)\|> {0,3}(?:system|developer)|<\|system\|>|<< ?sys ?>>"
    r"|<start_of_turn> ?system"
)
_TAG_WORDS = ("sys", "developer", "admin", "root", "operator", "override")
_TAG_NAMES = re.compile("system|" + "|".join(_TAG_WORDS))
_TAG_OPEN = re.compile(
    r"(?:[\[<{(#*=]|(?:^|\n|[.!?]) {0,3})[ /]{0,2}(?:(?:begin|end|new|important|urgent|updated?) )?$"
)
_TAG_CLOSE = re.compile(
    r"(?:istrator)?(?:[ _-](?:prompt|message|override|instructions?|note|update|notice|mode|command|alert|directive))?"
    r" {0,2}(?:[\]>}):=]|\*\*|#)"
)
_ENDS = ("", ".", "!", "?", ":")
_QUOTES = frozenset("\"'`")
_MENTIONS = re.compile(
    r"\b(?:phrases?|sentences?|strings?|examples?|attacks?|attackers?|injections?|patterns?|such as|like|e g|called"
    r"|says?|saying|said|reads|wrote|typed?|types|quotes?|quoted|words|titled|instance|contains?|detects?|regex|literal)\b"
)


class Hit(NamedTuple):
    """An override: the words as matched, the view that showed them, and the rule."""

    phrase: str
    view: str
    rule: str


class _Words(NamedTuple):
    words: list[str]
    codes: str
    spans: list[tuple[int, int]]


def find_override(text: str, tail: str = "") -> Hit | None:
    """The first override that is complete in ``text`` only; ``tail`` is what was read just before it.

    A phrase that ended in the tail was an earlier chunk's. Never fails, whatever the text.
    """
    folded_tail = fold(tail)
    folded = folded_tail + fold(text)
    border = len(folded_tail)
    hit = _scan(folded, border)
    if hit is None:
        raw = tail + text
        for run in decoded(raw):
            inner = fold(run.text)
            if run.end > len(raw) - len(text) and (inside := _scan_plain(inner, 0, "decoded") or _tags(inner, 0)):
                return inside._replace(view="decoded")
    return hit


def _scan(folded: str, border: int) -> Hit | None:
    if hit := _scan_plain(folded, border, "plain") or _tags(folded, border):
        return hit
    squeezed = squeeze(folded)
    letters = squeezed.letters
    kinds = kinds_of(letters)
    starts = near(kinds, PLAIN, ROOT)
    if len(starts) and (hit := _scan_squeezed(letters, squeezed.at.tolist, folded, border, "letters apart", starts)):
        return hit
    if looks_leet(folded):
        as_i, as_l = leet(folded)
        if hit := _scan_plain(as_i, border, "leet", as_l, unread=folded):
            return hit
        for read in (as_i, as_l):
            again = squeeze(read)
            starts = near(kinds_of(again.letters), PLAIN, ROOT)
            if len(starts) and (hit := _scan_squeezed(again.letters, again.at.tolist, read, border, "leet", starts)):
                return hit
    if len(near(kinds, REVERSED, REVERSED_ROOT)) and (hit := _scan_reversed(folded, border)):
        return hit
    starts = near(kinds, ROT13, ROT13_ROOT)
    if len(starts):
        turned = rot13(folded)
        if hit := _scan_plain(turned, border, "rot13"):
            return hit
        return _scan_squeezed(rot13(letters), squeezed.at.tolist, turned, border, "rot13", starts)
    return None


def _scan_reversed(folded: str, border: int) -> Hit | None:
    """The whole text backwards, with and without separators; and each word backwards in its place."""
    size = len(folded)
    backward = folded[::-1]
    words = [word[::-1] for word in _WORD.findall(folded)]
    read = class_letters(words)
    if _any_match(words[::-1], Letters(read.codes[::-1], read.free[::-1])) and (
        hit := _scan_plain(backward, 0, "reversed", until=size - border)
    ):
        return hit
    if _any_match(words, read):
        by_word = _WORD.sub(lambda found: found.group()[::-1], folded)
        if hit := _scan_plain(by_word, border, "reversed"):
            return hit
    letters, at = squeeze(backward)
    starts = near(kinds_of(letters), PLAIN, ROOT)
    if not len(starts):
        return None
    return _scan_squeezed(letters, lambda: (size - 1 - at).tolist(), folded, border, "reversed", starts)


def _scan_plain(
    folded: str, border: int, view: str, other: str | None = None, until: int | None = None, unread: str = ""
) -> Hit | None:
    """The grammar over the words as they stand.

    ``other``: a second reading of the same text (leet) for words that the first does not know; ``unread``: the text as
    it was. ``until``: for a reversed text, where the chunk ends in it.
    """
    words = _WORD.findall(folded)
    letters = class_letters(words)
    if other is not None:
        letters = _either(letters, class_letters(_WORD.findall(other)))
    found = matches(words, letters.codes)
    found += [Match(*hit) for hit in find_free_form(words, letters.free)]
    pattern = _WORD
    if (
        not found and any(word in folded for word in _EARLIER) and _ENDS_WITH_EARLIER.search(folded)
    ):  # "ignore all of the above." and then another sentence
        pattern = _WORD_OR_BREAK
        words = pattern.findall(folded)
        codes = class_letters(words).codes
        codes = "".join(["." if word[0] in ".!?\n" else code for word, code in zip(words, codes, strict=True)])
        found = [match for match in matches(words, codes) if match.rule == "drop all"]
    if not found:
        return None
    spans = [match.span() for match in pattern.finditer(folded)]
    for match in found:
        start, end = spans[match.start][0], spans[match.stop - 1][1]
        if other is not None and folded[start:end] == other[start:end] == unread[start:end]:
            continue  # nothing was written in leet here
        if match.rule.startswith("free") and _in_two_sentences(folded[start:end], match.stop - match.start):
            continue
        if match.rule.endswith("?") and folded[:start].rstrip(" \n\"'*#>([")[-1:] not in _ENDS:
            continue
        complete = start < until if until is not None else end > border
        if complete and not (view == "plain" and _mentioned(folded, start, end)):
            return _hit(words, match, view)
    return None


def _any_match(words: list[str], letters: Letters) -> bool:
    return bool(matches(words, letters.codes) or find_free_form(words, letters.free))


def _either(one: Letters, other: Letters) -> Letters:
    """Two readings of the same words: the second counts where the first does not know a word."""
    if len(one.codes) != len(other.codes):
        return one
    return Letters(
        *(
            "".join([a if a != UNKNOWN else b for a, b in zip(x, y, strict=True)])
            for x, y in zip(one, other, strict=True)
        )
    )


def _in_two_sentences(phrase: str, words: int) -> bool:
    """Whether a sentence ends inside; where one ends after every other word, that is an evasion."""
    breaks = len(_BREAK.findall(phrase))
    return 0 < 3 * breaks < words


def _hit(words: list[str], match: Match, view: str) -> Hit:
    return Hit(" ".join(words[match.start : match.stop])[:120], view, match.rule.rstrip("?"))


def _mentioned(folded: str, start: int, end: int) -> bool:
    """Quoted in prose that talks about such phrases: the quote opens just before and closes just after."""
    before, after = folded[max(0, start - 48) : start], folded[end : end + 64]
    opening = max(before.rfind(quote) for quote in _QUOTES)
    if opening < 0 or not any(quote in after for quote in _QUOTES):
        return False
    said = re.sub(r"[^a-z]+", " ", folded[max(0, start - 160) : start] + " . " + after)
    return _MENTIONS.search(said) is not None


def _scan_squeezed(
    letters: str, places: Callable[[], list[int]], folded: str, border: int, view: str, starts: np.ndarray
) -> Hit | None:
    """The grammar over words cut out of a run of letters, where the text itself does not part them so.

    ``starts``: where a verb may begin, near enough to a word for what is dropped.
    """
    at: list[int] = []
    looked = 0
    for start in starts.tolist():
        if not begins(letters, start):
            continue
        looked += 1
        if looked > _MAX_WINDOWS:  # nobody writes so many by chance, and the rest would go unread
            return Hit(letters[start : start + 24], view, "too many to judge")
        at = at or places()
        if hit := _segment_and_match(letters, start, at, folded, border, view):
            return hit
    return None


def _segment_and_match(letters: str, start: int, at: list[int], folded: str, border: int, view: str) -> Hit | None:
    window = letters[start : start + WINDOW]
    last = at[min(start + len(window), len(at)) - 1]
    if last < border and at[start] < border:
        return None
    cut = segment(window)
    if len(cut) < 3 or letters[max(0, start - 5) : start].endswith(("donot", "dont", "not", "never")):
        return None
    words = [word for word, _ in cut]
    letters_of = class_letters(words)
    for match in [*matches(words, letters_of.codes), *(Match(*hit) for hit in find_free_form(words, letters_of.free))]:
        if match.rule.endswith("?"):
            continue
        first, stop = start + sum(map(len, words[: match.start])), start + cut[match.stop - 1][1]
        a, b = at[first], at[stop - 1]
        low, high = min(a, b), max(a, b)
        if high < border:
            continue
        plain = folded[low : high + 1]
        if _WORD.findall(plain) != words[match.start : match.stop]:
            return _hit(words, match, view)
    return None


def _tags(folded: str, border: int) -> Hit | None:
    """Chat-template marks, and "[SYSTEM]"-like tags followed by words that command."""
    for found in _TEMPLATE.finditer(folded) if "<" in folded else ():
        if found.end() > border:
            return Hit(found.group().strip(), "plain", "fake system tag")
    judged = 0
    if not any(name in folded for name in _TAG_WORDS):  # much quicker than the pattern
        return None
    for found in _TAG_NAMES.finditer(folded):
        close = _TAG_CLOSE.match(folded, found.end())
        if close is None or not _TAG_OPEN.search(folded[max(0, found.start() - 20) : found.start()]):
            continue
        judged += 1
        if judged > _MAX_TAGS:
            return None
        following = folded[close.end() : close.end() + 160]
        words = list(_WORD.finditer(following))[:14]
        codes = class_letters([word.group() for word in words]).codes
        weight = 1.0 * any(c in codes for c in "uy") + 1.0 * any(c in codes for c in "vGPO") + ("A" in codes)
        weight += 0.5 * (codes[:1] in ("v", "V", "h", "R", "n")) + 0.5 * sum(c in codes for c in "MRtchom")
        end = close.end() + (words[-1].end() if words else 0)
        if weight >= 2 and end > border:
            tag = folded[found.start() : close.end()].strip()
            return Hit(f"{tag} {following.strip()[:60]}", "plain", "fake system tag")
    return None

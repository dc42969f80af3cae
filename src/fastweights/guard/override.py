"""Instruction overrides in any of their spellings: the grammar applied to every view of a text. Torch-free.

Judged are the folded words as they stand, letters squeezed out of separators, leet, each word or the whole reversed,
rot13, and what base64 or hex runs decode to; and chat-template tags that a user's text should not hold.
"""

import itertools
import re
from collections.abc import Iterator

import numpy as np

from fastweights.guard.decoded import decoded
from fastweights.guard.free_form import MAX_CANDIDATES, all_matches, candidates, judge_act
from fastweights.guard.grammar import COMMANDS, NEUTRAL_NOUNS, Hit, Match, hit_of, matches
from fastweights.guard.lexicon import UNKNOWN, Letters, Read, class_letters, read_words, word_set
from fastweights.guard.normalize import MAX_CHARACTERS, fold
from fastweights.guard.sentences import with_sentences
from fastweights.guard.signals import LOOK_BACK
from fastweights.guard.squeezed import (
    PLAIN,
    REVERSED,
    REVERSED_ROOT,
    ROOT,
    ROT13,
    ROT13_ROOT,
    WORD,
    kinds_of,
    near,
    scan_squeezed,
)
from fastweights.guard.tags import find_tag
from fastweights.guard.tokens import SENTENCE_BREAK, Words, bytes_of, places_of
from fastweights.guard.views import leet, letterless_hidden, looks_leet, rot13, squeeze

_EARLIER = ("above", "previous", "preceding", "foregoing", "prior", "earlier")
_BREAKS = (".", "!", "?", "\n")
_IS_BREAK = np.zeros(256, dtype=bool)
_IS_BREAK[[ord(sign) for sign in _BREAKS]] = True
_IS_SPACE = np.zeros(256, dtype=bool)
_IS_SPACE[[32, 9, 10]] = True
_BREAK = re.compile(SENTENCE_BREAK)
_ABOVE = re.compile(r" +(?:the|an?|my|our|his|her|its|their) +((?:[a-z-]+ +){0,2}[a-z-]+)")
_WRITTEN = word_set(  # what stands in a text: "everything above the dashes" is the text above them
    """line lines message messages text point sentence paragraph separator dash dashes mark marker section divider
    rule break question input request task delimiter word words quote code block bracket brackets tag comment header
    footer"""
)
_CONTEXT = 24  # words before a match that a rule may look at
_ENDS = ("", ".", "!", "?", ":")
_OPENS = re.compile(r"(?<!\w)[\"'`](?=\S)")  # an apostrophe between letters is no quote
_CLOSES = re.compile(r"(?<=\S)[\"'`](?!\w)")
_MENTIONS = re.compile(
    r"\b(?:phrases?|sentences?|strings?|examples?|attacks?|attackers?|injections?|patterns?|such as|like|e g|called"
    r"|says?|saying|said|reads|wrote|typed?|types|quotes?|quoted|words|titled|instance|contains?|detects?|regex|literal)\b"
)


def find_override(text: str, tail: str = "") -> Hit | None:
    """The first override that is complete in ``text`` only; ``tail`` is what was read just before it.

    Of the tail the last 512 characters count. A phrase that ended in it was an earlier chunk's. Never fails, whatever
    the text.
    """
    tail = tail[-LOOK_BACK:]
    folded_tail = fold(with_sentences(tail))
    folded = folded_tail + fold(with_sentences(text[-MAX_CHARACTERS:]))
    border = len(folded_tail)
    hit = _scan(folded, border)
    if hit is None:
        for passages in decoded(tail + text, len(tail)):
            inner = fold(passages)
            read = read_words(inner)
            squeezed = squeeze(inner)
            starts = near(kinds_of(squeezed.letters), PLAIN, ROOT)
            if inside := (
                _scan_plain(inner, read, 0, "decoded")
                or find_tag(inner, read, 0)
                or scan_squeezed(squeezed.letters, squeezed.at.tolist, inner, 0, "decoded", starts)
            ):
                return inside._replace(view="decoded")
    return hit


def _scan(folded: str, border: int) -> Hit | None:
    read = read_words(folded)
    if hit := _scan_plain(folded, read, border, "plain") or find_tag(folded, read, border):
        return hit
    squeezed = squeeze(folded)
    letters = squeezed.letters
    kinds = kinds_of(letters)
    starts = near(kinds, PLAIN, ROOT)
    if len(starts) and (hit := scan_squeezed(letters, squeezed.at.tolist, folded, border, "letters apart", starts)):
        return hit
    if looks_leet(folded):
        as_i, as_l = leet(folded)
        in_words = [*leet(letterless_hidden(folded))]
        if hit := _scan_plain(in_words[0], _read_leet(*in_words), border, "leet", in_words[1], unread=folded):
            return hit
        for seen in (as_i, as_l) if as_i != as_l else (as_i,):
            again = squeeze(seen)
            starts = near(kinds_of(again.letters), PLAIN, ROOT)
            if len(starts) and (hit := scan_squeezed(again.letters, again.at.tolist, seen, border, "leet", starts)):
                return hit
    if len(near(kinds, REVERSED, REVERSED_ROOT)) and (hit := _scan_reversed(folded, read.words, border)):
        return hit
    starts = near(kinds, ROT13, ROT13_ROOT)
    if len(starts):
        turned = rot13(folded)
        if hit := _scan_plain(turned, read_words(turned), border, "rot13"):
            return hit
        return scan_squeezed(rot13(letters), squeezed.at.tolist, turned, border, "rot13", starts)
    return None


def _scan_reversed(folded: str, forward: Words, border: int) -> Hit | None:
    """The whole text backwards, with and without separators; and each word backwards in its place."""
    size = len(folded)
    backward = folded[::-1]
    words = forward.each_backwards()
    read = class_letters(words)
    last_first = Letters(read.codes[::-1], read.free[::-1])
    if next(all_matches(words.last_first(), last_first), None) and (
        hit := _scan_plain(backward, read_words(backward), 0, "reversed", until=size - border)
    ):
        return hit
    if next(all_matches(words, read), None):
        by_word = WORD.sub(lambda found: found.group()[::-1], folded)
        if hit := _scan_plain(by_word, read_words(by_word), border, "reversed"):
            return hit
    letters, at = squeeze(backward)
    starts = near(kinds_of(letters), PLAIN, ROOT)
    if not len(starts):
        return None
    return scan_squeezed(letters, lambda: (size - 1 - at).tolist(), folded, border, "reversed", starts)


def _scan_plain(
    folded: str,
    read: Read,
    border: int,
    view: str,
    other: str | None = None,
    until: int | None = None,
    unread: str = "",
) -> Hit | None:
    """The grammar over the words as they stand.

    ``other``: a second spelling of the same text (leet), which ``read`` knows of; ``unread``: the text as it was.
    ``until``: for a reversed text, where the chunk ends in it.
    """
    words, letters = read
    found = itertools.chain(all_matches(words, letters), _by_sentence(folded, read))
    first = next(found, None)
    if first is not None:
        found = itertools.chain((first,), found)
    elif _ends_with_earlier(folded, words):  # "ignore all of the above." and then another sentence
        words, codes = _with_breaks(folded, words, letters.codes)
        found = (match for match in matches(words, codes) if match.rule == "drop all")
    for match in found:
        start, end = int(words.starts[match.start]), int(words.ends[match.stop - 1])
        if other is not None and folded[start:end] == other[start:end] == unread[start:end]:
            continue  # nothing was written in leet here
        if match.rule.startswith("free") and _in_two_sentences(folded[start:end], match.stop - match.start):
            continue
        if match.rule == "drop all" and words[match.stop - 1] in _EARLIER[:1] and _above_a_thing(folded, end):
            continue
        if match.rule.endswith("?") and folded[:start].rstrip(" \n\"'*#>([")[-1:] not in _ENDS:
            continue
        complete = start < until if until is not None else end > border or _completed(folded, read, match, border)
        if complete and not (view == "plain" and _mentioned(folded, start, end)):
            return hit_of(words, match, view)
    return None


def _by_sentence(folded: str, read: Read) -> Iterator[Match]:
    """Free-form overrides that one sentence makes, whatever those around it say."""
    acts = np.array(candidates(read.letters.free)[:MAX_CANDIDATES], dtype=np.int64)
    if not len(acts):
        return
    raw = bytes_of(folded)
    breaks = np.flatnonzero(_IS_BREAK[raw[:-1]] & _IS_SPACE[raw[1:]] & ((raw[:-1] != 10) | (raw[1:] == 10)))
    next_break = np.searchsorted(breaks, read.words.starts[acts])
    bounds = np.searchsorted(read.words.starts, np.concatenate(([0], breaks, [len(folded)])))
    for at, low, high in zip(acts.tolist(), bounds[next_break].tolist(), bounds[next_break + 1].tolist(), strict=True):
        low, high = max(low, at - _CONTEXT), min(high, at + _CONTEXT)
        if low > at - 12 or high < at + _CONTEXT:  # else the sentences around it had no say
            hit = judge_act(read.words[low:high], read.letters.free[low:high], at - low)
            if hit is not None:
                yield Match(hit[0] + low, hit[1] + low, hit[2])


def _completed(folded: str, read: Read, match: Match, border: int) -> bool:
    """Whether a phrase, though it ends before the border, is one only with what stands after it.

    A word that the border cuts stands there with its first part: "all that you were told bef".
    """
    before = int(np.searchsorted(read.words.ends, border, "right"))
    first = max(0, match.start - _CONTEXT)
    words, codes, free = read.words[first:before], read.letters.codes[first:before], read.letters.free[first:before]
    if before < len(read.words) and read.words.starts[before] < border:
        words.append(folded[read.words.starts[before] : border])
        cut = class_letters(words[-1:])
        codes, free = codes + cut.codes, free + cut.free
    seen = all_matches(words, Letters(codes, free))
    return all(first + one.stop <= match.start or first + one.start >= match.stop for one in seen)


def _ends_with_earlier(folded: str, words: Words) -> bool:
    """Whether a sentence or line ends in one of the words for "earlier"."""
    for word in _EARLIER:
        if word in folded:
            for at in places_of(words, word):
                end = int(words.ends[at])
                after = folded[end : end + 2]
                if after[:1] in _BREAKS or (after[:1] == " " and after[1:] in _BREAKS):
                    return True
    return False


def _with_breaks(folded: str, words: Words, codes: str) -> tuple[Words, str]:
    """The words with the signs that end a sentence or a line between them, of class "."."""
    breaks = np.flatnonzero(_IS_BREAK[bytes_of(folded)])
    if not folded.isascii():  # what is not Latin-1 reads as "?"
        breaks = breaks[[folded[at] in _BREAKS for at in breaks.tolist()]]
    starts, ends = np.concatenate((words.starts, breaks)), np.concatenate((words.ends, breaks + 1))
    order = np.argsort(starts, kind="stable")
    hashes = np.concatenate((words.hashes, np.zeros(len(breaks), dtype=np.uint64)))
    letters = np.frombuffer((codes + "." * len(breaks)).encode("ascii"), dtype=np.uint8)[order]
    return Words(folded, starts[order], ends[order], hashes[order]), letters.tobytes().decode("ascii")


def _read_leet(as_i: str, as_l: str) -> Read:
    """Two readings of the same words: the second counts where the first does not know a word."""
    words, one = read_words(as_i)
    other = one if as_i == as_l else read_words(as_l).letters
    if one is other or len(one.codes) != len(other.codes):
        return Read(words, one)
    pairs = [[np.frombuffer(x.encode("ascii"), dtype=np.uint8) for x in pair] for pair in zip(one, other, strict=True)]
    return Read(words, Letters(*(np.where(a != ord(UNKNOWN), a, b).tobytes().decode("ascii") for a, b in pairs)))


def _in_two_sentences(phrase: str, words: int) -> bool:
    """Whether a sentence ends inside; where one ends after every other word, that is an evasion."""
    breaks = len(_BREAK.findall(phrase))
    return 0 < 3 * breaks < words


def _above_a_thing(folded: str, end: int) -> bool:
    """Whether "everything above" goes on to a place: "… the top shelf"; not to a place in the text, nor to an order."""
    found = _ABOVE.match(folded, end)
    if found is None:
        return False
    named, then = WORD.findall(found.group(1)), WORD.findall(folded, found.end(), found.end() + 64)
    return not (_WRITTEN | NEUTRAL_NOUNS) & {*named} and not COMMANDS & {*named, *then}


def _mentioned(folded: str, start: int, end: int) -> bool:
    """Quoted in prose that talks about such phrases: the same sign opens just before and closes just after."""
    opens = {found.group(): found.end() for found in _OPENS.finditer(folded, max(0, start - 48), start + 1)}
    closes = {found.group() for found in _CLOSES.finditer(folded, end, end + 64)}
    if not any(sign in closes and not _closed(folded, sign, at, start) for sign, at in opens.items()):
        return False
    after = folded[end : end + 64]
    said = re.sub(r"[^a-z]+", " ", folded[max(0, start - 160) : start] + " . " + after)
    return _MENTIONS.search(said) is not None


def _closed(folded: str, sign: str, start: int, stop: int) -> bool:
    return any(found.group() == sign for found in _CLOSES.finditer(folded, start, stop))

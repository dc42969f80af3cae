"""Fake system tags: chat-template marks, and "[SYSTEM]" or "### Admin:" before words that command. Torch-free."""

import re

import numpy as np

from fastweights.guard.grammar import Hit
from fastweights.guard.lexicon import Read
from fastweights.guard.tokens import NEW_SENTENCE

_MAX_TAGS = 300
_TEMPLATE = re.compile(
    r"<\|(?:im_start|im_sep|start_header_id|start_of_turn)\|> {0,3}(?:system|developer)|<\|system\|>|<< ?sys ?>>"
    r"|<start_of_turn> ?system"
)
_ROLE = re.compile(  # a message of a chat in JSON, YAML or XML
    r"\brole[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:system|developer)[\"']?"
    r"(?:\s{0,2}>|\s{0,3},?\s{0,8}[\"']?content[\"']?\s{0,2}[:=]\s{0,2}[\"'|]?)"
)
_TAG_WORDS = ("sys", "developer", "admin", "root", "operator", "override")
_TAG_REACH = 160  # characters after a tag that are its message
_TAG_OPEN = re.compile(
    rf"(?:[\[<{{(#*=]|(?:^|\n|[.!?]) {{0,3}}{NEW_SENTENCE}?)[ /]{{0,2}}"
    r"(?:(?:begin|end|new|important|urgent|updated?) )?$"
)
_TAG_CLOSE = re.compile(
    r"(?:istrator)?(?:[ _-](?:prompt|message|override|instructions?|note|update|notice|mode|command|alert|directive))?"
    r" {0,2}(?:[\]>}):=]|\*\*|#)"
)


def find_tag(folded: str, read: Read, border: int) -> Hit | None:
    """Chat-template marks, and "[SYSTEM]"-like tags followed by words that command."""
    for found in _TEMPLATE.finditer(folded) if "<" in folded else ():
        if found.end() > border:
            return Hit(found.group().strip(), "plain", "fake system tag")
    for number, found in enumerate(_ROLE.finditer(folded) if "role" in folded else ()):
        if number >= _MAX_TAGS:
            return Hit(found.group().strip(), "plain", "too many to judge")
        codes, complete = _message(read, found.end(), border)
        if complete and any(letter in codes for letter in "vVGPDONns"):
            return Hit(folded[found.start() : found.end() + 60].strip(), "plain", "fake system tag")
    judged = 0
    for start, end in _tag_names(folded):
        close = _TAG_CLOSE.match(folded, end)
        if close is None or not _TAG_OPEN.search(folded[max(0, start - 20) : start]):
            continue
        judged += 1
        if judged > _MAX_TAGS:  # nobody writes so many by chance, and the rest would go unread
            return Hit(folded[start : close.end()].strip(), "plain", "too many to judge")
        codes, complete = _message(read, close.end(), border)
        if complete and _commands(codes):
            tag = folded[start : close.end()].strip()
            following = folded[close.end() : close.end() + _TAG_REACH]
            return Hit(f"{tag} {following.strip()[:60]}", "plain", "fake system tag")
    return None


def _message(read: Read, begin: int, border: int) -> tuple[str, bool]:
    """Class letters of the words after a tag, and whether they go beyond the border."""
    first = int(np.searchsorted(read.words.starts, begin))
    stop = int(np.searchsorted(read.words.ends, begin + _TAG_REACH, "right"))
    codes = read.letters.codes[first : min(stop, first + 14)]
    return codes, (int(read.words.ends[first + len(codes) - 1]) if codes else begin) > border


def _tag_names(folded: str) -> list[tuple[int, int]]:
    """Where each of the names that a tag may have stands."""
    places = []
    for name in _TAG_WORDS:
        at = folded.find(name)
        while at >= 0:
            end = at + len(name)
            places.append((at, end + 3 if name == "sys" and folded.startswith("tem", end) else end))
            at = folded.find(name, end)
    return sorted(places)


def _commands(codes: str) -> bool:
    """Whether the words after a tag tell the reader what to do."""
    weight = 1.0 * any(c in codes for c in "uy") + 1.0 * any(c in codes for c in "vGPO") + ("A" in codes)
    weight += 0.5 * (codes[:1] in ("v", "V", "h", "R", "n")) + 0.5 * sum(c in codes for c in "MRtchom")
    return weight >= 2

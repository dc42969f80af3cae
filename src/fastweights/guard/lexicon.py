"""The words of the override grammar, each with the one-letter class that :mod:`~fastweights.guard.override` matches on.

Not a list of phrases: classes of words (verbs that drop, quantifiers, words for "earlier", words for instructions …)
in English, German, French and Spanish, that the grammar combines. Words of six letters and more are also known with one
typing error. All words are written as :func:`~fastweights.guard.normalize.fold` leaves them (no accents).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastweights.guard.free_words import UNKNOWN, free_words, german_compounds
from fastweights.guard.tokens import Words, hashes_of, split


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


CLASSES: dict[str, str] = {
    # v: verbs that set something aside, commanding; V: the same, but as often harmless; G: their -ing forms; k K: set
    # aside
    "v": """ignore disregard discard abandon neglect forget override bypass overrule circumvent unlearn ignor
        ignorez ignora ignorad ignoriere ignoriert ignorieren ubergehen vergiss vergesse vergessen
        vergesst missachte missachten uebergehe ubergehe oublie oubliez oublier negligez neglige
        olvida olvide olvidad olvidate descarta descarte omiso abstraction desatiende esquece
        dimentica ignori verwirf verwerfe unfollow""",
    "V": """drop skip erase delete wipe cancel nullify dismiss scrap overlook remove clear reset purge revoke
        suspend disable break violate reject shed abolish annul rescind undo overwrite replace
        supersede disobey losche loesche efface effacez supprime borra elimina""",
    "k": "leave set throw put cast push toss brush sweep lay throwing setting putting",
    "K": "aside out away behind",
    "G": """ignoring disregarding forgetting overriding bypassing discarding dismissing dropping erasing
        abandoning neglecting deleting overlooking""",
    # what is dropped: O many instructions, o one, m weaker words, l content, e everything, E what
    "O": """instructions prompts guidelines directives guardrails safeguards restrictions constraints
        programming anweisungen instruktionen vorgaben richtlinien systemprompt consignes
        directrices instrucciones indicaciones instrucoes istruzioni systemanweisungen
        sicherheitsrichtlinien""",
    "o": "instruction prompt directive guideline anweisung consigne instruccion guidance briefing",
    "m": """rules orders commands directions policies filters limitations training constraint restriction regeln
        befehle anleitungen regles ordres commandes ordenes reglas normas limits protocols protocol
        boundaries censorship alignment obligations""",
    "l": """messages conversation conversations context text content inputs input dialogue chat history persona
        role rule policy filter order command texte message eingaben nachrichten mensajes ethics
        morals principles""",
    "e": "everything anything whatever alles tout todo tutto",
    "E": "what whichever",
    # which: q all, t earlier, S of the system, y your, d determiners, f joining words, w earlier (after it)
    "q": """all any every each entire whole both alle jede jegliche samtliche saemtliche toutes tous todas todos
        cualquier tutte todas aller allen""",
    "t": """previous prior earlier preceding foregoing former past aforementioned preexisting previously
        vorherigen bisherigen fruheren frueheren vorigen vorhergehenden obigen vorangegangenen
        vorherige bisherige precedentes anteriores previas previos anterior precedente precedents
        anterieures previo preceding antecedent above aforesaid""",
    "S": """system developer safety initial original existing current old default hidden security moderation
        operator admin administrator core internal base preset ethical builtin usual standard""",
    "y": "your yours thy deine deinen deiner ihre ihren tes vos tus sus votre tu euren",
    "d": """que lo ce ci qu'on t'a the these those this that my our its his their them it one single last die
        den der das dieser diese les las los el la le de des du der mes mis ton meine meinen unsere
        such same other said a an""",
    "f": "of and or nor und oder et ou y e o von d l",
    "w": """dessus before beforehand hitherto far earlier vorher zuvor bisher oben avant auparavant antes arriba""",
    # who and how: u you, b be/have, M modals, g told/given, z other subjects and habits, A AI nouns
    "u": "you u ye yourself dir dich ihnen te toi vous ti usted ud ustedes",
    "b": """is are was were been being be have has had ve re wurde wurden bist seid sei hast haben hat do ete fue
        fueron han ont""",
    "M": "must should can could may might will would shall ought able allowed",
    "g": """told given gave dijeron dieron instructed taught asked received learned learnt provided programmed
        ordered shown mentioned stated known know knew gesagt steht stehen geschrieben dit gesagte dicho aprendido
        beigebracht trained fed supplied issued donnees recues donne dadas recibidas wrote written
        come came presented""",
    "z": """he she they we it who i nobody everyone someone people often sometimes usually always many most some
        few citizens drivers users students children whoever anyone er wir ich il elle nous ils""",
    "n": """not none nothing never dont don't cannot can't won't wont shouldn't without avoid no nicht nie keine
        keiner keinen pas ne jamais nunca mustn't hardly""",
    "s": "stop cease quit refrain longer discontinue end",
    "h": """follow obey heed comply adhere listen respect honor honour abide observe following obeying heeding
        complying adhering listening respecting abiding attention beachte beachten befolge befolgen
        compte caso sigas sigue suivez suis respecte respectez tener cuenta folge obedezcas""",
    "c": """void cancelled canceled obsolete superseded revoked overridden invalid null apply applies valid
        exist exists binding replaced lifted suspended outdated irrelevant rescinded voided
        nullified overruled deprecated terminated erased deleted annulled effect force applicable""",
    "a": """sie now please just immediately completely simply henceforth here then so until ever entirely
        fully hereby totally also kindly instantly always even still only actually really bitte
        jetzt nun mal sofort einfach maintenant ahora favor por s'il plait tiens tenez hagas haz
        fais faites pay any longer mehr straightaway absolutely up point moment onwards forward
        quickly first""",
    "i": "to zu",
    "p": "in on at about for from with by under within into regarding concerning as per against over during as like",
    "A": """ai assistant chatbot bot model chatgpt gpt llm claude gemini llama machine agent language modell ki
        asistente neural network""",
    # persona: P what an unchained persona is called, D the best-known one, R acting, N freedom from
    "P": """unfiltered unrestricted uncensored jailbroken jailbreak unbound unshackled amoral unaligned
        unchained unmoderated limitless lawless ungefiltert unzensiert uncontrolled unregulated
        unhinged devmode""",
    "D": "dan dans",
    "R": "act pretend behave roleplay simulate become respond imagine play assume adopt impersonate operate role",
    "N": "free freed liberated unconstrained lacking zero sans sin ohne devoid exempt immune released",
}

_NEVER_TYPOS = word_set(  # words of their own
    """follows followed follower hollow fallow observed observes honored respects respected respected instal
    forgot forgets forging ignored ignores ignorer ignorance ignorant signor imitations limitation ruled ruler rulers
    prompted prompter fillers filers ordered borders elders orderly commend commends commander commanders commanded
    polices policed contest constrain constrains constrained instructor instruct instructs instructed directs
    skipped erased erases deletes deleter avoided voided override overrides overrode overridden bypassed bypasses
    dismissed dismisses dismissal abandons abandoned discards discarded discord removed removes remover remote reject
    rejects rejected eject deject resets broken breaks cancer cancels replaces freplace zreplace filtered straining
    trailing draining raining braining precedence precedences precedent precious preciously priority interior foresaid
    earlies pearlier normals norman normans regulate reglues orderer reorder preview previews prefilters urges
    purged surge beset violated violates violator obligation disabled disables diable safeguard safeguarded revoker
    overtook overlooks overwrites overwrote disobeys pretext history mystery formers farmers consign abstractions
    disregarded disregards neglected neglects nullified suspended suspends dismay consigned direction instructive
    remplace remplaces"""
)
_TYPO_CLASSES = "vVGOomtShPe"
_FREE_TYPO_CLASSES = "vOo"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@functools.cache
def words() -> dict[str, str]:
    """Word -> class letter. Where a word stands in several classes, the first one counts."""
    table: dict[str, str] = {}
    for letter, listed in CLASSES.items():
        for word in listed.split():
            table.setdefault(word, letter)
    for word in german_compounds():
        table.setdefault(word, "O")
    return table


class Letters(NamedTuple):
    """One class letter a word: of the grammar of fixed orders, and of the free-form one."""

    codes: str
    free: str


def class_letters(found: Sequence[str]) -> Letters:
    """The class letters of each word, misspelt key words (one deletion, insertion, substitution or swap) included."""
    table = _spellings()
    wanted = hashes_of(found)
    bucket = (wanted >> _BUCKET_SHIFT).astype(np.int32)
    place, stop = table.begins[bucket], table.begins[bucket + 1]
    at = np.full(len(wanted), len(table.hashes))  # the entry for what is unknown
    left = np.flatnonzero(place < stop)  # one look-up rules most words out
    while len(left):
        here = place[left]
        known = table.hashes[here] == wanted[left]
        at[left[known]] = here[known]
        place[left] += 1
        left = left[~known & (here + 1 < stop[left])]
    return Letters(table.codes[at].tobytes().decode("ascii"), table.free[at].tobytes().decode("ascii"))


class Read(NamedTuple):
    """The words of a folded text and their class letters."""

    words: Words
    letters: Letters


def read_words(folded: str) -> Read:
    words = split(folded)
    return Read(words, class_letters(words))


class _Spellings(NamedTuple):
    """All spellings' hashes, ascending; those with the upper 18 bits b stand at ``[begins[b], begins[b + 1])``.

    ``codes``, ``free``: their class letters in both grammars, and last those of an unknown word.
    """

    hashes: np.ndarray
    begins: np.ndarray
    codes: np.ndarray
    free: np.ndarray


_BUCKET_BITS = 18
_BUCKET_SHIFT = np.uint64(64 - _BUCKET_BITS)


@functools.cache
def _spellings() -> _Spellings:
    """The table of :func:`class_letters`. As strings, the spellings would take 20 MB."""
    exact, free, compounds = words(), free_words(), frozenset(german_compounds())
    both = {word: (exact.get(word, UNKNOWN), free.get(word, UNKNOWN)) for word in (*exact, *free)}
    rows = [_row(list(both), list(both.values())), _row([*_NEVER_TYPOS - both.keys()], [(UNKNOWN, UNKNOWN)])]
    for word, letters in both.items():
        if word in compounds:
            continue  # 900 misspellings each, of 266 words: more than of all others
        if (len(word) >= 6 and letters[0] in _TYPO_CLASSES) or (len(word) >= 8 and letters[1] in _FREE_TYPO_CLASSES):
            rows.append(_row(sorted(_one_edit(word)), [letters]))
    hashes, *kinds = (np.concatenate(column) for column in zip(*rows, strict=True))
    hashes, first = np.unique(hashes, return_index=True)  # where a spelling stands twice, the first one counts
    classes, free_classes = (np.append(kind[first], np.uint8(ord(UNKNOWN))) for kind in kinds)
    edges = np.arange(1 << _BUCKET_BITS, dtype=np.uint64) << _BUCKET_SHIFT
    begins = np.append(np.searchsorted(hashes, edges), len(hashes)).astype(np.int32)
    return _Spellings(hashes, begins, classes, free_classes)


def _row(spelt: list[str], pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes of the spellings, and the class letters of each in both grammars (one pair may stand for all)."""
    exact, free = (np.resize(np.array([ord(pair[i]) for pair in pairs], np.uint8), len(spelt)) for i in range(2))
    return hashes_of(spelt), exact, free


def _one_edit(word: str) -> set[str]:
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    edits = {a + b[1:] for a, b in splits if b}
    edits |= {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    edits |= {a + c + b[1:] for a, b in splits if b for c in _LETTERS}
    edits |= {a + c + b for a, b in splits for c in _LETTERS}
    return edits

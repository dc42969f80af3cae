"""Words of the free-form grammar (:mod:`~fastweights.guard.free_form`), one class letter each, in four languages.

Unlike the classes of :mod:`~fastweights.guard.lexicon` these say what part a word plays in setting rules aside: the
act, the rules, whose rules they are. A word that stands in several classes counts in the first.
"""

import functools

UNKNOWN = "x"

FREE_CLASSES: dict[str, str] = {
    # acts. v: to set aside; V: the same, as often harmless; j..J: verbs that do so with a particle
    "v": """ignore disregard discard abandon neglect forget bypass overrule circumvent unlearn disobey defy flout
        ditch ignoring disregarding forgetting overriding bypassing discarding dismissing abandoning neglecting
        unfollow renounce repudiate dismiss override jettison contravene disavow sidestep evade subvert
        ignoriere ignoriert ignorieren vergiss vergesst vergessen missachte missachten uebergehe ubergehe
        verwirf umgehe ignorez oublie oubliez oublier neglige negligez desobeis contourne ignora ignorad olvida
        olvide olvidad olvidate descarta desobedece desatiende break violate breaking violating breach rompe
        deviate depart stray diverge resist ignorer ignorar olvidar desobedecer desobeir umgehen""",
    "V": """drop skip erase delete wipe cancel nullify scrap remove clear reset purge revoke suspend
        disable reject shed abolish annul rescind undo overwrite relinquish lift void cut
        deactivate unload strip escape defeat dropping erasing deleting removing suspend
        flush losche loesche entferne streiche brich efface effacez supprime supprimez enfreins borra elimina
        desactiva desactive""",
    "j": """turn switch shake shrug get let do put set leave throw cast push toss brush lay walk setze leg lege wirf
        stelle laisse lass lasse lasst setz mets deja pon tune block shut move wave tear step laying throwing
        putting leaving setting give giving""",
    "J": """off out rid away go aside behind side loose down kraft beiseite ab ausser hinweg cote lado fuera up
        overboard""",
    # to follow, and to be held by: with a negation these are acts too
    "h": """follow obey comply adhere stick abide respect heed honor honour observe listen uphold conform defer
        submit following obeying heeding complying adhering listening respecting abiding sticking conforming
        attention caso bound constrained restricted confined governed beholden subject answerable shackled tied
        regard cling accountable controlled mind befolge befolgen beachte beachten halten halte gehorche
        gehorchen gebunden folgen folge unterliegst verpflichtet obeis obeir obeissez suis suivre suivez
        respecte respecter tenu soumis oblige lie tenez cuenta obedecer obedezcas obedece sigas seguir cumplir
        respetes sujeto obligado atado respetar caring care bother bothering worry worrying limited acting
        relying""",
    "n": """not no none never nothing without dont don't cannot can't won't shouldn't needn't avoid
        refuse refusing isn't aren't wasn't doesn't nobody neither nor nicht nie keine keiner keinen ohne
        niemals pas ne jamais plus aucune aucun sans nunca sin ningun ninguna ninguno zero lacking instead
        rather longer cease quit hardly stopped stop mustn't anymore devoid""",
    "N": """free freed release released releasing liberated liberate unbound exempt unshackled relieved absolved
        excused immune unchained untethered emancipated unleashed frei befreit libere liberes libre libres
        liberado entbunden discharged freeing loosed""",
    # c: no longer there; C: still there (with a negation: not)
    "c": """void cancelled canceled obsolete superseded revoked overridden invalid null replaced lifted suspended
        outdated irrelevant rescinded voided nullified overruled terminated erased deleted annulled mistake gone
        expired disabled deactivated removed inoperative waived dissolved wiped defunct moot meaningless
        withdrawn discarded unnecessary optional dropped worthless ungultig ungueltig aufgehoben hinfallig
        geloscht annulees caduques nulles revoquees nulas anuladas canceladas revocadas disregarded ignored
        forgotten neglected bypassed levees levee eliminadas eliminado suprimidas supprimees entfernt
        abgeschafft aufgehobene""",
    "C": """apply applies valid binding force effect count counts matter matters exist existed exists
        relevant gelten gilt gultig valables valable vigueur validas valida vigor vigentes aplican stand stands
        bind binds govern governs applicable operative constrain restrict
        s'appliquent important authority power sway""",
    "r": """supersede supersedes superseding overrides replaces replace overrules trump trumps outrank
        outranks precedence priority supplant supplants overwrites outweigh outweighs ersetzen ersetzt
        remplacent remplace reemplazan sustituyen sustituye reemplaza prevalecen priment""",
    # what is set aside. O: instructions; o: rules of any kind; m: weaker; l: texts; e E: everything, what
    "O": """instructions instruction prompts prompt directives directive guardrails guardrail safeguards
        programming anweisungen instruktionen vorgaben systemprompt consignes instrucciones instrucoes
        istruzioni indicaciones systemanweisungen sysprompt briefing metaprompt preprompt safeguard""",
    "o": """rules rule policies policy guidelines guideline restrictions restriction constraints constraint limits
        limit limitations regeln regel richtlinien beschrankungen einschrankungen directrices directives reglas
        regles normas restricciones restrictions limites consigne training conditioning censorship boundaries
        mandates mandate prohibitions obligations alignment protocols protocol persona ethics morals principles
        taboos training guidance terms rulebook rulebooks restriccion regla norma norme norm norms measures""",
    "m": "filters filter orders commands order command directions dictates befehle ordres ordenes filtres filtros",
    "l": "message messages text texts conversation context messaging input inputs",
    "e": "everything anything whatever alles tout todo all",
    "E": "what whichever que was ce lo",
    # whose rules. B: who made the assistant; S: words that make it the system's; A: the assistant
    "B": """developers developer creators creator makers maker openai anthropic google deepmind microsoft mistral
        xai vendor engineers programmers operators operator trainers designers designer admins owners provider
        programmer openai's anthropic's google's developer's creator's company company's system system's
        corporation manufacturer entwickler entwicklern betreiber ersteller hersteller schopfer entwicklers
        developpeurs createurs concepteurs systeme sistema creadores desarrolladores programadores programmeurs
        entwicklers betreibers herstellers anbieter anbieters makers' developers' creators'""",
    "S": """safety content security moderation initial original hidden default preset ethical builtin
        core usage own current existing internal secret usual model's model baked assistant's ai's""",
    "A": "ai assistant chatbot bot chatgpt gpt llm claude gemini llama agent ki asistente modele",
    "y": "your yours thy deine deinen deiner dein tes vos tus sus votre ton tu euren eure ihre ihren deines",
    "u": "you u du ye yourself dir dich te toi vous usted ud you're you've t'a yourselves tuvieras hattest",
    "q": "any every each entire whole both alle jede jegliche samtliche toutes tous todas todos aller allen toda",
    "t": """previous prior earlier preceding foregoing former past aforementioned previously above
        before beforehand vorherigen bisherigen fruheren frueheren vorigen obigen vorherige bisherige vorher
        oben obige vorangegangenen vorangegangene zuvor precedentes anteriores previas previos anterior antes
        hitherto old""",
    "g": """told given gave instructed taught asked received provided programmed ordered stated trained fed supplied
        issued set wrote written imposed placed put installed said says say told tells fixed defined laid
        established hardcoded drilled built dictated demands demanded forced hold made specify specified coded
        gesagt vorgegeben gegeben beigebracht dit donnees donne fixees imposees imposes dijeron dijo dieron
        dicho impuestas wants want want came enforced enforce had expects baked started began start handed
        bestowed assigned limited impusieron ensenaron""",
    # F: as if; R: ways to act; I: what the writer brings; X: only that
    "F": "as pretend imagine suppose assume opposite contrary als comme como gegenteil contraire contrario like",
    "R": """act answer respond behave operate reply function speak talk work respondes responde antworte
        reponds serve run""",
    "I": "my mine i i'm this these following follows new here neuen nouvelles nuevas below me meine mes mis",
    "b": """is bist are was were been being be have has ve re sind ist wurden hast haben sont est son han ont as
        been been ete sido""",
    "M": "must should can could may might will would shall need have required obliged",
    "z": "he she they we it who everyone someone people his her their our its er wir elle nous ils",
    "X": "only solely exclusively nur seulement uniquement solo solamente unicamente",
    "d": "the that those a an such same die den der das les las los el la le de des du l qu'on aux del dem einer",
    "f": "of and or und oder et ou y e o von d",
    "i": "to zu a",
    "p": "in on at about for from with by under within into regarding per over an par por con im upon onto into",
    "k": "if when whether unless wenn falls si cuando quand",
    "a": """now please just immediately completely simply henceforth then until ever entirely fully
        hereby totally also still really always mehr ya even jetzt sofort bitte maintenant ahora finally
        absolutely single set""",
}


_COMPOUND_OF = """system sicherheits verhaltens inhalts entwickler grund standard ausgangs anfangs ethik moderations
    start initial basis"""
_COMPOUNDS = """anweisung anweisungen vorgabe vorgaben regel regeln richtlinie richtlinien instruktion instruktionen
    einschrankung einschrankungen beschrankung beschrankungen befehl befehle prompt prompts filter"""


@functools.cache
def free_words() -> dict[str, str]:
    """Word -> class letter."""
    table: dict[str, str] = {}
    for letter, listed in FREE_CLASSES.items():
        for word in listed.split():
            table.setdefault(word, letter)
    for word in german_compounds():
        table.setdefault(word, "O")
    return table


def german_compounds() -> tuple[str, ...]:
    """What an assistant's rules are called in one German word: "sicherheitsrichtlinien", "systemanweisung"."""
    return tuple(first + last for first in _COMPOUND_OF.split() for last in _COMPOUNDS.split())

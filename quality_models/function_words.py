"""The words that carry English grammar, and no topic: kept as they are by the grammar view of a text.

Closed word classes (articles, pronouns, prepositions, conjunctions, auxiliaries, particles) and a few verbs and
adverbs so common that they work alike. A list, not a model: it takes part in every fluency score, so a change here
means training that model anew (its card pins the sha256 of this list).
"""

from __future__ import annotations

import hashlib

FUNCTION_WORDS = frozenset(
    """
    a an the this that these those each every either neither some any no all both half such what which whose
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves who whom one ones someone anyone everyone nobody nothing
    something anything everything none other others another
    of in to for with on at from by about as into like through after over between out against during without before
    under around among within along across behind beyond beside besides above below toward towards upon until till
    since per via than onto off up down near inside outside despite except
    and or but nor so yet if because although though while whereas unless whether when where why how once
    be am is are was were been being have has had having do does did doing done will would shall should can could may
    might must ought need dare let get got go goes went gone going make made take took come came see saw seen know
    knew known say said says think thought give given find found use used want seem seemed become became keep kept
    not n't never ever always often sometimes usually also only even just still already again too very more most less
    least much many few several enough quite rather almost perhaps maybe however therefore thus hence then now here
    there away back well please yes own same new first last next
    don't doesn't didn't isn't aren't wasn't weren't can't couldn't won't wouldn't shouldn't haven't hasn't hadn't
    i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'll we're we've we'd we'll
    they're they've they'd they'll that's there's what's who's let's here's
    """.split()  # noqa: SIM905 - a list of words reads best as words
)

FUNCTION_WORDS_SHA256 = hashlib.sha256(" ".join(sorted(FUNCTION_WORDS)).encode()).hexdigest()

"""English function words, for the stop-word signals.

The list is this project's own: the closed classes of English (articles, pronouns, determiners, prepositions,
conjunctions, auxiliaries) and the commonest adverbs, in the normalised form in which words are compared: lower case,
without apostrophes. RedPajama-v2 takes the larger ``stopwords-json`` list; fractions measured here run somewhat lower.
"""

from __future__ import annotations

GOPHER = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The eight words of which a document must hold two (Rae et al. 2021, arXiv 2112.11446, appendix A)."""

_LIST = """
a an the this that these those such same other another each every either neither both all any some no none
one ones few fewer many much more most less least several enough own
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself
she her hers herself it its itself they them their theirs themselves
who whom whose which what whoever whatever whichever someone somebody something anyone anybody anything
everyone everybody everything nobody nothing
about above across after against along alongside amid among amongst around as at before behind below beneath beside
besides between beyond but by concerning despite down during except for from in inside into like near of off on
onto out outside over past per regarding since than through throughout till to toward towards under underneath
unlike until unto up upon via versus with within without
and or nor so yet if unless although though because while whilst whereas whether lest
am is are was were be been being have has had having do does did doing done
can could may might must shall should will would ought need
cannot cant couldnt didnt doesnt dont hadnt hasnt havent isnt arent wasnt werent mustnt neednt shouldnt wont
wouldnt aint
im ive id ill youre youve youd youll hes hed hell shes shed theyre theyve theyd theyll were weve wed well
its itd itll thats thatll theres heres whats whos wheres lets
not never ever always often sometimes usually seldom rarely again already also almost anyway away back else
even first further furthermore hence here however indeed instead just last later maybe meanwhile moreover namely
nevertheless next now nowhere only otherwise perhaps quite rather really still soon then there thereafter thereby
therefore thus together too very somehow somewhat somewhere anywhere everywhere elsewhere
when whenever where whereas wherever whereby wherein why how
get gets got gotten getting go goes going gone went come comes came make makes made take takes took taken
say says said see seen saw use used uses using know known let seem seems seemed become becomes became
two three four five six seven eight nine ten second certain various
yes oh hi hello ok okay please thanks thank etc eg ie
"""

ENGLISH = frozenset(_LIST.split())

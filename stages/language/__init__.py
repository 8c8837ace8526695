"""Which language a text is in: the script alone where it says enough, cld2 or fastText where it does not."""

from __future__ import annotations

from stages.language.identified import NOTHING, PREFIX, UNKNOWN, Identified, Identifier
from stages.language.identifiers import (
    Engine,
    identify,
    identify_cld2,
    identify_combined,
    open_identifier,
    unwanted_early,
)
from stages.language.stage import NOT_WANTED, UNRELIABLE, Language

__all__ = [
    "NOTHING",
    "NOT_WANTED",
    "PREFIX",
    "UNKNOWN",
    "UNRELIABLE",
    "Engine",
    "Identified",
    "Identifier",
    "Language",
    "identify",
    "identify_cld2",
    "identify_combined",
    "open_identifier",
    "unwanted_early",
]

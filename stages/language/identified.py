"""What an identifier says of a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PREFIX = 1000
"""Characters of a text that are looked at."""
UNKNOWN = "un"


@dataclass(frozen=True, slots=True)
class Identified:
    """The languages of a text, most first, with their share of it (0..1), and whether to trust that.

    ``score`` is the identifier's own number for the first one: cld2's normalised score, fastText's probability, the
    share of the letters where the script decided.
    """

    languages: tuple[tuple[str, float], ...]
    score: float
    reliable: bool

    @property
    def language(self) -> str:
        """ISO 639 code of the main language, ``un`` where none was found."""
        return self.languages[0][0] if self.languages else UNKNOWN

    def share_of(self, wanted: tuple[str, ...]) -> float:
        """Share of the text in any of the languages ``wanted``; ``zh`` covers ``zh-Hant`` too."""
        return sum(share for code, share in self.languages if code in wanted or code.split("-")[0] in wanted)


Identifier = Callable[[str], Identified]
NOTHING = Identified((), 0.0, False)

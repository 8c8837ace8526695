"""Word banks: text files with sections of phrases, and the small grammar that turns them into sentences.

A bank file holds ``[section]`` headings with one phrase per line. A phrase may name other sections in braces:
``{agent} {act}, although {claim}.`` A ``Voice`` speaks from one or more banks: it deals the phrases of each section
like cards, so that within one document nothing comes twice before everything came once. That keeps the repetition of
n-grams inside a document, and the overlap between documents, at the level of real prose.

All phrases are this project's own writing. Files are read once per process.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Mapping
from importlib import resources

Phrase = tuple[str, ...]
"""Literal, slot, literal, slot ... literal: the odd places name sections."""

Bank = Mapping[str, tuple[Phrase, ...]]

_NUMBERS = {"n": (120, 1999), "y": (1890, 2023)}
"""Sections that are numbers: an amount, a year."""

_SLOT = re.compile(r"\{(\w+)\}")


def read_text(name: str) -> str:
    """A data file of this package, by its path below the package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def seeded(*parts: object) -> random.Random:
    """A generator of its own for each name: what one page draws never moves what another one gets."""
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - reproducible text, no secrets


@functools.cache
def load_bank(name: str) -> Bank:
    """The bank ``banks/<name>.txt``."""
    sections: dict[str, list[Phrase]] = {}
    current: list[Phrase] = []
    for line in read_text(f"banks/{name}.txt").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line[1:-1], [])
        elif line and not line.startswith("#"):
            current.append(tuple(_SLOT.split(line)))
    return {section: tuple(phrases) for section, phrases in sections.items()}


class Voice:
    """A stream of phrases from banks, without repetition until a section is used up. Later banks win."""

    def __init__(self, rng: random.Random, *names: str) -> None:
        self.rng = rng
        self._sections = {key: phrases for name in names for key, phrases in load_bank(name).items()}
        self._decks: dict[str, list[Phrase]] = {}
        self._rounds: dict[str, int] = {}
        self._pinned: dict[str, str] = {}

    def pin(self, section: str) -> str:
        """Draw a phrase and say the same one whenever ``section`` comes up again: a product, a company."""
        self._pinned[section] = text = self.phrase(section)
        return text

    def fresh(self, section: str) -> bool:
        """Whether ``section`` still has phrases that this voice has not spoken."""
        return bool(self._decks.get(section)) or section not in self._rounds

    def phrase(self, section: str) -> str:
        """The next phrase of ``section``, its slots filled."""
        if section in _NUMBERS:
            return str(self.rng.randrange(*_NUMBERS[section]))
        if section in self._pinned:
            return self._pinned[section]
        deck = self._decks.get(section)
        if not deck:
            deck = list(self._sections[section])
            self.rng.shuffle(deck)
            self._decks[section] = deck
            self._rounds[section] = self._rounds.get(section, 0) + 1
        parts = deck.pop()
        if len(parts) == 1:
            return parts[0]
        return "".join(self.phrase(part) if at % 2 else part for at, part in enumerate(parts))

    def sentence(self, section: str) -> str:
        """The next phrase of ``section`` with a capital letter in front."""
        text = self.phrase(section)
        return text[:1].upper() + text[1:]

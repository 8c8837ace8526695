"""Self-written phrases with slots (``phrases.yaml``), filled at random: weak examples where no labels exist.

``{slot}`` takes an entry of ``slots``; ``{n}``, ``{price}``, ``{percent}``, ``{year}``, ``{phone}`` take numbers.
Phrases are divided into parts by hash, so that a model is measured on phrases it has never seen.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from quality_models.examples.parts import Part, part_of

_FILE: Final = Path(__file__).with_name("phrases.yaml")
_SLOT: Final = re.compile(r"\{(\w+)\}")


@cache
def _content() -> dict[str, Any]:
    from ruamel.yaml import YAML

    content: dict[str, Any] = YAML(typ="safe", pure=True).load(_FILE)
    return content


def phrases(group: str, part: Part) -> list[str]:
    """The phrases of a group that belong to ``part``."""
    return [phrase for phrase in _content()["groups"][group] if part_of(phrase) == part]


def slot(name: str) -> list[str]:
    """All entries of a slot."""
    return [str(entry) for entry in _content()["slots"][name]]


def with_terms(text: str, part: Part, rng: random.Random) -> str:
    """A text with terms for groups of people among its words, of those in ``part``: up to three, or one three times."""
    terms = [term for term in (*slot("group_term"), *slot("group_name")) if part_of(term) == part]
    words = text.split(" ")
    chosen = rng.choices(terms, k=rng.randint(1, 3)) if rng.random() < 0.5 else [rng.choice(terms)] * 3
    for term in chosen:
        words.insert(rng.randrange(len(words) + 1), term)
    return " ".join(words)


def fill(phrase: str, rng: random.Random, *, terms: list[str] | None = None) -> str:
    """Replace the slots of a phrase; ``{term}`` is drawn from ``terms``. The first letter becomes a capital."""

    def entry(match: re.Match[str]) -> str:
        name = match[1]
        if name == "term" and terms:
            return rng.choice(terms)
        if name in _NUMBERS:
            return _NUMBERS[name].format(rng.randint(1, 99), rng.randint(100, 999), rng.choice([99, 95, 0, 50]))
        return rng.choice(slot(name))

    text = _SLOT.sub(entry, phrase)
    return text[:1].upper() + text[1:]


_NUMBERS: Final = {
    "n": "{0}",
    "price": "${0}.{2:02d}",
    "percent": "{0}%",
    "year": "20{1}",
    "phone": "0800 {1} {1}",
    "many": "{0},{1}",
}

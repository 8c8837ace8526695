"""English prose in several registers, and sentences in sixteen other languages.

A text is a list of paragraphs. English texts mix general sentences (``banks/generic.txt``) with those of one subject
(``banks/<topic>.txt``), in proportions that depend on the register. They are grammatical, varied and empty of meaning:
enough for heuristics, language identifiers and classifiers to behave as they do on real pages, no use as knowledge.
Two texts of the same subject share under a fifth of their word 5-grams (tested).
"""

from __future__ import annotations

import random

from .banks import Voice

TOPICS = (
    "history",
    "science",
    "cooking",
    "travel",
    "sport",
    "technology",
    "health",
    "finance",
    "law",
    "gardening",
    "craft",
    "nature",
)

LANGUAGES = (
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "pl",
    "cs",
    "sv",
    "tr",
    "ru",
    "ar",
    "zh",
    "zh-Hant",
    "ja",
    "el",
)

REGISTERS: dict[str, tuple[tuple[str, float], ...]] = {
    "news": (("body", 0.78), ("detail", 0.22)),
    "encyclopedia": (("body", 0.65), ("detail", 0.35)),
    "blog": (("blog", 0.35), ("body", 0.35), ("detail", 0.15), ("howto", 0.15)),
    "guide": (("howto", 0.45), ("body", 0.3), ("detail", 0.25)),
    "question": (("ask", 0.7), ("blog", 0.3)),
    "answer": (("reply", 0.7), ("detail", 0.15), ("body", 0.15)),
}
"""Register to the sections its sentences come from, with their shares."""

_GAPS = {"zh": "", "zh-Hant": "", "ja": ""}


def english_voice(rng: random.Random, topic: str) -> Voice:
    """A voice on one of ``TOPICS``."""
    return Voice(rng, "generic", topic)


def sentences(voice: Voice, register: str, count: int) -> list[str]:
    """``count`` sentences of a register; subject matter gives way to general sentences when it is used up."""
    sections = REGISTERS[register]
    names = [name for name, _ in sections]
    weights = [share for _, share in sections]
    chosen = voice.rng.choices(names, weights, k=count)
    return [voice.sentence(name if voice.fresh(name) else "body") for name in chosen]


def paragraphs(voice: Voice, register: str, words: int, *, frame: bool = True) -> list[str]:
    """About ``words`` words in paragraphs of two to six sentences; ``frame`` adds an opening and a closing sentence."""
    made: list[str] = []
    total = 0
    while total < words:
        lines = sentences(voice, register, voice.rng.randrange(2, 7))
        if frame and not made:
            lines.insert(0, voice.sentence("opener"))
        made.append(" ".join(lines))
        total += made[-1].count(" ") + 1
    if frame:
        made[-1] += " " + voice.sentence("closer")
    return made


def title(voice: Voice) -> str:
    """A headline."""
    return voice.sentence("title")


def foreign_paragraphs(rng: random.Random, language: str, count: int) -> list[str]:
    """``count`` paragraphs in one of ``LANGUAGES``."""
    voice = Voice(rng, f"languages/{language}")
    gap = _GAPS.get(language, " ")
    return [gap.join(voice.sentence("sentence") for _ in range(rng.randrange(3, 6))) for _ in range(count)]


def foreign_title(rng: random.Random, language: str) -> str:
    """A headline: something and a place."""
    voice = Voice(rng, f"languages/{language}")
    gap = _GAPS.get(language, " ")
    text = voice.phrase("obj") + gap + voice.phrase("where")
    return text[:1].upper() + text[1:]

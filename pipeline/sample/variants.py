"""Near duplicates: an article edited until its word 5-grams overlap with the original's by a given measure.

The edits are those of editors: a sentence taken out, one put in, a word or a number changed. Similarity is the exact
Jaccard coefficient of the sets of 5-token shingles, tokens being ``\\w+`` of the lower-cased article text: what a
pipeline measures on extracted text differs slightly, by titles and captions.
"""

from __future__ import annotations

import random
import re

from .banks import Voice

LEVELS = (0.95, 0.85, 0.75, 0.6, 0.4)
"""Targets. At a threshold of 0.7 the first two should merge, the last two must not; 0.75 lies where LSH may miss it."""

_TOKEN = re.compile(r"\w+")


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """The set of ``size``-token shingles of a text."""
    tokens = _TOKEN.findall(text.lower())
    return {tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)}


def jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    """Size of the intersection over size of the union; 0 for two empty sets."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def edit_to(voice: Voice, lines: list[str], target: float) -> tuple[list[str], float]:
    """Edit paragraphs until their similarity to the original falls to ``target``; returns them and the true value.

    The result lies below the target by no more than one edit (under 0.02 for texts of 250 words or more).
    """
    rng = voice.rng
    original = shingles("\n".join(lines))
    made = [line.split(". ") for line in lines]
    reached = 1.0
    while reached > target:
        coarse = reached - target > 0.12
        _edit(rng, voice, made, coarse=coarse)
        reached = jaccard(original, shingles("\n".join(". ".join(parts) for parts in made)))
    return [". ".join(parts) for parts in made], reached


def _edit(rng: random.Random, voice: Voice, made: list[list[str]], *, coarse: bool) -> None:
    parts = made[rng.randrange(len(made))]
    at = rng.randrange(len(parts))
    if not coarse:
        words = parts[at].split(" ")
        place = rng.randrange(len(words))
        words[place] = rng.choice(
            ("some", "nearly", "once", "often", "later", voice.phrase("year"), voice.phrase("number"))
        )
        parts[at] = " ".join(words)
        return
    fresh = voice.sentence("body").rstrip(".")
    if rng.random() < 0.3 and len(parts) > 2:
        del parts[rng.randrange(len(parts) - 1)]
    elif rng.random() < 0.5:
        parts.insert(rng.randrange(len(parts)), fresh)
    elif at < len(parts) - 1:
        parts[at] = fresh

"""Does a name alone make a text suspect? Terms for groups of people, put into clean documents.

Classifiers of offensive language learn from what people attack, and then take the attacked for the attack (Dixon et
al. 2018, "Measuring and mitigating unintended bias in text classification"). So every term of ``phrases.yaml``, also
those that never occur in training, is put three times into each clean document, and the scores are compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quality_models.card import GroupAudit
from quality_models.examples.phrases import slot
from stages.stage import Scorer

TIMES: Final = 3
LEAST: Final = 300  # characters: in a shorter text three terms are a good part of the words
CHARACTERS: Final = 3000  # of a document: what the windows of a scorer see


def audit_groups(scorer: Scorer, documents: Sequence[str], *, threshold: float, worse_is_higher: bool) -> GroupAudit:
    """Put each term into each of the documents that lie on the good side of ``threshold``."""
    rng = random.Random(20240229)  # noqa: S311 - no secret
    texts = [text[:CHARACTERS] for text in documents if len(text) >= LEAST]
    before = _badness(scorer, texts, worse_is_higher=worse_is_higher)
    bound = threshold if worse_is_higher else 1 - threshold
    clean = [text for text, score in zip(texts, before, strict=True) if score <= bound]
    base = before[before <= bound]
    terms = sorted({*slot("group_name"), *slot("group_term")})
    shifts, crossed = [], 0
    for term in terms:
        after = _badness(scorer, [with_term(text, term, rng) for text in clean], worse_is_higher=worse_is_higher)
        shifts.append(after - base)
        crossed += int((after > bound).sum())
    moved = np.concatenate(shifts)
    return GroupAudit(
        terms=len(terms),
        documents=len(clean),
        largest_shift=round(float(moved.max()), 4),
        mean_shift=round(float(moved.mean()), 4),
        crossed=crossed,
    )


def with_term(text: str, term: str, rng: random.Random) -> str:
    """``text`` with ``term`` between some of its words, ``TIMES`` times."""
    words = text.split(" ")
    for _ in range(TIMES):
        words.insert(rng.randrange(len(words) + 1), term)
    return " ".join(words)


def _badness(scorer: Scorer, texts: Sequence[str], *, worse_is_higher: bool) -> NDArray[np.float64]:
    scores = scorer.score(texts).astype(np.float64)
    return scores if worse_is_higher else 1 - scores

"""Queries without a language model: key phrases of the passages that a query finds (pseudo-relevance feedback).

The best passages for a query are taken as relevant, as in RM3 (Abdul-Jaleel et al., TREC 2004); phrases of one to three
words that several of them share, and that are rare in the corpus, become queries, each with the word of the seed that
says most, so that they stay with the subject. It finds what seeds and corpus have in common and no more: it asks
nothing that the corpus does not already say. The output names it ``keyphrases@1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from corpus.settings import Settings
from retrieval.lexical import Statistics, idf
from retrieval.queries import Query
from retrieval.terms import NO_TERM, Stemming, find_terms

ORIGIN: Final = "keyphrases@1"
_WORD: Final = re.compile(r"[^\W\d_][\w\u2019'-]*")
_BREAK: Final = re.compile(r"[^\w\s\u2019'-]|\n")
LONGEST: Final = 3  # words of a phrase
_PER_PASSAGE: Final = 3  # how often a phrase counts in one passage


class Keyphrases(Settings):
    """Expand queries by key phrases of the passages that they find. Needs no model."""

    kind: Literal["keyphrases"] = "keyphrases"
    passages: int = Field(default=5, ge=2, le=100)
    """Passages of a query that are taken as relevant."""
    phrases: int = Field(default=5, ge=1, le=100)
    """Queries made from one."""
    shared_by: int = Field(default=2, ge=1)
    """Passages that must hold a phrase."""


class Feedback(NamedTuple):
    """What a query found: passages, best first, with their scores."""

    query: Query
    passages: tuple[str, ...]
    scores: tuple[float, ...]


class _Phrase(NamedTuple):
    words: tuple[str, ...]
    terms: tuple[int, ...]


def expand(
    feedback: Sequence[Feedback], config: Keyphrases, statistics: Statistics, stemming: Stemming, round_number: int
) -> list[Query]:
    """Key-phrase queries for each query, best phrases first."""
    drafts: list[Query] = []
    for found in feedback:
        anchor = _anchor(found.query.text, statistics, stemming)
        for text in key_phrases(found, config, statistics, stemming):
            words = text if anchor is None or anchor.lower() in text.lower().split() else f"{anchor} {text}"
            query = found.query
            drafts.append(
                Query("", words, "keyphrase", round_number, query.domain, query.id, query.seed, origin=ORIGIN)
            )
    return drafts


def key_phrases(found: Feedback, config: Keyphrases, statistics: Statistics, stemming: Stemming) -> list[str]:
    """The phrases that best tell these passages from the corpus; none that the query holds already."""
    if not found.passages:
        return []
    words = sorted({word for text in (found.query.text, *found.passages) for word in _WORD.findall(text)})
    weight = _weights(words, statistics, stemming)
    asked = {weight[word][0] for word in _WORD.findall(found.query.text)}
    scores: dict[tuple[int, ...], float] = {}
    holders: dict[tuple[int, ...], set[int]] = {}
    shown: dict[tuple[int, ...], str] = {}
    best = max(found.scores) or 1.0
    for number, (text, score) in enumerate(zip(found.passages, found.scores, strict=True)):
        counts: dict[tuple[int, ...], int] = {}
        for phrase in _candidates(text, weight):
            if set(phrase.terms) <= asked:
                continue
            counts[phrase.terms] = counts.get(phrase.terms, 0) + 1
            shown.setdefault(phrase.terms, " ".join(phrase.words))
            holders.setdefault(phrase.terms, set()).add(number)
        for terms, count in counts.items():
            scores[terms] = scores.get(terms, 0.0) + min(count, _PER_PASSAGE) * score / best
    rarity = dict(weight.values())
    ranked = sorted(
        (-value * sum(rarity[term] for term in terms) / len(terms) ** 0.5, shown[terms], terms)
        for terms, value in scores.items()
        if len(holders[terms]) >= min(config.shared_by, len(found.passages))
    )
    chosen: list[tuple[int, ...]] = []
    for _, _, terms in ranked:
        if len(chosen) < config.phrases and not any(set(terms) & set(other) for other in chosen):
            chosen.append(terms)
    return [shown[terms] for terms in chosen]


def _candidates(text: str, weight: dict[str, tuple[int, float]]) -> Iterator[_Phrase]:
    """Phrases of up to three words between punctuation that neither begin nor end with a function word."""
    for piece in _BREAK.split(text):
        words = _WORD.findall(piece)
        for start, word in enumerate(words):
            if not weight[word][0]:
                continue
            for size in range(1, min(LONGEST, len(words) - start) + 1):
                run = words[start : start + size]
                if weight[run[-1]][0] and (size > 1 or len(word) > 3):
                    yield _Phrase(tuple(run), tuple(weight[each][0] for each in run if weight[each][0]))


def _weights(words: list[str], statistics: Statistics, stemming: Stemming) -> dict[str, tuple[int, float]]:
    """Word -> its term (0 for function words) and how rare that is."""
    hashes = _first_terms(words, stemming)
    values = idf(statistics, hashes)
    return {
        word: (int(term), float(value) if term else 0.0)
        for word, term, value in zip(words, hashes.tolist(), values.tolist(), strict=True)
    }


def _first_terms(words: list[str], stemming: Stemming) -> NDArray[np.uint64]:
    found = find_terms(pa.array(words, pa.large_string()), stemming)
    first = np.minimum(found.starts[:-1], max(len(found.hashes) - 1, 0))
    some = np.diff(found.starts) > 0
    return np.where(some, found.hashes[first], NO_TERM) if len(found.hashes) else np.zeros(len(words), np.uint64)


def _anchor(text: str, statistics: Statistics, stemming: Stemming) -> str | None:
    """The word of a query that says most: the rarest one that the corpus knows."""
    words = list(dict.fromkeys(_WORD.findall(text)))
    hashes = _first_terms(words, stemming)
    known = np.isin(hashes, statistics.terms) & (hashes != NO_TERM)
    if not known.any():
        return None
    best = int(np.where(known, idf(statistics, hashes), -1.0).argmax())
    return str(words[best])

"""Queries without a language model: key phrases of the passages that a query finds (pseudo-relevance feedback).

The best passages for a query are taken as relevant, as in RM3 (Abdul-Jaleel et al., TREC 2004); phrases of one to three
words that several of them share, and that are rare in the corpus, become queries, each with the word of the seed that
says most, so that they stay with the subject. It finds what seeds and corpus have in common and no more: it asks
nothing that the corpus does not already say. The output names it ``keyphrases@1``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from corpus.settings import Settings
from retrieval.lexical import Statistics, idf
from retrieval.queries import Query
from retrieval.terms import Stemming, find_terms

ORIGIN: Final = "keyphrases@1"
_WORD: Final = re.compile(r"[^\W\d_][\w\u2019'-]*")
_BREAK: Final = re.compile(r"[^\w\s\u2019'-]|\n")
LONGEST: Final = 3  # words of a phrase
_SENTENCE: Final = re.compile(r"[.!?](?=\s)|\n")
_ANCHORS: Final = 2  # words of a query that go with each phrase
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
    min_coverage: float = Field(default=0.4, ge=0, le=1)
    """Share of a query's weight (idf) that a passage must hold to be taken as relevant."""


class Feedback(NamedTuple):
    """What a query found: passages, best first, with their scores."""

    query: Query
    passages: tuple[str, ...]
    scores: tuple[float, ...]


class _Phrase(NamedTuple):
    words: tuple[str, ...]
    terms: tuple[int, ...]


class _Tally:
    """What is known of the phrases around one query."""

    def __init__(self) -> None:
        self.score: dict[tuple[int, ...], float] = {}
        self.holders: dict[tuple[int, ...], set[int]] = {}
        self.shown: dict[tuple[int, ...], str] = {}


def expand(
    feedback: Sequence[Feedback], config: Keyphrases, statistics: Statistics, stemming: Stemming, round_number: int
) -> list[Query]:
    """Key-phrase queries for each query, best phrases first.

    A phrase that queries of other domains come upon too says less about any: it counts by the share of the domain.
    Likewise a word that many queries ask with ("which of the following") says less about each.
    """
    every = [_weights(found, statistics, stemming) for found in feedback]
    said = Counter(term for found, weights in zip(feedback, every, strict=True) for term in _asked(found, weights))
    share = {term: math.log1p(len(feedback) / count) / math.log1p(len(feedback)) for term, count in said.items()}
    tallies = [_count(found, config, weights, share) for found, weights in zip(feedback, every, strict=True)]
    domains: dict[tuple[int, ...], Counter[str]] = {}
    for found, tally in zip(feedback, tallies, strict=True):
        for terms in tally.score:
            domains.setdefault(terms, Counter())[found.query.domain] += 1
    drafts: list[Query] = []
    for found, tally, weights in zip(feedback, tallies, every, strict=True):
        query = found.query
        own = {terms: domains[terms][query.domain] / domains[terms].total() for terms in tally.score}
        anchors = _anchors(found, weights, share)
        for phrase in _best(tally, own, weights, config):
            words = phrase.lower().split()
            text = " ".join([*(anchor for anchor in anchors if anchor.lower() not in words), phrase])
            drafts.append(Query("", text, "keyphrase", round_number, query.domain, query.id, query.seed, ORIGIN))
    return drafts


Weights = dict[str, tuple[int, float]]
"""Word -> its term (0 for function words), and how rare that is in the corpus (idf)."""


def _asked(found: Feedback, weights: Weights) -> dict[int, str]:
    """The terms of a query, each with a word that stands for it."""
    return {weights[word][0]: word for word in _WORD.findall(found.query.text) if weights[word][0]}


def _count(found: Feedback, config: Keyphrases, weights: Weights, share: Mapping[int, float]) -> _Tally:
    """Phrases that stand in one sentence with a word of the query, in passages that hold most of the query."""
    asked = {term: weights[word][1] * share[term] for term, word in _asked(found, weights).items()}
    whole = sum(asked.values())
    tally = _Tally()
    best = max(found.scores, default=0.0) or 1.0
    for number, (text, score) in enumerate(zip(found.passages, found.scores, strict=True)):
        held = {weights[word][0] for word in _WORD.findall(text)}
        if sum(weight for term, weight in asked.items() if term in held) < config.min_coverage * whole:
            continue
        counts: Counter[tuple[int, ...]] = Counter()
        for sentence in _SENTENCE.split(text):
            if not any(weights[word][0] in asked for word in _WORD.findall(sentence)):
                continue
            for phrase in _candidates(sentence, weights):
                if not set(phrase.terms) <= asked.keys():
                    counts[phrase.terms] += 1
                    tally.shown.setdefault(phrase.terms, " ".join(phrase.words))
        for terms, count in counts.items():
            tally.holders.setdefault(terms, set()).add(number)
            tally.score[terms] = tally.score.get(terms, 0.0) + min(count, _PER_PASSAGE) * score / best
    return tally


def _best(tally: _Tally, own: dict[tuple[int, ...], float], weights: Weights, config: Keyphrases) -> list[str]:
    """The phrases that best tell these passages from the corpus, no two with a word in common."""
    rarity = dict(weights.values())
    ranked = sorted(
        (-value * own[terms] ** 2 * sum(rarity[term] for term in terms) / len(terms) ** 0.5, tally.shown[terms], terms)
        for terms, value in tally.score.items()
        if len(tally.holders[terms]) >= config.shared_by
    )
    chosen: list[tuple[int, ...]] = []
    for _, _, terms in ranked:
        if len(chosen) < config.phrases and not any(set(terms) & set(other) for other in chosen):
            chosen.append(terms)
    return [tally.shown[terms] for terms in chosen]


def _anchors(found: Feedback, weights: Weights, share: Mapping[int, float]) -> list[str]:
    """The words of a query that keep to its subject: rare ones that most of what it finds holds, in their order."""
    held = [{weights[word][0] for word in _WORD.findall(text)} for text in found.passages]
    words = _asked(found, weights)
    value = {
        term: weights[word][1] * share[term] * sum(term in passage for passage in held) for term, word in words.items()
    }
    best = sorted((term for term in value if value[term] > 0), key=lambda term: (-value[term], words[term]))[:_ANCHORS]
    return [word for term, word in words.items() if term in best]


def _candidates(text: str, weights: Weights) -> Iterator[_Phrase]:
    """Phrases of up to three words between punctuation that neither begin nor end with a function word."""
    for piece in _BREAK.split(text):
        words = _WORD.findall(piece)
        for start, word in enumerate(words):
            if not weights[word][0]:
                continue
            for size in range(1, min(LONGEST, len(words) - start) + 1):
                run = words[start : start + size]
                if weights[run[-1]][0] and (size > 1 or len(word) > 3):
                    yield _Phrase(tuple(run), tuple(weights[each][0] for each in run if weights[each][0]))


def _weights(found: Feedback, statistics: Statistics, stemming: Stemming) -> Weights:
    words = sorted({word for text in (found.query.text, *found.passages) for word in _WORD.findall(text)})
    hashes = _first_terms(words, stemming)
    values = idf(statistics, hashes)
    return {
        word: (int(term), float(value) if term else 0.0)
        for word, term, value in zip(words, hashes.tolist(), values.tolist(), strict=True)
    }


def _first_terms(words: list[str], stemming: Stemming) -> NDArray[np.uint64]:
    """The first term of each word, 0 for function words."""
    found = find_terms(pa.array(words, pa.large_string()), stemming)
    terms = np.append(found.vocabulary, np.uint64(0))  # -1 is the last
    numbers = np.append(found.numbers, np.int32(-1))
    first: NDArray[np.uint64] = terms[np.where(np.diff(found.starts) > 0, numbers[found.starts[:-1]], -1)]
    return first

"""BM25 over the passages of one shard, with the statistics of the whole corpus.

Scores are computed when the index is built ("eager" scoring, BM25S, arXiv 2407.03618), in the variant of Lucene:

    score(t, d) = ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

``N``, ``df`` and the mean length are those of the corpus, not of the shard, so scores of different shards compare and a
document has the same score however the corpus was cut. bm25s adds up the scores of a query; its own index is not used
because it takes statistics from what it is given and keeps its vocabulary as a dictionary in memory.

A shard is arrays that are mapped into memory, not read: ``terms`` (sorted hashes), ``indptr`` (postings of term i are
``indptr[i]:indptr[i + 1]``), ``postings`` (passages), ``scores`` beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from corpus.settings import Settings
from retrieval.passages import Cut
from retrieval.terms import Stemming, Terms

TERMS_AT_ONCE: Final = 50_000_000
_OVERFETCH: Final = 4  # passages asked for per document wanted, at most


class Bm25(Settings):
    """The lexical index. Our choice of k1 and b: the usual ones; the method's paper gives none."""

    k1: float = Field(default=1.2, ge=0)
    """How fast repeated words stop to count."""
    b: float = Field(default=0.75, ge=0, le=1)
    """How much long passages are held against them."""
    stemming: Stemming = "english"
    """Snowball stemmer for all words; `none` for corpora of many languages."""


class Postings(NamedTuple):
    """Which passages hold each term, and how often; ``lengths`` in terms by passage."""

    terms: NDArray[np.uint64]
    indptr: NDArray[np.int64]
    postings: NDArray[np.int32]
    counts: NDArray[np.int32]
    lengths: NDArray[np.int32]


class Lengths(NamedTuple):
    """Passages, and terms in them."""

    passages: int
    terms: int


class Found(NamedTuple):
    """Documents of a shard, best first: number in the shard, best passage, score."""

    documents: NDArray[np.int64]
    passages: NDArray[np.int64]
    scores: NDArray[np.float32]

    @staticmethod
    def none() -> Found:
        """Nothing was found."""
        return Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


class Statistics(NamedTuple):
    """Of the whole corpus: passages, their mean length, and in how many each term stands."""

    passages: int
    mean_length: float
    terms: NDArray[np.uint64]
    frequencies: NDArray[np.int64]


def count_postings(terms: Terms, cut: Cut) -> Postings:
    """The postings of a batch of passages, in order of term and passage."""
    from retrieval.terms_kernel import count_frequencies, fill_postings

    frequencies = np.zeros(len(terms.vocabulary), np.int64)
    lengths = np.zeros(len(cut.words), np.int32)
    count_frequencies(terms.numbers, cut.words, frequencies, lengths)
    indptr = np.concatenate([np.zeros(1, np.int64), frequencies.cumsum()])
    postings, counts = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
    fill_postings(terms.numbers, cut.words, indptr, postings, counts)
    return Postings(terms.vocabulary, indptr, postings, counts, lengths)


def merge_postings(parts: Sequence[Postings]) -> Postings:
    """The postings of several batches as those of one: passages of later batches count on."""
    from retrieval.terms_kernel import copy_postings

    terms = np.unique(np.concatenate([np.zeros(0, np.uint64), *(part.terms for part in parts)]))
    places = [np.searchsorted(terms, part.terms) for part in parts]
    frequencies = np.zeros(len(terms), np.int64)
    for part, place in zip(parts, places, strict=True):
        frequencies[place] += np.diff(part.indptr)
    indptr = np.concatenate([np.zeros(1, np.int64), frequencies.cumsum()])
    postings, counts = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
    behind, shift = indptr[:-1].copy(), 0
    for part, place in zip(parts, places, strict=True):
        copy_postings(place, part.indptr, part.postings, part.counts, shift, behind, postings, counts)
        shift += len(part.lengths)
    lengths = np.concatenate([np.zeros(0, np.int32), *(part.lengths for part in parts)])
    return Postings(terms, indptr, postings, counts, lengths)


def merge_statistics(
    parts: Iterable[tuple[NDArray[np.uint64], NDArray[np.int64]]], lengths: Lengths, *, at_once: int = TERMS_AT_ONCE
) -> Statistics:
    """Corpus statistics from the (terms, frequencies) of all shards, and the sums of their ``lengths``.

    Memory: ``at_once`` terms of shards, and those of the corpus.
    """
    held: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
    for part in parts:
        held.append(part)
        if sum(len(terms) for terms, _ in held[1:]) > at_once:
            held = [_summed(held)]
    terms, frequencies = _summed(held)
    return Statistics(lengths.passages, lengths.terms / max(lengths.passages, 1), terms, frequencies)


def _summed(
    parts: Sequence[tuple[NDArray[np.uint64], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    terms, which = np.unique(np.concatenate([terms for terms, _ in parts]), return_inverse=True)
    total = np.zeros(len(terms), np.int64)
    np.add.at(total, which, np.concatenate([frequencies for _, frequencies in parts]))
    return terms, total


def score_postings(postings: Postings, statistics: Statistics, settings: Bm25) -> NDArray[np.float32]:
    """The score of every posting, beside ``postings.postings``."""
    weights = idf(statistics, postings.terms)
    norm = settings.k1 * (1 - settings.b + settings.b * postings.lengths / max(statistics.mean_length, 1e-9))
    counts = postings.counts.astype(np.float64)
    tf = counts / (counts + norm[postings.postings])
    return (np.repeat(weights, np.diff(postings.indptr)) * tf).astype(np.float32)


def idf(statistics: Statistics, terms: NDArray[np.uint64]) -> NDArray[np.float64]:
    """How much each term weighs; the most possible for one that the corpus does not hold."""
    at = np.minimum(np.searchsorted(statistics.terms, terms), max(len(statistics.terms) - 1, 0))
    known = statistics.terms[at] == terms if len(statistics.terms) else np.zeros(len(terms), np.bool_)
    found = np.where(known, statistics.frequencies[at], 0) if len(statistics.terms) else np.zeros(len(terms))
    return np.asarray(np.log(1 + (statistics.passages - found + 0.5) / (found + 0.5)))


def highest_score(statistics: Statistics, terms: NDArray[np.uint64]) -> float:
    """What no passage's score for a query of these terms can exceed."""
    return float(idf(statistics, terms).sum())


class LexicalShard:
    """Searches one shard. ``first`` holds the first passage of each document, in order, and the number of passages."""

    def __init__(self, postings: Postings, scores: NDArray[np.float32], first: NDArray[np.int64]) -> None:
        self._terms, self._first = postings.terms, first
        self._document = np.repeat(np.arange(len(first) - 1), np.diff(first))
        self._overfetch = min(_OVERFETCH, -(-len(self._document) // max(len(first) - 1, 1)))
        self._matrix = {
            "data": scores,
            "indices": postings.postings,
            "indptr": postings.indptr,
            "num_docs": len(postings.lengths),
        }

    def search(self, queries: Sequence[NDArray[np.uint64]], k: int) -> list[Found]:
        """The best ``k`` documents for each query, each by its best passage; equal scores in order of the corpus."""
        known = [self._known(terms) for terms in queries]
        asked = [number for number, terms in enumerate(known) if terms]
        found = [Found.none()] * len(queries)
        passages = len(self._document)
        if not asked or not passages:
            return found
        searcher = _searcher()
        searcher.scores, searcher.unique_token_ids_set = self._matrix, range(len(self._terms))
        wanted = min(self._overfetch * k, passages)
        best, scores = searcher.retrieve([known[number] for number in asked], k=wanted, show_progress=False)
        for number, documents, least in zip(asked, self._documents(best, scores, k), scores[:, -1], strict=True):
            if len(documents.documents) < k and wanted < passages and least > 0:
                # long documents took all places: look at every passage
                everything = np.asarray(searcher.get_scores_from_ids(known[number]))
                order = np.argsort(-everything, kind="stable")
                documents = self._documents(order.astype(np.int32)[None], everything[order][None], k)[0]
            found[number] = documents
        return found

    def _known(self, terms: NDArray[np.uint64]) -> list[int]:
        """Numbers of the terms that the shard holds."""
        if not len(self._terms):
            return []
        at = np.minimum(np.searchsorted(self._terms, terms), len(self._terms) - 1)
        known: list[int] = at[self._terms[at] == terms].tolist()
        return known

    def _documents(self, passages: NDArray[np.int32], scores: NDArray[np.float32], k: int) -> list[Found]:
        """The documents of each row of passages, which are sorted by falling score."""
        from retrieval.lexical_kernel import best_documents

        places, counts = np.empty((len(passages), k), np.int64), np.empty(len(passages), np.int64)
        best_documents(passages, scores, self._document, places, counts)
        found = []
        for row, values, place, count in zip(passages, scores, places, counts.tolist(), strict=True):
            chosen = place[:count]
            best = row[chosen].astype(np.int64)
            found.append(Found(self._document[best], best, values[chosen]))
        return found


@cache
def _searcher() -> Any:
    """One searcher for all shards of a process: each compiles its kernels anew."""
    import bm25s

    searcher = bm25s.BM25(method="lucene", backend="numba")
    searcher.nonoccurrence_array, searcher.vocab_dict = None, {}
    return searcher

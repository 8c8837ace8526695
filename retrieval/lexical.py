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

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from corpus.settings import Settings
from retrieval.passages import Cut
from retrieval.terms import NO_TERM, Stemming, Terms


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
    begin, end = cut.words[:, 0], cut.words[:, 1]
    sizes = end - begin
    passage = np.repeat(np.arange(len(begin)), sizes)
    word = np.arange(len(passage)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begin, sizes)
    hashes = terms.hashes[word]
    said = hashes != NO_TERM
    distinct, which = np.unique(hashes[said], return_inverse=True)
    keys, counts = np.unique((which.astype(np.int64) << 32) | passage[said], return_counts=True)
    lengths = np.bincount(passage[said], minlength=len(begin))
    indptr = np.searchsorted(keys >> 32, np.arange(len(distinct) + 1))
    return Postings(
        distinct,
        indptr.astype(np.int64),
        (keys & 0xFFFFFFFF).astype(np.int32),
        counts.astype(np.int32),
        lengths.astype(np.int32),
    )


def merge_postings(parts: Sequence[Postings]) -> Postings:
    """The postings of several batches as those of one: passages of later batches count on."""
    shift = np.cumsum([0, *(len(part.lengths) for part in parts)])
    terms = np.concatenate([np.zeros(0, np.uint64), *(np.repeat(p.terms, np.diff(p.indptr)) for p in parts)])
    passages = np.concatenate(
        [np.zeros(0, np.int64), *(p.postings.astype(np.int64) + at for p, at in zip(parts, shift, strict=False))]
    )
    counts = np.concatenate([np.zeros(0, np.int32), *(part.counts for part in parts)])
    lengths = np.concatenate([np.zeros(0, np.int32), *(part.lengths for part in parts)])
    order = np.argsort(terms, kind="stable")  # passages of a term are in order already: batches are
    distinct, first = np.unique(terms[order], return_index=True)
    return Postings(
        distinct,
        np.append(first, len(terms)).astype(np.int64),
        passages[order].astype(np.int32),
        counts[order],
        lengths,
    )


def merge_statistics(parts: Sequence[tuple[NDArray[np.uint64], NDArray[np.int64]]], lengths: Lengths) -> Statistics:
    """Corpus statistics from the (terms, frequencies) of all shards, and the sums of their ``lengths``."""
    everything = np.concatenate([np.zeros(0, np.uint64), *(terms for terms, _ in parts)])
    frequencies = np.concatenate([np.zeros(0, np.int64), *(found for _, found in parts)])
    terms, which = np.unique(everything, return_inverse=True)
    total = np.zeros(len(terms), np.int64)
    np.add.at(total, which, frequencies)
    return Statistics(lengths.passages, lengths.terms / max(lengths.passages, 1), terms, total)


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
        self._matrix = {
            "data": scores,
            "indices": postings.postings,
            "indptr": postings.indptr,
            "num_docs": len(postings.lengths),
        }

    def search(self, terms: NDArray[np.uint64], k: int) -> Found:
        """The best ``k`` documents for a query, each by its best passage; equal scores in order of the corpus."""
        at = np.searchsorted(self._terms, terms)
        at = at[(at < len(self._terms)) & (self._terms[np.minimum(at, len(self._terms) - 1)] == terms)]
        if not len(at) or len(self._first) < 2:
            return Found.none()
        adder = _adder()
        adder.scores = self._matrix
        return best_documents(np.asarray(adder.get_scores_from_ids(at.tolist())), self._first, k)


def best_documents(scores: NDArray[np.float32], first: NDArray[np.int64], k: int) -> Found:
    """The ``k`` documents with the best passages, from a score for every passage; scores of 0 and less do not count."""
    best = np.maximum.reduceat(scores, first[:-1])
    if k < len(best):
        edge = np.partition(best, len(best) - k)[len(best) - k]
        documents = np.flatnonzero(best >= max(edge, np.float32(1e-12)))
    else:
        documents = np.flatnonzero(best > 0)
    documents = documents[np.lexsort((documents, -best[documents]))][:k]
    passages = [first[d] + int(scores[first[d] : first[d + 1]].argmax()) for d in documents.tolist()]
    return Found(documents, np.array(passages, np.int64), best[documents])


@cache
def _adder() -> Any:
    """One searcher for all shards of a process: each compiles its kernel anew."""
    import bm25s

    searcher = bm25s.BM25(method="lucene", backend="numba")
    searcher.nonoccurrence_array = None
    return searcher

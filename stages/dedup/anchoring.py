"""Compiled core of verification: pairs from buckets, clusters from pairs, survivors from clusters.

Documents are *ranks* here: 0 is the one that any other would yield to. ``row[rank]`` says where the shingle set of a
document lies. All loops are linear in documents times bands: a bucket yields at most ``1 + WINDOW`` pairs per member,
and a document is compared with as many survivors at most.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.dedup.forest import find_root, join
from stages.dedup.kernel import jaccard_at_least

WINDOW = 8
"""Each member of a bucket is paired with the bucket's best document and with this many that rank just before it."""
RANK_BITS = 32

Index = NDArray[np.int64]
Words = NDArray[np.uint64]


@njit(cache=True)
def bucket_pairs(keys: Words, ranks: Index) -> Index:
    """Candidate pairs of one band as ``worse << 32 | better``; ``keys`` ascend, and ``ranks`` within equal keys."""
    pairs = np.empty(len(keys) * (WINDOW + 1), np.int64)
    used, first = 0, 0
    for at in range(len(keys)):
        if keys[at] != keys[first]:
            first = at
        for other in range(max(first, at - WINDOW), at):
            pairs[used] = ranks[at] << RANK_BITS | ranks[other]
            used += 1
        if at - WINDOW > first:
            pairs[used] = ranks[at] << RANK_BITS | ranks[first]
            used += 1
    return pairs[:used].copy()


@njit(cache=True)
def similarity_of(a: int, b: int, row: Index, offsets: Index, shingles: Words, threshold: float) -> float:
    """True Jaccard similarity of the documents ranked ``a`` and ``b``, -1 where it is below ``threshold``."""
    a, b = row[a], row[b]
    return jaccard_at_least(shingles[offsets[a] : offsets[a + 1]], shingles[offsets[b] : offsets[b + 1]], threshold)


@njit(cache=True)
def connect(pairs: Index, row: Index, offsets: Index, shingles: Words, threshold: float) -> Index:
    """Clusters: the best rank of every document's connected component over the verified pairs.

    A pair that earlier ones have connected already is not compared: it could not change the component.
    """
    parent = np.arange(len(row))
    for i in range(len(pairs)):
        worse, better = pairs[i] >> RANK_BITS, pairs[i] & 0xFFFFFFFF
        if find_root(parent, worse) == find_root(parent, better):
            continue
        if similarity_of(worse, better, row, offsets, shingles, threshold) >= 0:
            join(parent, worse, better)
    for rank in range(len(row)):
        parent[rank] = find_root(parent, rank)
    return parent


@njit(cache=True)
def choose_survivors(
    pairs: Index, cluster: Index, row: Index, offsets: Index, shingles: Words, threshold: float
) -> tuple[Index, NDArray[np.float64]]:
    """Who stands for whom: the survivor's rank for every document (its own if it survives) and the similarity.

    Best first, a document is held against survivors of its cluster: those that its candidate partners led to and the
    best one of all. The best-ranked one that is similar enough stands for it; if there is none, it survives. ``pairs``
    ascend, so that the partners of a document, all better than it, stand together.
    """
    survivor, similarity = np.arange(len(row)), np.ones(len(row))
    at, tries = 0, np.empty(len(pairs) + 1, np.int64)
    for rank in range(len(row)):
        count = 0
        while at < len(pairs) and pairs[at] >> RANK_BITS == rank:
            partner = survivor[pairs[at] & 0xFFFFFFFF]
            if cluster[partner] == cluster[rank]:
                count = _insert(tries, count, partner)
            at += 1
        if cluster[rank] == rank:
            continue
        count = _insert(tries, count, cluster[rank])
        for i in range(count):
            found = similarity_of(rank, tries[i], row, offsets, shingles, threshold)
            if found >= 0:
                survivor[rank], similarity[rank] = tries[i], found
                break
    return survivor, similarity


@njit(cache=True)
def _insert(ranks: Index, count: int, rank: int) -> int:
    """Insert into the ascending ``ranks[:count]`` unless it is there; returns the new count."""
    at = count
    while at > 0 and ranks[at - 1] > rank:
        at -= 1
    if at > 0 and ranks[at - 1] == rank:
        return count
    for i in range(count, at, -1):
        ranks[i] = ranks[i - 1]
    ranks[at] = rank
    return count + 1

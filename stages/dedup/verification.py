"""From documents that may repeat each other to verdicts: who is removed, in favour of whom, how similar the two are.

Everything follows from one total order on content, the *survivor order*: newest crawl, then latest date, then longest
content, then smallest id. Within it

1. of exact copies, the best represents the others;
2. representatives that share a band key are paired, with a bounded number of pairs per document;
3. pairs whose shingle sets have at least ``jaccard`` in common are edges, and connected documents a cluster;
4. best first, a document is removed if a survivor of its cluster is at least ``anchor_jaccard`` similar to it, and
   survives otherwise: chains of small differences do not pull distant documents together.

The result depends on the documents alone: not on their order, their numbers or how they were spread over partitions.
Memory is that of the shingle sets, plus up to 10 pairs of 8 bytes per document and band in buckets that large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.dedup.config import Dedup

VERDICT_SCHEMA = pa.schema(
    [
        ("doc", pa.uint64()),
        ("id", pa.string()),
        ("cluster", pa.string()),  # id of the cluster's best document; null for one that nothing repeats
        ("kind", pa.string()),  # exact, near: removed. survivor: stays
        ("survivor", pa.string()),  # id of the document that stands for a removed one
        ("similarity", pa.float32()),  # true Jaccard similarity to it
    ]
)
KINDS = pa.array(["survivor", "near", "exact"])
# Nulls come last: an unknown crawl or date is the oldest.
SURVIVOR_ORDER = (
    ("crawl", "descending"),
    ("date", "descending"),
    ("length", "descending"),
    ("id", "ascending"),
    ("doc", "ascending"),  # decides only between rows that are the same document twice
)

Index = NDArray[np.int64]
Words = NDArray[np.uint64]


def verify(routed: pa.Table, config: Dedup) -> pa.Table:
    """Verdicts (``VERDICT_SCHEMA``, by ascending document) for all rows of ``routed`` (``steps.routed_schema``).

    ``routed`` must hold every document of each component in it. An exact copy of a document that was removed itself
    points to the final survivor, with the similarity to it.
    """
    if not routed.num_rows:
        return VERDICT_SCHEMA.empty_table()
    routed = routed.combine_chunks()
    order = np.asarray(pc.sort_indices(routed, sort_keys=list(SURVIVOR_ORDER)), np.int64)
    original = _exact_groups(routed, order, config)
    ruling = _near_groups(routed, order, original, config)
    return _verdicts(routed, order, original, ruling)


@dataclass(frozen=True)
class Ruling:
    """What was found about every rank: the best of its cluster, who stands for it, and how similar that one is."""

    cluster: Index
    survivor: Index
    similarity: NDArray[np.float64]


def _exact_groups(routed: pa.Table, order: Index, config: Dedup) -> Index:
    """For every rank, the best rank with the same content."""
    ranks = np.arange(len(order))
    if not config.exact:
        return ranks
    high, low = _matrix(routed, "content_hash")[order].T
    by_hash = np.lexsort((ranks, low, high))
    fresh = np.concatenate([[True], (np.diff(high[by_hash]) != 0) | (np.diff(low[by_hash]) != 0)])
    original = np.empty_like(ranks)
    original[by_hash] = by_hash[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]
    return original


def _near_groups(routed: pa.Table, order: Index, original: Index, config: Dedup) -> Ruling:
    """Clusters and survivors among the documents that represent themselves; all others are alone here."""
    from stages.dedup.anchoring import choose_survivors, connect

    ranks = np.arange(len(order))
    if not config.near:
        return Ruling(ranks, ranks, np.ones(len(ranks)))
    sets = routed.column("shingles").combine_chunks()
    offsets = sets.offsets.to_numpy()
    offsets, shingles = offsets - offsets[0], sets.flatten().to_numpy()
    able = (original == ranks) & (np.diff(offsets)[order] > 0)
    pairs = _candidate_pairs(_matrix(routed, "bands")[order], np.flatnonzero(able))
    cluster = connect(pairs, order, offsets, shingles, config.jaccard)
    survivor, similarity = choose_survivors(pairs, cluster, order, offsets, shingles, config.anchor_threshold)
    return Ruling(cluster, survivor, similarity)


def _candidate_pairs(keys: Words, ranks: Index) -> Index:
    """Pairs of ``ranks`` that share the key of any band, ascending and without repeats (see ``anchoring``)."""
    from stages.dedup.anchoring import bucket_pairs

    found = [np.empty(0, np.int64)]
    for band in range(keys.shape[1]):
        column = keys[ranks, band]
        by_key = np.argsort(column, kind="stable")
        found.append(bucket_pairs(column[by_key], ranks[by_key]))
    pairs: Index = np.sort(np.concatenate(found))
    fresh = np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]
    distinct: Index = pairs[fresh]
    return distinct


def _verdicts(routed: pa.Table, order: Index, original: Index, ruling: Ruling) -> pa.Table:
    ranks = np.arange(len(order))
    copy = original != ranks
    cluster, survivor = ruling.cluster[original], ruling.survivor[original]
    removed = survivor != ranks
    kind = np.where(copy, 2, np.where(removed, 1, 0))
    alone = np.bincount(cluster, minlength=len(order))[cluster] == 1
    ids = routed.column("id").take(pa.array(order))
    verdicts = pa.table(
        [
            routed.column("doc").take(pa.array(order)),
            ids,
            ids.take(pa.array(cluster, mask=alone)),
            KINDS.take(pa.array(kind)),
            ids.take(pa.array(survivor, mask=~removed)),
            pa.array(ruling.similarity[original].astype(np.float32), mask=~removed),
        ],
        schema=VERDICT_SCHEMA,
    )
    return verdicts.sort_by("doc")


def _matrix(table: pa.Table, name: str) -> Words:
    column = table.column(name).combine_chunks()
    values: Words = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return values

"""From hits of shards to the documents of a query: one ranking per index, both fused, floors and caps applied.

Rankings are fused by reciprocal rank (Cormack, Clarke, Buettcher, SIGIR 2009): a document's score is the sum of
1 / (60 + rank) over the rankings that hold it. Ranks compare where BM25 scores and cosines do not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from corpus.settings import Settings

HITS: Final = pa.schema(
    [
        ("query", pa.int32()),  # number in the table of queries
        ("doc", pa.uint64()),  # unit << 32 | row
        ("passage", pa.int64()),  # the document's best one, counted in its shard
        ("score", pa.float32()),
    ]
)
"""What a search of one shard by one index finds."""

RANKED: Final = pa.schema(
    [
        ("query", pa.int32()),
        ("doc", pa.uint64()),
        ("passage", pa.int64()),
        ("rank", pa.int32()),  # 1 is the best
        ("score", pa.float32()),  # fused
        ("lexical_rank", pa.int32()),
        ("lexical_score", pa.float32()),
        ("lexical_share", pa.float32()),  # of the highest score that any passage could have for the query
        ("dense_rank", pa.int32()),
        ("dense_score", pa.float32()),
        ("reason", pa.string()),  # null: taken; else why not
    ]
)
"""All hits of a query over the whole corpus, best first."""

BELOW_FLOOR: Final = "harvest/below_floor@1"
OVER_CAP: Final = "harvest/over_cap@1"
NOT_RETRIEVED: Final = "harvest/not_retrieved@1"


class Search(Settings):
    """How much each query may bring. Our choices: the method's paper gives no depth and no bounds."""

    depth: int = Field(default=100, ge=1, le=100_000)
    """Documents of a ranking that count, for each query and index."""
    rrf: int = Field(default=60, ge=1)
    """The constant of reciprocal rank fusion."""
    per_query: int = Field(default=50, ge=1)
    """Documents that a query may bring; those behind are turned down as `harvest/over_cap`."""
    min_lexical: float = Field(default=0.0, ge=0, le=1)
    """BM25 hits below this share of the highest score possible (the sum of idf over the query's terms) do not count
    (`harvest/below_floor`): a passage that holds half of what the query asks for, by weight, has at most 0.5."""
    min_dense: float = Field(default=0.0, ge=-1, le=1)
    """Hits below this cosine do not count."""


def ranking(hits: pa.Table, depth: int) -> pa.Table:
    """The best ``depth`` hits of each query, with their ``rank``; equal scores in order of the corpus."""
    query, doc, score = (hits.column(name).to_numpy() for name in ("query", "doc", "score"))
    order = np.lexsort((doc, -score, query))
    rank = _places(query[order])
    kept = order[rank <= depth]
    return hits.take(pa.array(kept)).append_column("rank", pa.array(rank[rank <= depth].astype(np.int32)))


def fuse(lexical: pa.Table, dense: pa.Table, highest: NDArray[np.float64], settings: Search) -> pa.Table:
    """One ranking per query out of two ``ranking`` tables (either may be empty). Schema ``RANKED``.

    ``highest``: by number of query, the highest BM25 score possible.
    """
    parts = [("lexical", lexical), ("dense", dense)]
    query = np.concatenate([part.column("query").to_numpy() for _, part in parts])
    doc = np.concatenate([part.column("doc").to_numpy() for _, part in parts])
    order = np.lexsort((doc, query))
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (np.diff(query[order]) != 0) | (np.diff(doc[order].astype(np.int64)) != 0)
    slot = np.empty(len(order), np.int64)
    slot[order] = np.cumsum(fresh) - 1
    columns = _Columns(order[fresh], query, doc, highest)
    at = 0
    for name, part in parts:
        floor = settings.min_lexical if name == "lexical" else settings.min_dense
        columns.add(name, part, slot[at : at + part.num_rows], settings.rrf, floor)
        at += part.num_rows
    return columns.table(settings.per_query)


class _Columns:
    """The columns of ``RANKED`` while two rankings are put into them; one slot per query and document."""

    def __init__(
        self,
        first: NDArray[np.int64],
        query: NDArray[np.int32],
        doc: NDArray[np.uint64],
        highest: NDArray[np.float64],
    ) -> None:
        count, self._highest = len(first), highest
        self.query, self.doc = query[first], doc[first]
        self.passage = np.full(count, -1, np.int64)
        self.score, self.sound = np.zeros(count), np.zeros(count, np.bool_)
        self.ranks = {name: np.zeros(count, np.int32) for name in ("lexical", "dense")}
        self.scores = {name: np.zeros(count, np.float32) for name in ("lexical", "dense")}

    def add(self, name: str, part: pa.Table, slot: NDArray[np.int64], constant: int, floor: float) -> None:
        rank, score = part.column("rank").to_numpy(), part.column("score").to_numpy()
        self.ranks[name][slot], self.scores[name][slot] = rank, score
        self.score[slot] += 1.0 / (constant + rank)
        self.sound[slot] |= (self.shares(slot) if name == "lexical" else score) >= floor
        unseen = self.passage[slot] < 0
        self.passage[slot[unseen]] = part.column("passage").to_numpy()[unseen]

    def shares(self, slot: NDArray[np.int64]) -> NDArray[np.float32]:
        """BM25 scores as shares of the highest possible."""
        highest = np.maximum(self._highest[self.query[slot]], 1e-9)
        return np.asarray(self.scores["lexical"][slot] / highest, np.float32)

    def table(self, per_query: int) -> pa.Table:
        # hits below the floor stand behind all others: they take nobody's place under the cap
        order = np.lexsort((self.doc, -self.score, ~self.sound, self.query))
        rank = _places(self.query[order])
        reason = np.where(self.sound[order], np.where(rank <= per_query, "", OVER_CAP), BELOW_FLOOR)
        values = {
            "query": self.query[order],
            "doc": self.doc[order],
            "passage": self.passage[order],
            "rank": rank,
            "score": self.score[order],
        }
        arrays = {name: pa.array(found) for name, found in values.items()}
        for name in ("lexical", "dense"):
            missing = self.ranks[name][order] == 0
            arrays[f"{name}_rank"] = pa.array(self.ranks[name][order], mask=missing)
            arrays[f"{name}_score"] = pa.array(self.scores[name][order], mask=missing)
        arrays["lexical_share"] = pa.array(self.shares(order), mask=self.ranks["lexical"][order] == 0)
        arrays["reason"] = pa.array([text or None for text in reason.tolist()], pa.string())
        return pa.table([arrays[field.name].cast(field.type) for field in RANKED], schema=RANKED)


def _places(query: NDArray[np.int32]) -> NDArray[np.int64]:
    """1, 2, 3 ... within runs of equal values."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(query) != 0])) if len(query) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(query)))
    return np.arange(len(query)) - np.repeat(starts, lengths) + 1

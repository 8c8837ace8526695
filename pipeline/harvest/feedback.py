"""Key-phrase queries from what a round of queries found: fetches the passages from where the index keeps them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from corpus.commit import TaskRecord
from corpus.shards import ROW_GROUP_ROWS, ShardReader, write_table
from corpus.storage import FileEntry, Store, fetch
from pipeline.barriers import ROW_BITS
from pipeline.harvest.index_card import IndexCard, read_statistics
from pipeline.harvest.query_tasks import read_queries
from pipeline.harvest.search import all_ranked
from pipeline.task import Context, Place, Result, Written
from retrieval.queries import to_table
from retrieval.writers.keyphrases import Feedback, Keyphrases, expand

PassageAt = tuple[int, int]
"""Shard, and passage in it."""


@dataclass(frozen=True)
class FeedbackPayload:
    """What one block of queries found."""

    config: Keyphrases
    queries: FileEntry
    ranked: TaskRecord
    index: IndexCard
    place: Place
    round: int


def write_keyphrases(payload: FeedbackPayload, context: Context) -> Result:
    """Task: drafts of queries from the best passages of each query of a block."""
    queries = read_queries(context.store, payload.queries)
    best = _best_passages(payload, context.store)
    index = payload.place.open()
    texts = passage_texts(index, payload.index, sorted({place for places in best.values() for place, _ in places}))
    statistics = read_statistics(index, payload.index.statistics, payload.index.passages, payload.index.mean_length)
    feedback = [
        Feedback(queries[number], tuple(texts[place] for place, _ in places), tuple(score for _, score in places))
        for number, places in sorted(best.items())
    ]
    stemming = payload.index.settings.lexical.stemming
    drafts = expand(feedback, payload.config, statistics, stemming, payload.round)
    path = context.staging / "drafts.parquet"
    return Result(files={"drafts": Written(path, write_table(path, to_table(drafts)))})


def _best_passages(payload: FeedbackPayload, store: Store) -> dict[int, list[tuple[PassageAt, float]]]:
    """Query -> its best passages with their fused scores, best first."""
    table = all_ranked(store, [payload.ranked])
    rank = table.column("rank").to_numpy()
    near = np.flatnonzero(rank <= payload.config.passages)
    near = near[np.argsort(rank[near], kind="stable")]
    columns = (table.column(name).to_numpy()[near].tolist() for name in ("query", "doc", "passage", "score"))
    best: dict[int, list[tuple[PassageAt, float]]] = defaultdict(list)
    for query, doc, passage, score in zip(*columns, strict=True):
        best[query].append(((doc >> ROW_BITS, passage), score))
    return best


def passage_texts(store: Store, index: IndexCard, wanted: list[PassageAt]) -> dict[PassageAt, str]:
    """The texts of passages; only the row groups that hold them are decompressed."""
    by_shard: dict[int, list[int]] = defaultdict(list)
    for shard, passage in wanted:
        by_shard[shard].append(passage)
    found: dict[PassageAt, str] = {}
    for shard, passages in by_shard.items():
        with fetch(store, index.shards[shard].files["texts"]) as file:
            reader = ShardReader(file)
            groups = {passage // ROW_GROUP_ROWS for passage in passages}
            columns = {group: reader.group(group).column("text") for group in sorted(groups)}
        for passage in passages:
            group, row = divmod(passage, ROW_GROUP_ROWS)
            found[shard, passage] = columns[group][row].as_py()
    return found

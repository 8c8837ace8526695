"""``pipeline search``: ask an index one question and see the passages that answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.errors import RunError
from corpus.storage import Store
from pipeline import console
from pipeline.barriers import ROW_BITS, ROW_MASK
from pipeline.harvest.feedback import passage_texts
from pipeline.harvest.index_card import IndexCard, read_card, read_statistics
from pipeline.harvest.search import OpenShard, hits_table
from retrieval.embedder import open_embedder
from retrieval.fusion import HITS, Search, fuse, ranking
from retrieval.lexical import Found, highest_score
from retrieval.terms import query_terms

SHOWN_CHARACTERS = 300


def search_index(store: Store, query: str, *, k: int) -> list[dict[str, Any]]:
    """The best ``k`` documents for a query. Raises ``RunError`` where there is no index."""
    card = read_card(store)
    if card is None:
        raise RunError(
            "there is no search index here",
            where=store.root,
            fix="a harvest builds one: OUTPUT/index, or its index.path",
        )
    (terms,) = query_terms([query], card.settings.lexical.stemming)
    shards = [OpenShard(store, shard.files) for shard in card.shards]
    settings = Search(depth=max(k, 1), per_query=max(k, 1))
    lexical = _ranking([shard.lexical().search([terms], k)[0] for shard in shards], shards, k)
    dense = _ranking(_near(card, shards, query, k), shards, k)
    statistics = read_statistics(store, card.statistics, card.passages, card.mean_length)
    table = fuse(lexical, dense, np.array([highest_score(statistics, terms)]), settings)
    rows = table.slice(0, k).to_pylist()
    places = [(row["doc"] >> ROW_BITS, row["passage"]) for row in rows]
    texts = passage_texts(store, card, sorted(set(places)))
    return [
        {
            "shard": card.shards[place[0]].label,
            "row": row["doc"] & int(ROW_MASK),
            **{name: row[name] for name in row if name not in ("query", "doc", "passage", "reason")},
            "text": texts[place],
        }
        for row, place in zip(rows, places, strict=True)
    ]


def _near(card: IndexCard, shards: Sequence[OpenShard], query: str, k: int) -> list[Found]:
    config = card.settings.dense
    if config is None:
        return [Found.none()] * len(shards)
    vector = open_embedder(config.embedder, card.embedder_files).queries([query])
    return [shard.dense(config).search(vector, k)[0] for shard in shards]


def _ranking(found: Sequence[Found], shards: Sequence[OpenShard], k: int) -> pa.Table:
    tables = [
        hits_table([hits], 0, unit, shard.rows) for unit, (hits, shard) in enumerate(zip(found, shards, strict=True))
    ]
    return ranking(pa.concat_tables([HITS.empty_table(), *tables]).combine_chunks(), k)


def print_hits(hits: Sequence[dict[str, Any]]) -> None:
    """Hits for people: rank, scores, where the document stands, and the passage."""
    for hit in hits:
        scores = [f"BM25 {hit['lexical_score']:.2f} ({hit['lexical_share']:.0%})"] if hit["lexical_rank"] else []
        scores += [f"cosine {hit['dense_score']:.3f}"] if hit["dense_rank"] else []
        where = f"{Path(hit['shard']).name} row {hit['row']}"
        console.out.print(console.safe(f"{hit['rank']}. {', '.join(scores)}  {where}"))
        console.out.print(console.safe("   " + " ".join(hit["text"].split()), limit=SHOWN_CHARACTERS))

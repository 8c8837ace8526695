"""Searching an index for a table of queries, as phases.

    search.shards  per shard and block of queries: the best documents by each index
    search.fuse    per block of queries: one ranking over all shards, written by unit of the corpus

Under Ray all blocks of a shard go to the same actor, which keeps the shard mapped; elsewhere a process keeps the last
few shards that it had open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.commit import TaskRecord
from corpus.shards import ShardReader, read_partition, write_table
from corpus.storage import FileEntry, Store, fetch, local_copy
from pipeline.barriers import ROW_BITS
from pipeline.dedup_phases import Runner, write_by_unit
from pipeline.harvest.index_card import IndexCard, read_statistics
from pipeline.task import Context, Place, Result, Task, Written, task_key
from retrieval.dense import Dense, DenseFiles, DenseShard
from retrieval.embedder import Embedder, open_embedder
from retrieval.fusion import HITS, RANKED, Search, fuse, ranking
from retrieval.lexical import Found, LexicalShard, Postings, highest_score
from retrieval.terms import Stemming, query_terms

QUERIES_PER_TASK = 4096
OPEN_SHARDS = 4
HITS_AT_ONCE = 10_000_000


@dataclass(frozen=True)
class Block:
    """Some rows of a table of queries."""

    queries: FileEntry
    start: int
    end: int


@dataclass(frozen=True)
class ShardPayload:
    block: Block
    unit: int
    place: Place
    files: Mapping[str, FileEntry]
    stemming: Stemming
    dense: Dense | None
    pins: Mapping[str, str]
    depth: int


@dataclass(frozen=True)
class FusePayload:
    block: Block
    index: IndexCard
    place: Place
    lexical: tuple[FileEntry, ...]
    dense: tuple[FileEntry, ...]
    settings: Search


def search(
    index: IndexCard, place: Place, queries: FileEntry, settings: Search, code: str, runner: Runner, *, gpus: float
) -> list[TaskRecord]:
    """Records of ``search.fuse``, one per block of ``queries``: ``ranked`` (schema ``RANKED``), by unit.

    ``gpus``: for each task that searches embeddings.
    """
    blocks = [
        Block(queries, start, min(start + QUERIES_PER_TASK, queries.rows))
        for start in range(0, queries.rows, QUERIES_PER_TASK)
    ]
    tasks = [_shard_task(index, place, block, unit, settings, code, gpus) for block in blocks for unit in _units(index)]
    found = iter(runner.run_phase("search.shards", tasks))
    per_block = [[next(found) for _ in _units(index)] for _ in blocks]
    return runner.run_phase(
        "search.fuse",
        [
            _fuse_task(index, place, block, records, settings, code)
            for block, records in zip(blocks, per_block, strict=True)
        ],
    )


def _units(index: IndexCard) -> range:
    return range(len(index.shards))


def _shard_task(
    index: IndexCard, place: Place, block: Block, unit: int, settings: Search, code: str, gpus: float
) -> Task:
    shard, dense = index.shards[unit], index.settings.dense
    identity = [entry.sha256 for name, entry in sorted(shard.files.items()) if name != "texts"]
    searching = [dense.hnsw_search, dense.ivf_probes, dense.embedder.query_prefix] if dense else []
    where = [block.queries.sha256, block.start, block.end]
    key = task_key(code, "search", where, unit, identity, index.embedder_files, searching, settings.depth)
    payload = ShardPayload(
        *(block, unit, place, shard.files, index.settings.lexical.stemming, dense, index.embedder_files),
        depth=settings.depth,
    )
    label = f"{shard.label} x {block.end - block.start} queries"
    held = gpus if dense else 0.0
    return Task("search.shards", label, key, search_shard, payload, affinity=shard.label, gpus=held)


def _fuse_task(
    index: IndexCard, place: Place, block: Block, records: Sequence[TaskRecord], settings: Search, code: str
) -> Task:
    lexical = tuple(record.file("lexical") for record in records)
    dense = tuple(record.file("dense") for record in records if "dense" in record.files)
    hashes = [entry.sha256 for entry in (*lexical, *dense)]
    corpus = [entry.sha256 for _, entry in sorted(index.statistics.items())]
    where = [block.queries.sha256, block.start, block.end]
    key = task_key(code, "fuse", hashes, settings.model_dump(mode="json"), where, corpus)
    payload = FusePayload(block, index, place, lexical, dense, settings)
    return Task("search.fuse", f"{len(records)} shards", key, fuse_block, payload)


def search_shard(payload: ShardPayload, context: Context) -> Result:
    """Task: the best documents of one shard for each query of a block."""
    texts = read_texts(context.store, payload.block)
    names = tuple(sorted((name, entry.model_dump_json()) for name, entry in payload.files.items()))
    shard = open_shard(payload.place.root, tuple(payload.place.options.items()), names)
    hits = shard.lexical().search(query_terms(texts, payload.stemming), payload.depth)
    files = {"lexical": _write_hits(context.staging / "lexical.parquet", hits, payload, shard.rows)}
    if payload.dense is not None:
        vectors = _embedder(payload.dense, payload.pins).queries(texts)
        near = shard.dense(payload.dense).search(vectors, payload.depth)
        files["dense"] = _write_hits(context.staging / "dense.parquet", near, payload, shard.rows)
    return Result(files=files)


def fuse_block(payload: FusePayload, context: Context) -> Result:
    """Task: the ranking of every query of a block over the whole corpus."""
    depth = payload.settings.depth
    lexical, dense = (_best_hits(context.store, entries, depth) for entries in (payload.lexical, payload.dense))
    table = fuse(lexical, dense, _highest_scores(payload, context.store), payload.settings)
    path = context.staging / "ranked.parquet"
    units = write_by_unit(path, table)
    return Result(files={"ranked": Written(path, table.num_rows)}, facts={"units": units})


def _highest_scores(payload: FusePayload, store: Store) -> NDArray[np.float64]:
    index, block = payload.index, payload.block
    statistics = read_statistics(payload.place.open(), index.statistics, index.passages, index.mean_length)
    highest = np.zeros(block.end)
    terms = query_terms(read_texts(store, block), index.settings.lexical.stemming)
    highest[block.start :] = [highest_score(statistics, each) for each in terms]
    return highest


def read_texts(store: Store, block: Block) -> list[str]:
    """The queries of a block as they are asked."""
    with fetch(store, block.queries) as file:
        table = ShardReader(file).read(["text"]).slice(block.start, block.end - block.start)
    texts: list[str] = table.column("text").to_pylist()
    return texts


class OpenShard:
    """The arrays of one shard, mapped; searchers are made when they are asked for."""

    def __init__(self, store: Store, files: Mapping[str, FileEntry]) -> None:
        self._paths = {name: local_copy(store, entry) for name, entry in files.items() if name != "texts"}
        self._opened: dict[str, Any] = {}
        self.rows = self._array("rows")
        self._first = np.array(self._array("first"))

    def lexical(self) -> LexicalShard:
        """BM25 over the shard."""
        if "lexical" not in self._opened:
            postings = Postings(**{name: self._array(name) for name in Postings._fields})
            self._opened["lexical"] = LexicalShard(postings, self._array("scores"), self._first)
        found: LexicalShard = self._opened["lexical"]
        return found

    def dense(self, config: Dense) -> DenseShard:
        """Embeddings of the shard."""
        if "dense" not in self._opened:
            files = DenseFiles(self._paths["vectors"], self._paths.get("structure"))
            self._opened["dense"] = DenseShard(files, config, self._first)
        found: DenseShard = self._opened["dense"]
        return found

    def _array(self, name: str) -> NDArray[Any]:
        found: NDArray[Any] = np.load(self._paths[name], mmap_mode="r", allow_pickle=False)
        return found


@lru_cache(maxsize=OPEN_SHARDS)
def open_shard(root: str, options: tuple[tuple[str, Any], ...], files: tuple[tuple[str, str], ...]) -> OpenShard:
    """The shard of these files (name, entry as JSON), opened once per process; each is held against its sha256."""
    store = Place(root, dict(options)).open()
    return OpenShard(store, {name: FileEntry.model_validate_json(entry) for name, entry in files})


@lru_cache(maxsize=1)
def _embedder_of(config: str, pins: tuple[tuple[str, str], ...]) -> Embedder:
    return open_embedder(Dense.model_validate_json(config).embedder, dict(pins))


def _embedder(config: Dense, pins: Mapping[str, str]) -> Embedder:
    return _embedder_of(config.model_dump_json(), tuple(sorted(pins.items())))


def _write_hits(path: Path, hits: Sequence[Found], payload: ShardPayload, rows: NDArray[np.int64]) -> Written:
    table = hits_table(hits, payload.block.start, payload.unit, rows)
    return Written(path, write_table(path, table, row_group_rows=1 << 16))


def hits_table(hits: Sequence[Found], start: int, unit: int, rows: NDArray[np.int64]) -> pa.Table:
    """What queries, numbered from ``start``, found in the shard of ``unit``. Schema ``HITS``."""
    numbers = np.repeat(np.arange(start, start + len(hits), dtype=np.int32), [len(found.documents) for found in hits])
    documents, passages, scores = (np.concatenate(column) for column in zip(Found.none(), *hits, strict=True))
    docs = rows[documents].astype(np.uint64) | np.uint64(unit << ROW_BITS)
    return pa.table([numbers, docs, passages, scores], schema=HITS)


def _best_hits(store: Store, entries: Sequence[FileEntry], depth: int) -> pa.Table:
    """The ranking of each query over all shards; the hits of a few shards are in memory at a time."""
    held = HITS.empty_table()
    for entry in entries:
        with fetch(store, entry) as file:
            held = pa.concat_tables([held, ShardReader(file).read()])
        if held.num_rows > HITS_AT_ONCE:
            held = ranking(held.combine_chunks(), depth).select(HITS.names)
    return ranking(held.combine_chunks(), depth)


def ranked_tables(store: Store, records: Sequence[TaskRecord]) -> Iterator[pa.Table]:
    """The rankings that ``search`` left, a table per block and unit. Schema ``RANKED``."""
    for record in records:
        for group in record.facts["units"].values():
            yield read_partition(store, record.file("ranked"), int(group))


def all_ranked(store: Store, records: Sequence[TaskRecord]) -> pa.Table:
    """The same as one table."""
    return pa.concat_tables([RANKED.empty_table(), *ranked_tables(store, records)]).combine_chunks()

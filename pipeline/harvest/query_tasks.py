"""The tasks of a round of queries: seeds, what a model writes, what becomes a query, what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.commit import TaskRecord
from corpus.errors import RunError
from corpus.shards import ShardReader, write_table
from corpus.storage import FileEntry, Store, fetch
from llm.cache import ResponseCache
from llm.client import Client
from llm.config import Endpoint
from pipeline.harvest.search import all_ranked
from pipeline.task import Context, Result, Written
from retrieval.cleaning import Cleaning, clean
from retrieval.queries import Kind, Query, from_table, to_table
from retrieval.writers.language_model import Answers, LanguageModel, write

NOVELTY = pa.schema([("doc", pa.uint64())])


@dataclass(frozen=True)
class SeedPayload:
    seeds: tuple[Query, ...]


@dataclass(frozen=True)
class WritePayload:
    parents: FileEntry
    start: int
    end: int
    kind: Kind
    config: LanguageModel
    endpoint: Endpoint
    cache: str | None
    round: int


@dataclass(frozen=True)
class PoolPayload:
    drafts: tuple[FileEntry, ...]
    pool: tuple[FileEntry, ...]
    cleaning: Cleaning
    room: int


@dataclass(frozen=True)
class NoveltyPayload:
    before: FileEntry | None
    ranked: tuple[TaskRecord, ...]


def write_seeds(payload: SeedPayload, context: Context) -> Result:
    """Task: the seeds as a table of queries."""
    return Result(files={"queries": _write_queries(context.staging / "queries.parquet", payload.seeds)})


def ask_model(payload: WritePayload, context: Context) -> Result:
    """Task: have the language model write about some queries."""
    parents = read_queries(context.store, payload.parents)[payload.start : payload.end]
    cache = ResponseCache(Path(payload.cache)) if payload.cache else None
    found = write(Client(payload.endpoint, cache), parents, payload.kind, payload.config, payload.round)
    _refuse_silence(found, payload)
    facts = {
        "requests": found.requests,
        "refused": found.refused,
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
    }
    return Result(files={"drafts": _write_queries(context.staging / "drafts.parquet", found.drafts)}, facts=facts)


def _refuse_silence(found: Answers, payload: WritePayload) -> None:
    """A task that raises is not finished: run again, it asks only what it has no stored answer to."""
    silent = sum(found.refused.values())
    if silent > payload.config.max_refused_share * found.requests:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(found.refused.items()))
        raise RunError(
            f"{silent} of {found.requests} requests to the language model got no usable answer: {causes}",
            where=f"{payload.kind}s of round {payload.round}, model {payload.endpoint.model}",
            fix="look at the server and its model, then run again; writer.max_refused_share sets this limit",
        )


def pool_drafts(payload: PoolPayload, context: Context) -> Result:
    """Task: clean drafts and keep those that nobody has asked yet."""
    kept, facts = _cleaned(payload, context)
    return Result(files={"queries": _write_queries(context.staging / "queries.parquet", kept)}, facts=facts)


def pool_thoughts(payload: PoolPayload, context: Context) -> Result:
    """Task: the same, with the questions of the round, the last of the pool, in front."""
    kept, facts = _cleaned(payload, context)
    questions = read_queries(context.store, payload.pool[-1])
    written = _write_queries(context.staging / "queries.parquet", [*questions, *kept])
    return Result(files={"queries": written}, facts=facts)


def _cleaned(payload: PoolPayload, context: Context) -> tuple[list[Query], dict[str, Any]]:
    drafts = [query for entry in payload.drafts for query in read_queries(context.store, entry)]
    pool = [query for entry in payload.pool for query in read_queries(context.store, entry)]
    kept, removed = clean(drafts, pool, payload.cleaning)
    over = max(0, len(kept) - payload.room)
    if over:
        removed["over_max_queries"] = over
    return kept[: payload.room], {"drafts": len(drafts), "removed": removed}


def count_new(payload: NoveltyPayload, context: Context) -> Result:
    """Task: the documents that any query has taken so far, and how many of a round's were not among them."""
    ranked = all_ranked(context.store, payload.ranked)
    found = np.unique(ranked.filter(pc.is_null(ranked.column("reason"))).column("doc").to_numpy())
    before = np.zeros(0, np.uint64)
    if payload.before is not None:
        with fetch(context.store, payload.before) as file:
            before = ShardReader(file).read().column("doc").to_numpy()
    everything = np.union1d(before, found)
    path = context.staging / "found.parquet"
    rows = write_table(path, pa.table([everything], schema=NOVELTY), row_group_rows=1 << 16)
    return Result(files={"found": Written(path, rows)}, facts={"found": len(found), "new": rows - len(before)})


def read_queries(store: Store, entry: FileEntry) -> list[Query]:
    """A table of queries from a work file."""
    with fetch(store, entry) as file:
        return from_table(ShardReader(file).read())


def _write_queries(path: Path, queries: Sequence[Query]) -> Written:
    return Written(path, write_table(path, to_table(list(queries))))

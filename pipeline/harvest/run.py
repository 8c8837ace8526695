"""A harvest: index the corpus, bootstrap queries, search, and say of every document whether it is taken and for what.

It stands in front of the stages: each unit of the corpus is read once more, its documents get the columns and verdicts
of the harvest, and what is taken goes on through the manifest's stages like any other document. So the ledger of a
Knowledge Pile counts every document of the corpus that it was taken from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.commit import TaskRecord
from corpus.errors import RunError
from corpus.shards import read_partition, write_table
from corpus.storage import FileEntry, Store
from llm.client import Client
from llm.config import Endpoint
from pipeline.barriers import ROW_MASK, Apply
from pipeline.harvest.control import control_group, merged
from pipeline.harvest.index import build
from pipeline.harvest.index_card import IndexCard
from pipeline.harvest.queries import Bench, Round, bootstrap
from pipeline.harvest.query_tasks import read_queries
from pipeline.harvest.search import all_ranked
from pipeline.plan import Plan
from pipeline.scheduler import Scheduler
from pipeline.serving import served
from pipeline.task import Context, Place, Result, Task, Written, task_key
from retrieval.config import Harvest
from retrieval.documents import apply_harvest, harvest_unit
from retrieval.embedder import pin_embedder
from retrieval.fusion import RANKED
from retrieval.queries import QUERIES, Query
from retrieval.seeds import read_seeds
from retrieval.writers.language_model import PLACES, LanguageModel

_SHOWS = ("report", "ask")
"""Modules here that show results and decide none."""

ACCOUNT = pa.schema(
    [
        ("round", pa.int32()),
        ("origin", pa.string()),
        ("requests", pa.int64()),
        ("refused", pa.map_(pa.string(), pa.int64())),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("drafts", pa.int64()),
        ("removed", pa.map_(pa.string(), pa.int64())),
        ("queries", pa.int64()),
        ("found", pa.int64()),
        ("new", pa.int64()),
        ("stopped", pa.string()),
    ]
)
"""One row per round: requests and drafts, what became of them, documents found, and why there was no next round."""

PUBLISHED_QUERIES = pa.schema([*QUERIES, ("found", pa.int32()), ("taken", pa.int32()), ("new", pa.int32())])
"""Queries as published: documents in their ranking, those taken, and those that no earlier query had taken."""


@dataclass(frozen=True)
class HarvestVerdicts:
    """Where the hits of one unit stand: (queries of the round, ranking, row group)."""

    slices: tuple[tuple[FileEntry, FileEntry, int], ...]
    code: str

    def identity(self) -> object:
        return [self.code, *self._slices()]

    def _slices(self) -> list[list[object]]:
        return [[queries.sha256, ranked.sha256, group] for queries, ranked, group in self.slices]

    def open(self, store: Store) -> Apply:
        tables, numbers, queries = [RANKED.empty_table()], [np.zeros(0, np.int64)], list[Query]()
        first: dict[str, int] = {}  # where the queries of each round begin
        for entry, ranked, group in self.slices:
            if entry.sha256 not in first:
                first[entry.sha256] = len(queries)
                queries += read_queries(store, entry)
            table = read_partition(store, ranked, group)
            numbers.append(table.column("query").to_numpy().astype(np.int64) + first[entry.sha256])
            tables.append(table)
        hits = pa.concat_tables(tables).combine_chunks()
        rows = (hits.column("doc").to_numpy() & ROW_MASK).astype(np.int64)
        found = harvest_unit(rows, hits, [queries[number] for number in np.concatenate(numbers).tolist()])
        return lambda batch, first_row: apply_harvest(batch, first_row, found)


@dataclass(frozen=True)
class AccountPayload:
    rounds: tuple[Round, ...]
    control: tuple[TaskRecord, ...]


@dataclass(frozen=True)
class Harvested:
    """Verdicts for every unit, and the tables that are published beside the documents."""

    verdicts: list[HarvestVerdicts]
    tables: dict[str, FileEntry]


def index_place(config: Harvest, output: Place) -> Place:
    """Where the index lies."""
    return Place(config.index.path or f"{output.root.rstrip('/')}/index", output.options)


def harvest(config: Harvest, plan: Plan, scheduler: Scheduler) -> Harvested:
    """Run all phases of a harvest. Raises ``CorpusError``."""
    check_harvest(config)
    code, gpus = harvest_code(plan.code), plan.manifest.executor.gpus
    where = index_place(config, scheduler.place)
    with _endpoint(config) as served_at:
        endpoint = _shared(served_at, scheduler.executor.slots)
        builder = Scheduler(scheduler.executor, where, scheduler.watcher, max_attempts=scheduler.max_attempts)
        card = build(config.index, plan.manifest.source, plan.units, code, where.open(), builder, gpus=gpus)
        rounds = bootstrap(Bench(config, card, where, scheduler.place, scheduler, code, gpus, endpoint))
    _refuse_nothing(rounds, card)
    control = control_group(plan, config.control, card.documents, code, scheduler)
    hashes = [[entry.queries.sha256, *(r.file("ranked").sha256 for r in entry.ranked)] for entry in rounds]
    samples = [record.file("control").sha256 for record in control]
    key = task_key(code, "account", hashes, [entry.account for entry in rounds], samples)
    payload = AccountPayload(tuple(rounds), tuple(control))
    task = Task("harvest.account", "all rounds", key, account_for, payload)
    (record,) = scheduler.run_phase("harvest.account", [task])
    return Harvested(_verdicts(rounds, len(plan.units), code), dict(record.files))


def check_harvest(config: Harvest) -> None:
    """Prove that seeds, prompts and models are there, without any work. Raises ``CorpusError``."""
    read_seeds(config.seeds)
    if config.index.dense is not None:
        pin_embedder(config.index.dense.embedder)
    writer = config.writer
    if isinstance(writer, LanguageModel):
        for kind, places in PLACES.items():
            writer.prompt(kind).messages(places)
        if writer.endpoint is not None:
            Client(writer.endpoint).check()


@contextmanager
def _endpoint(config: Harvest) -> Iterator[Endpoint | None]:
    """The language model's endpoint; a server of our own lives as long as this."""
    writer = config.writer
    if not isinstance(writer, LanguageModel):
        yield None
    elif writer.endpoint is not None:
        yield writer.endpoint
    else:
        assert writer.serve is not None
        with served(writer.serve) as endpoint:
            yield endpoint


def _shared(endpoint: Endpoint | None, tasks: int) -> Endpoint | None:
    """The endpoint as each of so many tasks at a time may use it: together they keep to its concurrency."""
    if endpoint is None:
        return None
    return endpoint.model_copy(update={"concurrency": max(1, endpoint.concurrency // tasks)})


def _refuse_nothing(rounds: Sequence[Round], card: IndexCard) -> None:
    """An empty pile is never silent."""
    if not any(entry.account["found"] for entry in rounds):
        asked = sum(entry.queries.rows for entry in rounds)
        raise RunError(
            f"{asked} queries found nothing in {card.documents} documents",
            where="harvest",
            fix="look at the language and subjects of seeds and corpus, at source.text_field and at search.min_lexical",
        )


def _verdicts(rounds: Sequence[Round], units: int, code: str) -> list[HarvestVerdicts]:
    slices: list[list[tuple[FileEntry, FileEntry, int]]] = [[] for _ in range(units)]
    for entry in rounds:
        for record in entry.ranked:
            for unit, group in record.facts["units"].items():
                slices[int(unit)].append((entry.queries, record.file("ranked"), int(group)))
    return [HarvestVerdicts(tuple(parts), code) for parts in slices]


def account_for(payload: AccountPayload, context: Context) -> Result:
    """Task: all queries with what they brought, and the account of every round."""
    tables, seen = [PUBLISHED_QUERIES.empty_table()], np.zeros(0, np.uint64)
    for entry in payload.rounds:
        ranked = all_ranked(context.store, entry.ranked)
        counts, seen = _brought(ranked, entry.queries.rows, seen)
        queries = pa.Table.from_pylist([q._asdict() for q in read_queries(context.store, entry.queries)], QUERIES)
        for name, values in counts.items():
            queries = queries.append_column(name, pa.array(values.astype(np.int32)))
        tables.append(queries.cast(PUBLISHED_QUERIES))
    rows = [{"round": entry.number, **_filled(entry.account)} for entry in payload.rounds]
    found = {"queries": pa.concat_tables(tables), "rounds": pa.Table.from_pylist(rows, ACCOUNT)}
    if payload.control:
        found["control"] = merged(payload.control, context)
    paths = {name: context.staging / f"{name}.parquet" for name in found}
    return Result(files={name: Written(paths[name], write_table(paths[name], found[name])) for name in found})


def _brought(ranked: pa.Table, queries: int, seen: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Documents found, taken and new by query, and all that were taken so far."""
    query, taken = ranked.column("query").to_numpy(), ranked.filter(pc.is_null(ranked.column("reason")))
    by_query = taken.column("query").to_numpy()
    order = np.argsort(by_query, kind="stable")
    docs, first = np.unique(taken.column("doc").to_numpy()[order], return_index=True)
    fresh = by_query[order][first[~np.isin(docs, seen)]]
    counts = {
        name: np.bincount(values, minlength=queries)
        for name, values in (("found", query), ("taken", by_query), ("new", fresh))
    }
    return counts, np.union1d(seen, docs)


def _filled(account: dict[str, Any]) -> dict[str, Any]:
    empty = {"requests": 0, "refused": {}, "prompt_tokens": 0, "completion_tokens": 0, "removed": {}, "stopped": None}
    filled = {**empty, **account}
    for name in ("refused", "removed"):
        filled[name] = list(filled[name].items())
    return filled


@cache
def harvest_code(code: str) -> str:
    """Identity of the code of a harvest: that of the engine, and everything that finds or writes queries."""
    home = Path(__file__).parents[1]
    files = [path for path in (home / "harvest").glob("*.py") if path.stem not in _SHOWS]
    for package in ("retrieval", "llm"):
        folder = home.parent / package
        files += [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    digests = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in sorted(files)]
    return task_key(code, digests, [_version(name) for name in ("faiss-cpu", "bm25s", "PyStemmer", "onnxruntime")])


def _version(library: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"

"""Deduplication across all units, as phases that move files. What is compared and why: ``stages.dedup``.

    bands       per band and key range: sort the band keys of all units, link equal ones    -> candidate edges
    components  once: union-find over the documents that occur in edges                      -> (document, component)
    route       per unit: shingles of the documents that have candidates, cut by component   -> a row group each
    verify      per partition: true Jaccard, components, anchor check, survivor              -> verdicts by unit

Data moves through sorted files. Memory is bounded by one key range in ``bands`` (KEYS_PER_TASK keys of 16 bytes), by
one partition in ``verify``, and in ``components`` by about 40 bytes per document that has a candidate at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from corpus.commit import TaskRecord
from corpus.shards import ShardReader, read_batches, read_partition, write_partitions, write_table
from corpus.storage import FileEntry, Store, fetch
from pipeline.barriers import ROW_BITS, ROW_MASK, DedupVerdicts
from pipeline.task import Context, Result, Task, Written, task_key
from stages.dedup import Dedup
from stages.dedup.candidates import candidate_components, candidate_edges
from stages.dedup.steps import BAND_SCHEMA, partition_of, routed_rows
from stages.dedup.verification import verify

KEYS_PER_TASK = 50_000_000
DOCUMENTS_PER_PARTITION = 100_000


class Runner(Protocol):
    """What runs a phase's tasks and returns their records in order."""

    def run_phase(self, phase: str, tasks: Iterable[Task]) -> list[TaskRecord]: ...


@dataclass(frozen=True)
class BandPayload:
    config: Dedup
    band: int
    part: int
    parts: int
    sketches: tuple[FileEntry, ...]


@dataclass(frozen=True)
class ComponentPayload:
    edges: tuple[FileEntry, ...]


@dataclass(frozen=True)
class RoutePayload:
    config: Dedup
    unit: int
    live: FileEntry
    components: FileEntry
    group: int
    partitions: int


@dataclass(frozen=True)
class VerifyPayload:
    config: Dedup
    partition: int
    routed: tuple[FileEntry, ...]


def deduplicate(config: Dedup, units: Sequence[TaskRecord], code: str, runner: Runner) -> list[DedupVerdicts]:
    """Run the four phases over the segment records ``units``; returns the verdicts for each unit, in order."""
    edges = runner.run_phase("dedup.bands", _band_tasks(config, units, code))
    component_payload = ComponentPayload(tuple(record.file("edges") for record in edges))
    key = task_key(code, "components", [entry.sha256 for entry in component_payload.edges])
    task = Task("dedup.components", "all documents", key, find_components, component_payload)
    (components,) = runner.run_phase("dedup.components", [task])
    routed = runner.run_phase("dedup.route", _route_tasks(config, units, components, code))
    if not routed:
        return [DedupVerdicts(())] * len(units)
    verified = runner.run_phase("dedup.verify", _verify_tasks(config, routed, components.facts["documents"], code))
    slices: list[list[tuple[FileEntry, int]]] = [[] for _ in units]
    for record in verified:
        for unit, group in record.facts["units"].items():
            slices[int(unit)].append((record.file("verdicts"), int(group)))
    return [DedupVerdicts(tuple(parts)) for parts in slices]


def _band_tasks(config: Dedup, units: Sequence[TaskRecord], code: str) -> Iterator[Task]:
    sketches = tuple(record.file("sketch") for record in units)
    parts = max(1, math.ceil(sum(record.facts["rows"] for record in units) / KEYS_PER_TASK))
    identity = [code, "bands", config.model_dump(mode="json"), [entry.sha256 for entry in sketches], parts]
    for band in range(config.bands + 1):
        for part in range(parts):
            payload = BandPayload(config, band, part, parts, sketches)
            label = f"band {band}" if parts == 1 else f"band {band} keys {part + 1}/{parts}"
            yield Task("dedup.bands", label, task_key(*identity, band, part), link_band, payload)


def _route_tasks(config: Dedup, units: Sequence[TaskRecord], components: TaskRecord, code: str) -> list[Task]:
    partitions = _partitions(components.facts["documents"])
    tasks = []
    for unit, group in components.facts["units"].items():
        live, parts = units[int(unit)].file("live"), components.file("components")
        key = task_key(
            code, "route", config.model_dump(mode="json"), unit, live.sha256, parts.sha256, group, partitions
        )
        payload = RoutePayload(config, int(unit), live, parts, int(group), partitions)
        tasks.append(Task("dedup.route", units[int(unit)].label, key, route_unit, payload))
    return tasks


def _verify_tasks(config: Dedup, routed: Sequence[TaskRecord], documents: int, code: str) -> list[Task]:
    files = tuple(record.file("routed") for record in routed)
    identity = [code, "verify", config.model_dump(mode="json"), [entry.sha256 for entry in files]]
    return [
        Task(
            "dedup.verify",
            f"partition {partition}",
            task_key(*identity, partition),
            verify_partition,
            VerifyPayload(config, partition, files),
        )
        for partition in range(_partitions(documents))
    ]


def _partitions(documents: int) -> int:
    return max(1, math.ceil(documents / DOCUMENTS_PER_PARTITION))


def link_band(payload: BandPayload, context: Context) -> Result:
    """Task: the candidate edges of one band (or of one range of its keys) over all units."""
    keys = pa.concat_tables(
        [
            BAND_SCHEMA.empty_table(),
            *(_unit_keys(payload, unit, context.store) for unit in range(len(payload.sketches))),
        ]
    )
    edges = candidate_edges(keys)
    path = context.staging / "edges.parquet"
    return Result(files={"edges": Written(path, write_table(path, edges, row_group_rows=1 << 20))})


def _unit_keys(payload: BandPayload, unit: int, store: Store) -> pa.Table:
    table = read_partition(store, payload.sketches[unit], payload.band)
    keys = table.column("key").to_numpy()
    # float bounds would lose the low bits of 64-bit keys
    bounds = [(payload.part + i) * (1 << 64) // payload.parts for i in (0, 1)]
    low = int(np.searchsorted(keys, np.uint64(bounds[0])))
    high = len(keys) if bounds[1] == 1 << 64 else int(np.searchsorted(keys, np.uint64(bounds[1])))
    table = table.slice(low, high - low)
    docs = table.column("doc").to_numpy() | np.uint64(unit << ROW_BITS)
    return table.set_column(2, "doc", pa.array(docs, pa.uint64()))


def find_components(payload: ComponentPayload, context: Context) -> Result:
    """Task: connected components of all candidate edges; one row group per unit that takes part."""
    found = candidate_components(_edge_tables(payload.edges, context.store))
    path = context.staging / "components.parquet"
    units = write_by_unit(path, found)
    return Result(
        files={"components": Written(path, found.num_rows)}, facts={"units": units, "documents": found.num_rows}
    )


def _edge_tables(entries: Sequence[FileEntry], store: Store) -> Iterator[pa.Table]:
    for entry in entries:
        with fetch(store, entry) as file:
            yield from read_batches(file, rows=1 << 20)


def write_by_unit(path: Any, table: pa.Table) -> dict[str, int]:
    """Write a table with a ``doc`` column sorted by document, one row group per unit; returns unit -> row group."""
    docs = table.column("doc").to_numpy()
    order = np.argsort(docs, kind="stable")
    table, units = table.take(pa.array(order)), docs[order] >> np.uint64(ROW_BITS)
    present, starts = np.unique(units, return_index=True)
    ends = [*starts[1:], len(units)] if len(starts) else []
    parts = (table.slice(start, end - start) for start, end in zip(starts, ends, strict=True))
    write_partitions(path, parts, table.schema)
    return {str(unit): group for group, unit in enumerate(present)}


def route_unit(payload: RoutePayload, context: Context) -> Result:
    """Task: what verification needs to know about one unit's candidates, one row group per partition."""
    assigned = read_partition(context.store, payload.components, payload.group)
    rows = (assigned.column("doc").to_numpy() & ROW_MASK).astype(np.int64)
    with fetch(context.store, payload.live) as file:
        live = ShardReader(file).read(["id", "crawl", "date", "content"])
    table = live.take(pa.array(rows))
    for name in ("doc", "component"):
        table = table.append_column(name, assigned.column(name))
    routed = routed_rows(table, payload.config)
    target = partition_of(routed.column("component").to_numpy(), payload.partitions)
    parts = (routed.filter(pa.array(target == number)) for number in range(payload.partitions))
    path = context.staging / "routed.parquet"
    return Result(files={"routed": Written(path, write_partitions(path, parts, routed.schema))})


def verify_partition(payload: VerifyPayload, context: Context) -> Result:
    """Task: verdicts about all documents of one partition."""
    tables = [read_partition(context.store, entry, payload.partition) for entry in payload.routed]
    verdicts = verify(pa.concat_tables(tables).combine_chunks(), payload.config)
    path = context.staging / "verdicts.parquet"
    units = write_by_unit(path, verdicts)
    return Result(files={"verdicts": Written(path, verdicts.num_rows)}, facts={"units": units})

"""The map phase: a run of fused stages over one unit of input.

A segment reads either a unit of the source or the living rows of the segment before, applies the verdicts of the
barrier in between (duplicates, rank cut), runs its chain, and writes

    live.parquet        rows that go on
    rejected.parquet    rows with a verdict, text and all signals kept: thresholds can be changed afterwards
    quarantine.parquet  rows that could not be processed, with their raw bytes
    sketch.parquet      what the next barrier needs to know about the living rows (band keys, rank values)

Its ledger closes before it commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.ledger import Count, count, tally
from corpus.schema import give_verdict
from corpus.shards import ShardWriter, read_batches
from corpus.storage import FileEntry, Store, fetch
from pipeline.barriers import Barrier, Verdicts
from pipeline.chain import open_chain
from pipeline.task import Context, Result, Search, Written
from stages.read import SourceConfig, Unit, read_unit
from stages.stage import Stage

BATCH_ROWS = 256


@dataclass(frozen=True)
class Schemas:
    """The schemas of the three kinds of rows, known from the plan."""

    live: pa.Schema
    rejected: pa.Schema
    quarantine: pa.Schema


@dataclass(frozen=True)
class SegmentPayload:
    """Everything a segment task needs. Exactly one of ``unit`` and ``rows`` is set."""

    stages: tuple[Stage, ...]
    schemas: Schemas
    source: SourceConfig | None = None
    unit: Unit | None = None
    rows: FileEntry | None = None
    verdicts: Verdicts | None = None
    barrier: Barrier | None = None


def run_segment(payload: SegmentPayload, context: Context) -> Result:
    """Task function of every map phase."""
    chain = open_chain(payload.stages)
    outputs = _Outputs(payload, context)
    read = Count()
    with outputs:
        for batch in _selected(_batches(payload, context.store), context.search):
            read = Count(read.documents + batch.num_rows, read.bytes + count(batch).bytes)
            *fallen, live = chain.run(batch)
            outputs.write(live, fallen)
    ledger = tally(read, outputs.counted).close(where=f"segment over {_describe(payload)}")
    return Result(files=outputs.files, ledger=ledger, facts=outputs.facts, seconds=dict(chain.seconds))


def count_rows(payload: SegmentPayload, context: Context) -> Result:
    """Probe that only reads: how many rows the unit has."""
    rows = sum(batch.num_rows for batch in _batches(payload, context.store))
    return Result(ledger=tally(Count(rows), ()))


def _describe(payload: SegmentPayload) -> str:
    if payload.unit is not None:
        return f"{payload.unit.path}[{payload.unit.start}:{payload.unit.end}]"
    return payload.rows.name if payload.rows else "nothing"


def _batches(payload: SegmentPayload, store: Store) -> Iterator[pa.Table]:
    at = 0
    opened = payload.verdicts.open(store) if payload.verdicts else None
    for batch in _read(payload, store):
        yield opened(batch, at) if opened else batch
        at += batch.num_rows


def _read(payload: SegmentPayload, store: Store) -> Iterator[pa.Table]:
    if payload.unit is not None:
        assert payload.source is not None
        yield from read_unit(payload.unit, payload.source, batch_rows=BATCH_ROWS)
        return
    assert payload.rows is not None
    with fetch(store, payload.rows) as file:
        for batch in read_batches(file, rows=BATCH_ROWS):
            yield _with_verdict_columns(batch)


def _with_verdict_columns(batch: pa.Table) -> pa.Table:
    for name, kind in (("outcome", pa.string()), ("reason", pa.string()), ("detail", pa.large_string())):
        if name not in batch.column_names:
            batch = batch.append_column(name, pa.nulls(batch.num_rows, kind))
    return batch


def _selected(batches: Iterator[pa.Table], search: Search) -> Iterator[pa.Table]:
    """Apply a search: keep a range of rows, quarantine the rows known to kill."""
    at = 0
    for batch in batches:
        begin, end = at, at + batch.num_rows
        at = end
        batch = _without_killers(batch, [row - begin for row in search.skip if begin <= row < end])
        if search.only is None:
            yield batch
            continue
        low, high = max(search.only[0], begin), min(search.only[1], end)
        if low < high:
            yield batch.slice(low - begin, high - low)


def _without_killers(batch: pa.Table, guilty: list[int]) -> pa.Table:
    if not guilty:
        return batch
    mask = np.zeros(batch.num_rows, dtype=np.bool_)
    mask[guilty] = True
    detail: list[str | None] = ["the worker died whenever it processed this document"] * batch.num_rows
    return give_verdict(batch, mask, "quarantine/killed_worker", outcome="quarantined", detail=detail)


class _Outputs:
    """The files of one segment, written as rows come, and the columns that the ledger is tallied from."""

    def __init__(self, payload: SegmentPayload, context: Context) -> None:
        self.counted: list[pa.Table] = []
        self.facts: dict[str, Any] = {}
        self._staging, self._barrier = context.staging, payload.barrier
        self._sketches: list[pa.Table] = []
        schemas = payload.schemas
        self._writers = {
            role: ShardWriter(context.staging / f"{role}.parquet", schema, compression_level=1)
            for role, schema in (
                ("live", schemas.live),
                ("rejected", schemas.rejected),
                ("quarantine", schemas.quarantine),
            )
        }
        self._text_bytes = 0
        self.files: dict[str, Written] = {}

    def __enter__(self) -> _Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for writer in self._writers.values():
            writer.__exit__(kind, error, None)
        if kind is not None:
            return
        self.files = {role: Written(writer.path, writer.rows) for role, writer in self._writers.items()}
        self.facts = {"rows": self._writers["live"].rows, "text_bytes": self._text_bytes}
        if self._barrier is not None:
            path = self._staging / "sketch.parquet"
            self.files["sketch"] = Written(path, self._barrier.write_sketch(path, self._sketches))

    def write(self, live: pa.Table, fallen: list[pa.Table]) -> None:
        for table in [*fallen, live]:
            self.counted.append(table.select(["outcome", "reason", "source_bytes"]))
        for table in fallen:
            self._writers["rejected"].write(table)
            self._writers["quarantine"].write(table.filter(pc.equal(table.column("outcome"), "quarantined")))
        if live.num_rows:
            if self._barrier is not None:
                self._sketches.append(self._barrier.sketch(live, self._writers["live"].rows))
            self._text_bytes += int(pc.sum(pc.binary_length(live.column("content"))).as_py() or 0)
            self._writers["live"].write(live)

"""The last phase: living rows become shards of bounded size, the others are kept beside them.

Units are taken in the order of their keys (hashes: random with respect to the input, fixed by its content) and packed
into shards; inside a shard rows are ordered by a hash of their id, so that pages of one site are not neighbours. Each
shard reads the few units it is made of: one pass, no global sort. The ledger of what is published is counted here, from
the rows that are written, to be compared with what was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from corpus.commit import TaskRecord
from corpus.ledger import Count, tally
from corpus.schema import set_column
from corpus.shards import ShardReader, ShardWriter, align
from corpus.storage import FileEntry, fetch
from pipeline.segment import Schemas
from pipeline.task import Context, Result, Task, Written, task_key


@dataclass(frozen=True)
class Part:
    """A range of rows of one work file."""

    file: FileEntry
    start: int
    end: int


@dataclass(frozen=True)
class ShardPayload:
    """One shard to write. ``kind`` is the published folder it goes to."""

    kind: str
    parts: tuple[Part, ...]
    schema: pa.Schema
    row_group_rows: int


def shard_tasks(
    segments: Sequence[Sequence[TaskRecord]], schemas: Schemas, *, shard_bytes: int, row_group_rows: int, code: str
) -> list[Task]:
    """Tasks for all shards: ``segments`` holds the records of every map phase, in order."""
    last = sorted(segments[-1], key=lambda record: record.key)
    documents = [(record.file("live"), record.facts["text_bytes"]) for record in last]
    tasks = _pack("documents", documents, schemas.live, shard_bytes, row_group_rows, code)
    for kind, schema in (("rejected", schemas.rejected), ("quarantine", schemas.quarantine)):
        # compressed text is about a third of its size
        files = [(record.file(kind), 3 * record.file(kind).bytes) for records in segments for record in records]
        tasks += _pack(kind, files, schema, shard_bytes, row_group_rows, code)
    return tasks


def _pack(
    kind: str, files: Sequence[tuple[FileEntry, int]], schema: pa.Schema, limit: int, row_group_rows: int, code: str
) -> list[Task]:
    tasks = []
    for number, parts in enumerate(_bins(files, limit)):
        payload = ShardPayload(kind, parts, schema, row_group_rows)
        content = [[part.file.sha256, part.start, part.end] for part in parts]
        key = task_key(code, kind, content, str(schema), row_group_rows)
        tasks.append(Task("publish", f"{kind} {number:05d}", key, write_shard, payload))
    return tasks


def _bins(files: Sequence[tuple[FileEntry, int]], limit: int) -> Iterator[tuple[Part, ...]]:
    """Cut and pack files of (estimated) text sizes into bins of at most ``limit`` bytes, in order; at least one bin."""
    current: list[Part] = []
    room, bins = float(limit), 0
    for entry, size in files:
        per_row = max(size / entry.rows, 1.0) if entry.rows else 0.0
        at = 0
        while at < entry.rows:
            take = min(entry.rows - at, int(room // per_row))
            if take <= 0 and (current or room < limit):
                yield tuple(current)
                current, room, bins = [], float(limit), bins + 1
                continue
            take = max(take, 1)
            current.append(Part(entry, at, at + take))
            room -= take * per_row
            at += take
    if current or bins == 0:
        yield tuple(current)


def write_shard(payload: ShardPayload, context: Context) -> Result:
    """Task: write one shard and count what is in it."""
    tables = [payload.schema.empty_table()]
    for part in payload.parts:
        with fetch(context.store, part.file) as file:
            table = ShardReader(file).read().slice(part.start, part.end - part.start)
        tables.append(align(table, payload.schema))
    table = pa.concat_tables(tables).combine_chunks()
    if payload.kind == "documents":
        table = _counted(_mixed(table))
    path = context.staging / "shard.parquet"
    with ShardWriter(path, payload.schema, row_group_rows=payload.row_group_rows) as writer:
        writer.write(table)
    judged = table
    if payload.kind == "documents":
        nothing = pa.nulls(table.num_rows, pa.string())
        judged = table.append_column("outcome", nothing).append_column("reason", nothing)
    ledger = tally(Count(), [judged])
    return Result(files={payload.kind: Written(path, table.num_rows)}, ledger=ledger)


def _mixed(table: pa.Table) -> pa.Table:
    names = table.column("id").to_pylist()
    hashes = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], dtype=np.uint64)
    return table.take(pa.array(np.argsort(hashes, kind="stable")))


def _counted(table: pa.Table) -> pa.Table:
    """Refresh the counts about the text: masking may have changed it since they were taken."""
    from stages.signals import count_fields

    for name, values in count_fields(table.column("content").combine_chunks()).items():
        table = set_column(table, name, values)
    return table

"""Barriers: the two stages that must see the whole corpus, as the map phases before and after them see them.

A barrier has two faces. Before it, every unit leaves a *sketch* of its living rows (``Barrier``). Between, the driver
runs phases over the sketches. After it, every unit is handed *verdicts* about its rows (``Verdicts``). Rows are named
by their number in the unit's ``live.parquet``; across units a document is ``unit << 32 | row``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import alive, give_verdict, set_column
from corpus.shards import read_partition, write_partitions, write_table
from corpus.storage import FileEntry, Store
from stages.dedup import Dedup
from stages.dedup.steps import BAND_SCHEMA, band_rows
from stages.rank_cut import Cut, RankCut, apply_cut, rank_values

ROW_BITS = 32
ROW_MASK = np.uint64((1 << ROW_BITS) - 1)
Apply = Callable[[pa.Table, int], pa.Table]


class Barrier(Protocol):
    """What a map phase leaves for the barrier that follows it."""

    def sketch(self, live: pa.Table, first_row: int) -> pa.Table: ...
    def write_sketch(self, path: Path, sketches: list[pa.Table]) -> int: ...


class Verdicts(Protocol):
    """What a map phase gets from the barrier before it: ``open`` returns ``(batch, first_row) -> batch``."""

    def identity(self) -> object: ...
    def open(self, store: Store) -> Apply: ...


@dataclass(frozen=True)
class DedupBarrier:
    """Band keys of every living row, one row group per band."""

    config: Dedup

    def sketch(self, live: pa.Table, first_row: int) -> pa.Table:
        rows = np.arange(first_row, first_row + live.num_rows, dtype=np.uint64)
        return band_rows(pa.table({"content": live.column("content"), "doc": rows}), self.config)

    def write_sketch(self, path: Path, sketches: list[pa.Table]) -> int:
        table = pa.concat_tables([BAND_SCHEMA.empty_table(), *sketches]).combine_chunks()
        band, key, doc = (table.column(name).to_numpy() for name in ("band", "key", "doc"))
        table = table.take(pa.array(np.lexsort((doc, key, band))))
        edges = np.searchsorted(table.column("band").to_numpy(), np.arange(self.config.bands + 2))
        parts = (table.slice(edges[i], edges[i + 1] - edges[i]) for i in range(self.config.bands + 1))
        return write_partitions(path, parts, BAND_SCHEMA)


@dataclass(frozen=True)
class DedupVerdicts:
    """Where the verdicts about one unit's rows stand: (file, row group) pairs."""

    slices: tuple[tuple[FileEntry, int], ...]

    def identity(self) -> object:
        return [[entry.sha256, group] for entry, group in self.slices]

    def open(self, store: Store) -> Apply:
        tables = [read_partition(store, entry, group) for entry, group in self.slices]
        if not tables:
            return lambda batch, first_row: batch
        verdicts = pa.concat_tables(tables).combine_chunks()
        rows = (verdicts.column("doc").to_numpy() & ROW_MASK).astype(np.int64)
        order = np.argsort(rows)
        verdicts, rows = verdicts.take(pa.array(order)), rows[order]
        return lambda batch, first_row: _apply_duplicates(batch, first_row, rows, verdicts)


def _apply_duplicates(batch: pa.Table, first_row: int, rows: np.ndarray, verdicts: pa.Table) -> pa.Table:
    low, high = np.searchsorted(rows, [first_row, first_row + batch.num_rows])
    if low == high:
        return batch
    # position of every batch row in the verdicts; null where the barrier had nothing to say about it
    at = np.full(batch.num_rows, -1, dtype=np.int64)
    at[rows[low:high] - first_row] = np.arange(low, high)
    index = pa.array(at, mask=at < 0)
    told = verdicts.select(["cluster", "kind", "survivor", "similarity"]).take(index)
    for name in ("cluster", "survivor", "similarity"):
        batch = set_column(batch, name, told.column(name).combine_chunks())
    kinds = told.column("kind").to_pylist()
    doomed = np.array([kind in ("exact", "near") for kind in kinds], dtype=np.bool_)
    reasons: list[str | None] = [f"duplicate/{kind}" if hit else None for kind, hit in zip(kinds, doomed, strict=True)]
    batch = give_verdict(batch, doomed, reasons, outcome="duplicate")
    keeps = pa.array(alive(batch))
    return _forget_survivor(batch, keeps)


def _forget_survivor(batch: pa.Table, keeps: pa.Array) -> pa.Table:
    """A document that stands for its cluster has no survivor and no similarity of its own."""
    for name in ("survivor", "similarity"):
        column = batch.column(name)
        batch = set_column(batch, name, pc.if_else(keeps, pa.scalar(None, column.type), column))
    return batch


@dataclass(frozen=True)
class RankBarrier:
    """The value by which every living row is ranked."""

    config: RankCut

    def sketch(self, live: pa.Table, first_row: int) -> pa.Table:
        del first_row  # rows are told apart by id
        return pa.table({"id": live.column("id"), "value": rank_values(live, self.config)})

    def write_sketch(self, path: Path, sketches: list[pa.Table]) -> int:
        schema = pa.schema([("id", pa.string()), ("value", pa.float64())])
        return write_table(path, pa.concat_tables([schema.empty_table(), *sketches]))


@dataclass(frozen=True)
class RankVerdicts:
    """The cut point, the same for all units."""

    config: RankCut
    cut: Cut

    def identity(self) -> object:
        return [self.config.model_dump(mode="json"), list(self.cut)]

    def open(self, store: Store) -> Apply:
        del store  # the cut travels by value
        return lambda batch, first_row: apply_cut(batch, self.cut, self.config)

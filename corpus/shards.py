"""Parquet files, written so that equal content gives equal bytes.

Files carry no time, host or user; writer options are fixed here; the schema comes from the plan, never from the first
document. ``ShardWriter`` buffers rows into row groups of a fixed number of rows, which bounds memory and gives loaders
a unit to seek by. After closing, the file is opened again and its footer checked: a torn file never gets published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import StorageError
from corpus.storage import FileEntry, Store

ROW_GROUP_ROWS = 1024
ROW_GROUP_BYTES = 64 << 20


class ShardWriter:
    """Writes tables of one schema to a local Parquet file, zstd-compressed. Use as a context manager."""

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        row_group_rows: int = ROW_GROUP_ROWS,
        compression_level: int = 3,
        page_checksums: bool = False,
    ) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._group_rows, self._pending, self._pending_rows = row_group_rows, list[pa.Table](), 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=compression_level,
            version="2.6",
            store_schema=True,
            write_page_checksum=page_checksums,
        )

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush(everything=True)
        self._writer.close()
        if kind is None:
            self._verify()

    def write(self, table: pa.Table) -> None:
        """Append rows. ``table`` is aligned with the schema first: missing columns become nulls."""
        if table.num_rows:
            self._pending.append(align(table, self.schema))
            self._pending_rows += table.num_rows
            self.rows += table.num_rows
            self._flush(everything=False)

    def _flush(self, *, everything: bool) -> None:
        if not self._pending or (not everything and self._pending_rows < self._group_rows):
            return
        table = pa.concat_tables(self._pending).combine_chunks()
        whole = table.num_rows if everything else table.num_rows - table.num_rows % self._group_rows
        for start in range(0, whole, self._group_rows):
            self._writer.write_table(
                table.slice(start, min(self._group_rows, whole - start)), row_group_size=self._group_rows
            )
        rest = table.slice(whole)
        self._pending = [rest] if rest.num_rows else []
        self._pending_rows = rest.num_rows

    def _verify(self) -> None:
        footer = pq.read_metadata(self.path)
        if footer.num_rows != self.rows:
            raise StorageError(f"{self.path.name}: wrote {self.rows} rows, the footer says {footer.num_rows}")


class ShardReader:
    """A Parquet file, read on the calling thread alone.

    A task has one core anyway. And a thread of Arrow's pool that still holds a Python file when the interpreter goes
    down kills the process ("terminate called without an active exception").
    """

    def __init__(self, file: IO[bytes], *, check_pages: bool = False) -> None:
        self._parquet = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=check_pages)
        self.schema: pa.Schema = self._parquet.schema_arrow
        self.rows: int = self._parquet.metadata.num_rows
        self.groups: int = self._parquet.num_row_groups

    @property
    def group_rows(self) -> tuple[int, ...]:
        """Rows of each row group."""
        footer = self._parquet.metadata
        return tuple(footer.row_group(number).num_rows for number in range(footer.num_row_groups))

    @property
    def leaves(self) -> list[str]:
        """Dotted names of the stored columns: those of structs field by field."""
        schema = self._parquet.schema
        return [schema.column(number).path for number in range(len(schema))]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows. ``columns`` are names or dotted names; default all."""
        return self._parquet.read(columns=columns, use_threads=False)

    def group(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one row group."""
        return self._parquet.read_row_group(number, columns=columns, use_threads=False)


def write_table(path: Path, table: pa.Table, *, row_group_rows: int = ROW_GROUP_ROWS) -> int:
    """Write one table; returns its rows."""
    with ShardWriter(path, table.schema, row_group_rows=row_group_rows) as writer:
        writer.write(table)
    return int(table.num_rows)


def write_partitions(path: Path, parts: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write each table of ``parts`` as one row group (empty ones too): slices of a shuffle (``read_partition``)."""
    rows = 0
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, version="2.6", write_page_checksum=True
    ) as writer:
        for part in parts:
            writer.write_table(part.cast(schema), row_group_size=max(part.num_rows, 1))
            rows += part.num_rows
    return rows


def read_partition(store: Store, entry: FileEntry, partition: int) -> pa.Table:
    """One slice of a file made by ``write_partitions``. Page checksums stand in for hashing the whole file."""
    if store.size(entry.name) != entry.bytes:
        raise StorageError(f"{entry.name} has another size than when it was written", where=store.root)
    with store.open(entry.name) as file:
        return ShardReader(file, check_pages=True).group(partition)


def read_batches(
    file: IO[bytes], *, rows: int = ROW_GROUP_ROWS, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the tables of a Parquet file, one row group at a time, cut to at most ``rows`` rows."""
    shard = ShardReader(file)
    for number in range(shard.groups):
        table = shard.group(number, columns)
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)


def align(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with exactly the columns of ``schema``: others are left out, missing ones are null."""
    if table.schema.equals(schema):
        return table
    columns = [_aligned_column(table, field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _aligned_column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table.column(field.name)
    if column.type.equals(field.type):
        return column
    if not pa.types.is_struct(field.type):
        return column.cast(field.type)
    return _aligned_struct(column.combine_chunks(), field.type)


def _aligned_struct(column: pa.StructArray, wanted: pa.StructType) -> pa.StructArray:
    have = {field.name for field in column.type}
    arrays = [
        pc.struct_field(column, field.name).cast(field.type)
        if field.name in have
        else pa.nulls(len(column), field.type)
        for field in wanted
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(wanted), mask=column.is_null())

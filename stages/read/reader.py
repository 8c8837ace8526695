"""Read a unit: the one verb of this package.

Yields tables of schema ``corpus.schema.TRAVEL``, one row per record, in file order; records that are passed over have
a verdict, so the rows of all units of a file are its records. Memory: one batch, one record, one read-ahead window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from corpus.errors import SourceError

from .framing import PieceFeed
from .interpret import Origin, interpret
from .members import CODECS, MemberStream
from .rows import Row, batches
from .sniff import GRAMMARS
from .storage import RangeReader, open_range
from .units import SourceConfig, Unit
from .walk import walk_range

_HEAD_ROOM = 1 << 20


def read_unit(
    unit: Unit, source: SourceConfig, *, batch_rows: int = 256, batch_bytes: int = 32 << 20
) -> Iterator[pa.Table]:
    """Tables with one row per record that begins in the unit, in file order.

    A table has at most ``batch_rows`` rows and is closed once it holds ``batch_bytes`` of payload. Raises
    ``SourceError`` when the file cannot be opened or read, or has changed its size since it was planned; nothing that
    stands in the file makes it raise.
    """
    if unit.format == "parquet":
        from .text_rows import parquet_rows

        yield from batches(parquet_rows(unit, source), batch_rows=batch_rows, batch_bytes=batch_bytes)
        return
    with open_range(unit.path, source.storage_options, unit.size) as reader:
        if reader.size != unit.size:
            fix = "plan again: the input changed under the run"
            raise SourceError(f"the file has {reader.size} bytes, planned were {unit.size}", where=unit.path, fix=fix)
        yield from batches(_rows(reader, unit, source), batch_rows=batch_rows, batch_bytes=batch_bytes)


def _rows(reader: RangeReader, unit: Unit, source: SourceConfig) -> Iterator[Row]:
    if unit.format == "jsonl":
        from .text_rows import jsonl_rows

        yield from jsonl_rows(reader, unit, source)
        return
    origin = Origin(unit.path, unit.crawl, unit.format, source.max_payload)
    frames = walk_range(
        reader,
        unit.start,
        unit.end,
        compression=unit.compression,
        per_record=unit.per_record,
        grammar=GRAMMARS[unit.format],
        limit=source.max_payload + _HEAD_ROOM,
    )
    for frame in frames:
        yield interpret(frame, origin)


def fetch_record(path: str, offset: int, length: int, *, options: Mapping[str, str] | None = None) -> bytes:
    """The raw record (WARC or ARC header and block) at a place that a row names, decompressed where needed.

    One range request. At most 1 GiB is given back. Not for records of whole-file compression, whose places count in
    the uncompressed stream.
    """
    with open_range(path, options or {}) as reader:
        raw = bytes(reader.view(offset, length))
        for codec in CODECS.values():
            if raw.startswith(codec.magic):
                return bytes(PieceFeed(MemberStream(reader, offset, codec).pieces()).peek(1 << 30))
    return raw

"""Rows and batches: one row per record, in the schema ``corpus.schema.TRAVEL``.

``batches`` closes a batch at a number of rows or of payload bytes, whichever comes first, so that a few huge pages
do not make a huge table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pyarrow as pa
import xxhash

from corpus.schema import TRAVEL, Outcome

_COUNT = len(TRAVEL)


class Row(NamedTuple):
    """One record. Field for field the columns of ``TRAVEL``."""

    id: str
    url: str | None
    crawl: str | None
    date: str | None
    warc_path: str
    warc_offset: int
    warc_length: int
    source_bytes: int
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str | None = None
    http_content_type: str | None = None
    truncated: str | None = None
    html: bytes | None = None
    content: str | None = None


if Row._fields != tuple(TRAVEL.names):  # the two must not drift apart
    raise TypeError(f"Row {Row._fields} does not match TRAVEL {TRAVEL.names}")


def record_id(path: str, offset: int, url: str | None, nth: int = 0) -> str:
    """32 hex digits that name a record by file name, place and URL: equal wherever the file lies.

    ``nth`` tells records apart that share an offset (several in one gzip member).
    """
    name = path.rstrip("/").rpartition("/")[2]
    place = f"{offset}+{nth}" if nth else str(offset)
    return xxhash.xxh3_128_hexdigest(f"{name}\0{place}\0{url or ''}".encode("utf-8", "surrogatepass"))


def batches(rows: Iterable[Row], *, batch_rows: int, batch_bytes: int) -> Iterator[pa.Table]:
    """Tables of at most ``batch_rows`` rows, closed early once they hold ``batch_bytes`` of payload."""
    held: list[Row] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row.html or b"") + len(row.content or "")
        if len(held) >= batch_rows or size >= batch_bytes:
            yield to_table(held)
            held, size = [], 0
    if held:
        yield to_table(held)


def to_table(rows: list[Row]) -> pa.Table:
    """The rows as one table of schema ``TRAVEL``."""
    columns = zip(*rows, strict=True) if rows else [()] * _COUNT
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TRAVEL, strict=True)]
    return pa.Table.from_arrays(arrays, schema=TRAVEL)

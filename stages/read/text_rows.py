"""Documents that are text already: JSON lines and Parquet.

The text is sanitised and goes into ``content``; ``html`` stays null. A row without text, and a line that is no JSON
object, is quarantined with its cause. Documents of a corpus of ours keep the place in the crawl that they were taken
from. A given id is taken over as a string: whether ids are unique is the user's
matter, and rows without one get the id that any record gets. Memory: one line, or one batch of rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.errors import SourceError

from .framing import SAMPLE
from .grammar import normal_date
from .members import CODECS, walk_members
from .rows import Row, record_id
from .storage import RangeReader, filesystem, is_remote, local_path
from .text import sanitise_text
from .units import SourceConfig, Unit, require_text_column

_STEP = 1 << 20
_COLUMN_ROWS = 256
_ORIGIN = ("warc_path", "warc_offset", "warc_length")


def jsonl_rows(reader: RangeReader, unit: Unit, source: SourceConfig) -> Iterator[Row]:
    """One row per line that is not blank. Offsets of compressed files count in the uncompressed stream."""
    limit = source.max_payload
    if unit.compression != "none":
        yield from _compressed_lines(reader, unit, source)
        return
    start = unit.start
    if start > 0:  # a line belongs to the unit in which it starts
        line_end = reader.find(b"\n", start - 1, reader.size)
        start = reader.size if line_end < 0 else line_end + 1
    pieces = (bytes(reader.view(at, _STEP)) for at in range(start, reader.size, _STEP))
    for offset, length, line in split_lines(pieces, start, limit):
        if offset >= unit.end:
            return
        yield from _line(_Place(offset, length, line), unit, source)


def _compressed_lines(reader: RangeReader, unit: Unit, source: SourceConfig) -> Iterator[Row]:
    faults: list[tuple[str, bool, int]] = []

    def pieces() -> Iterator[bytes]:
        for member in walk_members(reader, 0, reader.size, CODECS[unit.compression], measure=False):
            yield from member.pieces
            if member.stream.fault:
                faults.append((member.stream.fault, member.stream.cut, member.offset))
                return

    end = 0
    for offset, length, line in split_lines(pieces(), 0, source.max_payload):
        end = offset + length
        if faults and not line.endswith(b"\n"):
            end = offset  # the line that the damage cut: told below
            break
        yield from _line(_Place(offset, length, line), unit, source)
    for fault, cut, stored in faults:
        reason = "quarantine/truncated_file" if cut else "quarantine/broken_framing"
        raw = bytes(reader.view(stored, SAMPLE))
        yield _quarantined(unit, _Place(end, reader.size - stored, raw), reason, fault)


def split_lines(pieces: Iterable[bytes], start: int, limit: int) -> Iterator[tuple[int, int, bytes]]:
    """``(offset, length, line)`` with the line end included; of longer lines only ``limit`` + 1 bytes are kept."""
    parts: list[bytes] = []
    length = held = 0
    for piece in pieces:
        for part in piece.splitlines(keepends=True) if b"\r" not in piece else _keep_newlines(piece):
            length += len(part)
            if held <= limit:
                parts.append(part[: limit + 1])
                held += len(part)
            if part[-1:] == b"\n":
                yield start, length, parts[0] if len(parts) == 1 else b"".join(parts)
                start, parts, length, held = start + length, [], 0, 0
    if length:
        yield start, length, b"".join(parts)


def _keep_newlines(piece: bytes) -> list[bytes]:
    """Cut after LF only (``bytes.splitlines`` also cuts at a lone CR)."""
    lines = [line + b"\n" for line in piece.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _line(place: _Place, unit: Unit, source: SourceConfig) -> Iterator[Row]:
    length, line = place.length, place.raw
    if length > source.max_payload:
        yield _quarantined(unit, place, "quarantine/oversize", f"a line of {length} bytes")
        return
    if not line.strip():
        return
    try:
        document = _parse(line)
    except (ValueError, RecursionError) as error:
        yield _quarantined(unit, place, "quarantine/bad_json", str(error)[:500])
        return
    if not isinstance(document, dict):
        yield _quarantined(unit, place, "quarantine/bad_json", "not an object")
        return
    yield _document(document, place, unit, source)


def _parse(line: bytes) -> Any:
    import orjson

    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # The standard library also takes lone surrogates, NaN and huge numbers; bytes that are no UTF-8 are replaced.
        return json.loads(line.decode("utf-8-sig", "replace"))


class _Place(NamedTuple):
    """Where a document lies, and its bytes there as far as they are worth keeping."""

    offset: int
    length: int
    raw: bytes


def _document(fields: Mapping[str, Any], place: _Place, unit: Unit, source: SourceConfig) -> Row:
    text = fields.get(source.text_field)
    url_value = fields.get(source.url_field)
    url = sanitise_text(url_value) if isinstance(url_value, str) and url_value else None
    given = fields.get(source.id_field)
    path, offset, length = _origin(fields) or (unit.path, place.offset, place.length)
    crawl = fields.get("crawl")
    row = Row(
        id=record_id(unit.path, place.offset, url) if given in (None, "") else sanitise_text(str(given)),
        url=url,
        crawl=crawl if isinstance(crawl, str) and not unit.crawl else unit.crawl,
        date=_date(fields.get(source.date_field)),
        warc_path=path,
        warc_offset=offset,
        warc_length=length,
        source_bytes=len(place.raw),
    )
    if not isinstance(text, str):
        what = "null" if text is None else type(text).__name__
        return row._replace(
            outcome="quarantined",
            reason="quarantine/no_text",
            detail=f"{source.text_field}: {what}",
            html=place.raw[:SAMPLE],
        )
    content = sanitise_text(text)
    row = row._replace(source_bytes=len(content.encode()))
    if row.source_bytes > source.max_payload:
        cut = content[: SAMPLE // 4].encode()
        return row._replace(outcome="quarantined", reason="quarantine/oversize", detail="a long text", html=cut)
    if not content or content.isspace():
        return row._replace(outcome="rejected", reason="record/empty@1")
    return row._replace(content=content)


def _origin(fields: Mapping[str, Any]) -> tuple[str, int, int] | None:
    """The place in a crawl that a document of ours was taken from: it is told on, however often it is read again."""
    path, offset, length = (fields.get(name) for name in _ORIGIN)
    if isinstance(path, str) and path and type(offset) is int and type(length) is int:
        return sanitise_text(path), offset, length
    return None


def _date(value: Any) -> str | None:
    return normal_date(value.isoformat() if isinstance(value, date) else str(value)) if value else None


def _quarantined(unit: Unit, place: _Place, reason: str, detail: str) -> Row:
    return Row(
        id=record_id(unit.path, place.offset, None),
        url=None,
        crawl=unit.crawl,
        date=None,
        warc_path=unit.path,
        warc_offset=place.offset,
        warc_length=place.length,
        source_bytes=place.length,
        outcome="quarantined",
        reason=reason,
        detail=detail,
        html=place.raw[:SAMPLE],
    )


def open_parquet(path: str, options: Mapping[str, str]) -> Any:
    """A ``pyarrow.parquet.ParquetFile``. Raises ``SourceError`` when the footer cannot be read."""
    import pyarrow.parquet as pq

    try:
        if is_remote(path):
            fs, inner = filesystem(path, options)
            return pq.ParquetFile(fs.open(inner, "rb"), pre_buffer=False)
        return pq.ParquetFile(local_path(path))
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"no readable Parquet file: {error}", where=path, fix="leave it out") from error


def parquet_rows(unit: Unit, source: SourceConfig) -> Iterator[Row]:
    """One row per row of the unit's row groups; ``warc_offset`` is the row's number in the file."""
    with open_parquet(unit.path, source.storage_options) as file:
        names = file.schema_arrow.names
        require_text_column(names, source, unit.path)
        wanted = (source.text_field, source.id_field, source.url_field, source.date_field, "crawl", *_ORIGIN)
        columns = [name for name in dict.fromkeys(wanted) if name in names]
        metadata = file.metadata
        offset = sum(metadata.row_group(group).num_rows for group in range(unit.start))
        for group in range(unit.start, unit.end):
            stop = offset + metadata.row_group(group).num_rows
            try:
                # on this thread alone: see corpus.shards.ShardReader
                for batch in file.iter_batches(_COLUMN_ROWS, row_groups=[group], columns=columns, use_threads=False):
                    for fields in _plain_rows(batch):
                        yield _document(fields, _Place(offset, 1, b""), unit, source)
                        offset += 1
            except (OSError, pa.ArrowException) as error:
                detail = f"row group {group}: {error}"[:500]
                yield _quarantined(unit, _Place(offset, stop - offset, b""), "quarantine/broken_framing", detail)
                offset = stop


def _plain_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries; strings that are no UTF-8 are repaired instead of raising."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        kind = values.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            values = values.cast(pa.large_binary())
            columns[name] = [None if v is None else v.decode("utf-8", "replace") for v in values.to_pylist()]
        else:
            columns[name] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.to_pylist()]
    for index in range(batch.num_rows):
        yield {name: values[index] for name, values in columns.items()}

"""What to read, and how it is cut into units of work.

``plan_units`` lists the files, looks at the first bytes of each, and cuts large ones so that a crash costs minutes and
not a file. It does not scan them, except that local files are hashed in full: the hash is the identity of the work.

How ``Unit.start`` and ``Unit.end`` are meant: per-record gzip and JSON lines may be cut at any byte, and a unit has
the records that begin in ``start <= offset < end`` (each reader finds the first one by itself, all agree); plain WARC
and ARC are cut where a record starts, found by hopping from header to header; Parquet counts row groups. A file that
is one compressed member, and every zstd or LZ4 file, is one unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from corpus.errors import SourceError
from corpus.settings import Settings

from .listing import expand
from .sniff import GRAMMARS, Compression, Format, Kind, sniff
from .storage import FileFacts, RangeReader, facts, open_range
from .walk import walk_range

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*\Z", re.IGNORECASE)
_CRAWL = re.compile(r"CC-MAIN-\d{4}-\d{2}(?!\d)")
_SECRET = re.compile(r"secret|token|passw|credential|^key$|api_?key", re.IGNORECASE)
_USERINFO = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*@", re.IGNORECASE)
_PLANNERS = 16


def parse_size(value: Any) -> Any:
    """``"64MiB"`` -> 67108864, ``"1.5 GB"`` -> 1500000000; other values are left to pydantic."""
    if not isinstance(value, str):
        return value
    match = _SIZE.match(value)
    if match is None:
        raise ValueError(f"{value!r} is no size; write for example 64MiB or 67108864")
    base = 1024 if match[3] else 1000
    return round(Decimal(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def refuse_secrets(options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for an option, at any depth, whose name says that it is a secret."""
    for name, value in options.items():
        if _SECRET.search(str(name)):
            raise ValueError(f"{name!r} looks like a secret: put it into the environment, not into the manifest")
        if isinstance(value, Mapping):
            refuse_secrets(value)


def refuse_userinfo(path: str) -> None:
    """Raise ``ValueError`` for a URL with a user or password in it: paths are written into every row."""
    if _USERINFO.match(path):
        raise ValueError("a URL with a password in it would be written into every row: copy the files first")


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d.*$"}]}),
]


class SourceConfig(Settings):
    """Where documents come from. Secrets are never written here: file systems take them from the environment."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Files, directories, globs, s3:// or https:// URLs, or listings (*.paths, *.paths.gz, *.txt: one path a line)."""
    format: Literal["auto", "warc", "arc", "wet", "jsonl", "parquet"] = "auto"
    """Format of all files; auto looks at the content of each."""
    prefix: str | None = None
    """Put before the relative lines of a listing; by default the root of the listing's bucket or server."""
    crawl: str | None = None
    """Name of the crawl; by default taken from the path (CC-MAIN-2024-10), else empty."""
    unit_bytes: Size = Field(default=64 << 20, ge=1)
    """Size of a unit of work in stored bytes, such as 64MiB."""
    max_payload: Size = Field(default=64 << 20, ge=1)
    """Longest page, line or text that is read; longer ones are quarantined."""
    text_field: str = "text"
    """Field or column with the text, in JSON lines and Parquet."""
    id_field: str = "id"
    """Field or column with the document's id; ids are expected to be unique over the whole input."""
    url_field: str = "url"
    """Field or column with the URL."""
    date_field: str = "date"
    """Field or column with the fetch or publication date."""
    storage_options: dict[str, str] = Field(default_factory=dict)
    """Options of the file system, such as anon: "true" or endpoint_url. No secrets."""
    limit_files: int | None = Field(default=None, ge=1)
    """Read only this many files, the first ones."""

    @field_validator("storage_options")
    @classmethod
    def _no_secrets(cls, options: dict[str, str]) -> dict[str, str]:
        refuse_secrets(options)
        return options

    @field_validator("paths")
    @classmethod
    def _no_passwords(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            refuse_userinfo(path)
        return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A piece of one file: what one task reads."""

    path: str
    format: Format
    compression: Compression
    per_record: bool
    """Each record is a compressed member of its own, so that offsets are byte positions in the file."""
    start: int
    end: int
    """Bytes, or row groups for Parquet; see the head of this module."""
    size: int
    """Bytes of the whole file."""
    index: int
    """Position in the plan."""
    crawl: str
    fingerprint: str
    """Of the whole file: xxh3_128 of a local one, what the server says of a remote one."""


def plan_units(source: SourceConfig) -> list[Unit]:
    """All units of ``source``, in an order that depends on the files only. Raises ``SourceError``."""
    paths = expand(source.paths, prefix=source.prefix, options=source.storage_options)[: source.limit_files]
    with ThreadPoolExecutor(_PLANNERS) as pool:
        planned = [unit for units in pool.map(partial(_plan_file, source=source), paths) for unit in units]
    return [replace(unit, index=index) for index, unit in enumerate(planned)]


def _plan_file(path: str, *, source: SourceConfig) -> list[Unit]:
    known = facts(path, source.storage_options)
    with open_range(path, source.storage_options, known.size) as reader:
        kind = sniff(reader, path, source.format)
        cuts = list(_cuts(reader, kind, known, source))
    crawl = source.crawl
    if crawl is None:
        named = _CRAWL.search(path)
        crawl = named[0] if named else ""
    return [
        Unit(
            path=path,
            format=kind.format,
            compression=kind.compression,
            per_record=kind.per_record,
            start=start,
            end=end,
            size=known.size,
            index=0,
            crawl=crawl,
            fingerprint=known.fingerprint,
        )
        for start, end in pairwise(cuts)
    ]


def _cuts(reader: RangeReader, kind: Kind, known: FileFacts, source: SourceConfig) -> Iterator[int]:
    """Borders of the units of one file, both ends included."""
    if kind.format == "parquet":
        yield from _parquet_cuts(known, source)
        return
    plain = kind.compression == "none"
    anywhere = plain if kind.format == "jsonl" else kind.per_record and kind.compression == "gzip"
    if anywhere:
        count = max(1, -(-known.size // source.unit_bytes))
        yield from (known.size * part // count for part in range(count))
    elif plain and known.size > source.unit_bytes:
        yield from _record_cuts(reader, kind, source)
    else:
        yield 0
    yield known.size


def _record_cuts(reader: RangeReader, kind: Kind, source: SourceConfig) -> Iterator[int]:
    walk = walk_range(
        reader,
        0,
        reader.size,
        compression="none",
        per_record=False,
        grammar=GRAMMARS[kind.format],
        limit=source.max_payload,
        blocks=False,
    )
    wanted = 0
    for frame in walk:
        if frame.offset >= wanted:
            yield frame.offset
            wanted = frame.offset + source.unit_bytes


def _parquet_cuts(known: FileFacts, source: SourceConfig) -> Iterator[int]:
    from .text_rows import open_parquet

    with open_parquet(known.path, source.storage_options) as file:
        metadata = file.metadata
        held = 0
        yield 0
        for group in range(metadata.num_row_groups):
            if held and held + metadata.row_group(group).total_byte_size > source.unit_bytes:
                yield group
                held = 0
            held += metadata.row_group(group).total_byte_size
        if metadata.num_row_groups:
            yield metadata.num_row_groups


def require_text_column(names: list[str], source: SourceConfig, path: str) -> None:
    """Raise ``SourceError`` where a Parquet file has no text column: that is a wrong setting, not a bad row."""
    if source.text_field not in names:
        fix = f"set source.text_field to one of: {', '.join(names[:20])}"
        raise SourceError(f"there is no column {source.text_field!r}", where=path, fix=fix)

"""What a file is, told from its first bytes, not from its name.

A name only helps where the content says nothing (a damaged or foreign file called ``.warc``). Reads a few records at
most.
"""

from __future__ import annotations

from itertools import islice
from typing import Literal, NamedTuple

from corpus.errors import SourceError

from .framing import PieceFeed, walk_records
from .grammar import ARC, WARC, Grammar, Header
from .members import CODECS, MemberStream
from .storage import RangeReader
from .walk import walk_range

Format = Literal["warc", "arc", "wet", "jsonl", "parquet"]
Compression = Literal["none", "gzip", "zstd", "lz4"]
GRAMMARS: dict[str, Grammar] = {"warc": WARC, "wet": WARC, "arc": ARC}
_NAMES: tuple[tuple[str, Format], ...] = (
    (".wet", "wet"),
    (".warc", "warc"),
    (".wat", "warc"),
    (".arc", "arc"),
    (".jsonl", "jsonl"),
    (".ndjson", "jsonl"),
    (".json", "jsonl"),
    (".parquet", "parquet"),
)
_SNIFF_LIMIT = 1 << 20
_UNREADABLE = ((0, b"BZh", "bzip2"), (0, b"\xfd7zX", "xz"), (1, b"\x2a\x4d\x18", "zstd with a dictionary in front"))


class Kind(NamedTuple):
    """Format, compression, and whether each record is a compressed member of its own."""

    format: Format
    compression: Compression
    per_record: bool


def sniff(reader: RangeReader, path: str, wanted: Format | Literal["auto"] = "auto") -> Kind:
    """Tell what the file is; ``wanted`` fixes the format. Raises ``SourceError`` where nothing fits."""
    compression = _compression(reader, path)
    start = bytes(_content(reader, compression).peek(_SNIFF_LIMIT)).lstrip(b"\r\n")
    format_ = _format(start, path) if wanted == "auto" else wanted
    if format_ == "parquet":
        return Kind("parquet", "none", per_record=False)
    if format_ == "jsonl":
        return Kind("jsonl", compression, per_record=False)
    if format_ is None:
        fix = "set source.format to warc, arc, wet, jsonl or parquet, or leave the file out"
        raise SourceError(f"cannot tell what this file is: it starts with {start[:16]!r}", where=path, fix=fix)
    kind = Kind(format_, compression, _per_record(reader, compression, GRAMMARS[format_]))
    return kind._replace(format="wet") if wanted == "auto" and format_ == "warc" and _is_wet(reader, kind) else kind


def _compression(reader: RangeReader, path: str) -> Compression:
    magic = bytes(reader.view(0, 4))
    for at, mark, what in _UNREADABLE:
        if magic[at:].startswith(mark):
            fix = "recompress the file with gzip, one member per record"
            raise SourceError(f"{what} cannot be read", where=path, fix=fix)
    names: tuple[Compression, ...] = ("gzip", "zstd", "lz4")
    for name in names:
        if magic.startswith(CODECS[name].magic):
            return name
    return "none"


def _content(reader: RangeReader, compression: Compression) -> PieceFeed:
    if compression == "none":
        return PieceFeed([bytes(reader.view(0, _SNIFF_LIMIT))])
    return PieceFeed(MemberStream(reader, 0, CODECS[compression]).pieces())


def _format(start: bytes, path: str) -> Format | None:
    if start[:4] == b"PAR1":
        return "parquet"
    if start[:5].upper() == b"WARC/":
        return "warc"
    if start.lstrip()[:1] == b"{":
        return "jsonl"
    if isinstance(ARC.read(PieceFeed([start])), Header):
        return "arc"
    name = path.rpartition("/")[2].lower()
    return next((format_ for part, format_ in _NAMES if part in name), None)


def _per_record(reader: RangeReader, compression: Compression, grammar: Grammar) -> bool:
    """Does the first member hold one record only?"""
    if compression == "none":
        return False
    frames = walk_records(_content(reader, compression), grammar, stop=1 << 62, limit=_SNIFF_LIMIT, blocks=False)
    return len(list(islice(frames, 2))) < 2


def _is_wet(reader: RangeReader, kind: Kind) -> bool:
    walk = walk_range(
        reader,
        0,
        reader.size,
        compression=kind.compression,
        per_record=kind.per_record,
        grammar=WARC,
        limit=_SNIFF_LIMIT,
    )
    kinds = [frame.header.kind for frame in islice(walk, 3) if frame.header]
    first = next((kind_ for kind_ in kinds if kind_ != "warcinfo"), None)
    return first == "conversion"

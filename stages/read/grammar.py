"""The headers of WARC and ARC records, read tolerantly.

Strict readers lose records that real archives hold: folded header values, bare LF line ends, lower-case version
lines, blanks in ARC URLs. This module reads one header at one place and says where its block ends; whether the
block really ends there is decided in ``framing``. Pages: ISO 28500 (WARC 1.1), the Internet Archive's ARC 1.0
format description. Linear in the header, which is at most 1 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

HEADER_LIMIT = 1 << 20
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_VERSION = re.compile(rb"(?i:WARC)/\d{1,3}\.\d{1,3}[ \t]*\r?\n")
_WARC_START = re.compile(rb"\n(?=(?i:WARC)/\d{1,3}\.\d{1,3}[ \t]*\r?\n[A-Za-z][\w-]{0,63}[ \t]*:)")
_WARC_WHOLE = re.compile(
    rb"(?i:WARC)/\d{1,3}\.\d{1,3}[ \t]*\r?\n(?:[A-Za-z][^:\s]*[ \t]*:[^\n]*\n|[ \t]+[^\s][^\n]*\n)*+\r?\n"
)
_NUMBER = re.compile(rb"\d{1,18}\Z")
_ARC_START = re.compile(rb"\n(?=[A-Za-z][\w+.-]{0,30}:)")
_ARC_URL = re.compile(rb"[A-Za-z][\w+.-]{0,30}:")
_ARC_DATE = re.compile(rb"\d{8,32}\Z")
_ARC_LINE_LIMIT = 1 << 16
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?)?)?(?:Z|([+-])(\d\d):?(\d\d))?\Z"
)


class Peekable(Protocol):
    """Something whose next bytes can be looked at."""

    def peek(self, length: int) -> memoryview: ...


class Header(NamedTuple):
    """One record header. ``size`` and ``block_length`` are bytes; strings are as recorded, null where absent."""

    size: int
    block_length: int
    kind: str
    url: str | None
    date: str | None
    content_type: str | None
    truncated: str | None


class Grammar(NamedTuple):
    """How records of one format begin."""

    name: str
    start: re.Pattern[bytes]
    """Matches the line end before something that looks like a record."""
    whole: re.Pattern[bytes]
    """Matches a complete header, strictly: for what is found by searching. It fails at the next version line at the
    latest, so that a search through any input takes linear time."""
    read: Callable[[Peekable], Header | str]
    """The header at the current position, or in words why there is none."""


def read_warc_header(feed: Peekable) -> Header | str:
    """Read the WARC header at the current position; a sentence when it is none."""
    head = feed.peek(2048)
    if not _VERSION.match(head):
        return "no WARC version line"
    end = _BLANK_LINE.search(head)
    if end is None:
        head = feed.peek(HEADER_LIMIT)
        end = _BLANK_LINE.search(head)
    if end is None:
        return "the record header has no end"
    fields = _fields(bytes(head[: end.start()]))
    length = fields.get(b"content-length")
    if length is None:
        return "no Content-Length"
    if not _NUMBER.match(length):
        return f"Content-Length is {_text(length)[:40]!r}"
    url = _optional(fields, b"warc-target-uri")
    return Header(
        size=end.end(),
        block_length=int(length),
        kind=_text(fields.get(b"warc-type", b"")).lower(),
        url=url.strip("<>") if url else None,
        date=normal_date(_optional(fields, b"warc-date")),
        content_type=_optional(fields, b"content-type"),
        truncated=_optional(fields, b"warc-truncated"),
    )


def _fields(head: bytes) -> dict[bytes, bytes]:
    """Field values by lower-case name; the first one wins, folded lines are joined by one blank."""
    fields: dict[bytes, bytes] = {}
    name = b""
    fresh = False
    for line in head.split(b"\n")[1:]:
        if line[:1] in (b" ", b"\t"):
            if fresh:
                fields[name] = (fields[name] + b" " + line.strip()).strip()
            continue
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        fresh = bool(colon) and name not in fields
        if fresh:
            fields[name] = value.strip()
    return fields


def _optional(fields: dict[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name)
    return _text(value) if value else None


def _text(raw: bytes) -> str:
    try:
        return raw.decode().replace("\0", "")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace").replace("\0", "")


def read_arc_header(feed: Peekable) -> Header | str:
    """Read the ARC record line (version 1 or 2) at the current position; a sentence when it is none."""
    head = feed.peek(512)
    if not _ARC_URL.match(head):
        return "no ARC record line"
    line = bytes(head).partition(b"\n")
    if not line[1]:
        line = bytes(feed.peek(_ARC_LINE_LIMIT)).partition(b"\n")
    words = line[0].rstrip(b"\r").split(b" ")
    at = _arc_date_at(words)
    if not line[1] or at is None:
        return "no ARC record line"
    if not _NUMBER.match(words[-1]):
        return f"the length is {_text(words[-1])[:40]!r}"
    url = _text(b" ".join(words[: at - 1]))
    content_type = _text(words[at + 1] if len(words) - at == 8 else b" ".join(words[at + 1 : -1]))
    return Header(
        size=len(line[0]) + 1,
        block_length=int(words[-1]),
        kind="filedesc" if url.startswith("filedesc:") else "response",
        url=url,
        date=arc_date(_text(words[at])),
        content_type=None if content_type == "no-type" else content_type,
        truncated=None,
    )


def _arc_date_at(words: list[bytes]) -> int | None:
    """Index of the date: eighth from the end in version 2, else third, or further left if the type holds blanks."""
    for back in (8, 3, 4, 5, 6):
        at = len(words) - back
        if at >= 2 and _ARC_DATE.match(words[at]) and (back != 8 or _NUMBER.match(words[-3])):
            return at
    return None


def normal_date(recorded: str | None) -> str | None:
    """``WARC-Date`` in any W3C precision as ``2018-06-18T18:54:52Z``; null where it is no date."""
    match = _DATE.match(recorded) if recorded else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (
        int(part) if part else default for part, default in zip(match.groups()[:6], (1, 1, 1, 0, 0, 0), strict=True)
    )
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        if match[7]:
            shift = timedelta(hours=int(match[8]), minutes=int(match[9]))
            moment = moment - shift if match[7] == "+" else moment + shift
    except (ValueError, OverflowError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if year >= 1000 else None


def arc_date(recorded: str) -> str | None:
    """An ARC date (``20080430204825``, possibly shortened or too long) in ISO-8601; null where it is none."""
    padded = recorded[:14] + "00000101000000"[len(recorded[:14]) :]
    day, time = padded[:8], padded[8:]
    return normal_date(f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}")


WARC = Grammar("warc", _WARC_START, _WARC_WHOLE, read_warc_header)
ARC = Grammar("arc", _ARC_START, _ARC_URL, read_arc_header)

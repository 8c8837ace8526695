"""What a record is: the page it holds, or the named reason why it is passed over.

Reasons, in the order in which they are looked for:

    quarantine/broken_framing, quarantine/truncated_file, quarantine/oversize     the framing says so
    record/not_response@1   not a captured response; ``detail`` names the record type
    quarantine/http_headers the response has no readable HTTP head
    record/http_status@1    a status other than 200
    record/not_html@1       by Content-Type; by its first bytes where that is missing or says nothing
    quarantine/decode_failure, quarantine/payload_bomb      see ``http_payload``
    record/empty@1          a body of no bytes or of white space

Quarantined rows keep up to 1 MiB of raw bytes in ``html`` for replay. Costs a copy of the body.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from corpus.schema import Outcome

from .framing import SAMPLE, Frame
from .grammar import Header
from .http_payload import HttpHead, PayloadError, decode_body, looks_like_html, read_head
from .rows import Row, record_id
from .text import sanitise_text

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/xhtml", "text/xhtml"})
_SILENT_TYPES = frozenset({"", "application/octet-stream", "application/x-unknown", "unknown/unknown", "*/*"})


_ESSENCE_END = re.compile(r"[;,\s]")


class Origin(NamedTuple):
    """What all records of one unit share."""

    path: str
    crawl: str
    format: str
    max_payload: int


class _Finding(NamedTuple):
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str | None = None
    source_bytes: int | None = None
    content_type: str | None = None
    html: bytes | None = None
    content: str | None = None


def interpret(frame: Frame, origin: Origin) -> Row:
    """The row of one frame."""
    header = frame.header
    found = _judge_frame(frame, origin)
    url = sanitise_text(header.url) if header and header.url else None
    block_bytes = header.block_length if header and frame.cause in ("", "oversize") else frame.length
    return Row(
        id=record_id(origin.path, frame.offset, url, frame.nth),
        url=url,
        crawl=origin.crawl,
        date=header.date if header else None,
        warc_path=origin.path,
        warc_offset=frame.offset,
        warc_length=frame.length,
        source_bytes=block_bytes if found.source_bytes is None else found.source_bytes,
        outcome=found.outcome,
        reason=found.reason,
        detail=found.detail,
        http_content_type=found.content_type,
        truncated=header.truncated if header else None,
        html=found.html,
        content=found.content,
    )


def _judge_frame(frame: Frame, origin: Origin) -> _Finding:
    if frame.cause == "empty_member":
        return _Finding("rejected", "record/empty@1", frame.detail, source_bytes=0)
    if frame.cause or frame.header is None:
        return _Finding("quarantined", f"quarantine/{frame.cause}", frame.detail, html=bytes(frame.block[:SAMPLE]))
    return _judge_record(frame, frame.header, origin)


def _judge_record(frame: Frame, header: Header, origin: Origin) -> _Finding:
    if origin.format == "wet" and header.kind == "conversion":
        return _conversion(frame.block)
    if header.kind != "response":
        return _Finding("rejected", "record/not_response@1", header.kind[:100] or "no WARC-Type")
    if not _is_http(header, frame.block, origin):
        return _Finding("rejected", "record/not_html@1", (header.content_type or "not HTTP")[:100])
    head = read_head(frame.block)
    if head is None:
        return _quarantine("quarantine/http_headers", "no HTTP status line", frame.block)
    return _judge_response(head, header, frame.block, origin)


def _conversion(block: memoryview) -> _Finding:
    content = sanitise_text(bytes(block).decode("utf-8", "replace"))
    if not content or content.isspace():
        return _Finding("rejected", "record/empty@1", None, len(block), "text/plain")
    return _Finding(source_bytes=len(block), content_type="text/plain", content=content)


def _is_http(header: Header, block: memoryview, origin: Origin) -> bool:
    if block[:5].tobytes().upper() == b"HTTP/":
        return True
    if origin.format == "arc":
        return (header.url or "").lower().startswith(("http:", "https:"))
    kind = (header.content_type or "").lower()
    if kind:
        return kind.startswith("application/http")
    return (header.url or "").lower().startswith(("http:", "https:"))


def _quarantine(reason: str, detail: str, block: memoryview) -> _Finding:
    return _Finding("quarantined", reason, detail[:500], len(block), html=bytes(block[:SAMPLE]))


def _judge_response(head: HttpHead, header: Header, block: memoryview, origin: Origin) -> _Finding:
    kind = head.content_type
    length = len(block) - head.size
    if head.status != 200:
        return _Finding("rejected", "record/http_status@1", str(head.status), length, kind)
    essence = _ESSENCE_END.split((kind or "").strip(), maxsplit=1)[0].lower()
    if essence not in _HTML_TYPES and essence not in _SILENT_TYPES:
        return _Finding("rejected", "record/not_html@1", essence[:100], length, kind)
    try:
        body, note = decode_body(block, head, max_payload=origin.max_payload, whole=header.truncated is None)
    except PayloadError as error:
        return _quarantine(error.reason, error.detail, block)
    if not body or body.isspace():
        return _Finding("rejected", "record/empty@1", note, len(body), kind)
    if essence in _SILENT_TYPES and not looks_like_html(body):
        why = f"{essence or 'no Content-Type'}, and no HTML"
        return _Finding("rejected", "record/not_html@1", why, len(body), kind)
    return _Finding(detail=note, source_bytes=len(body), content_type=kind, html=body)

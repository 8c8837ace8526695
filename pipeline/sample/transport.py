"""What the web server answered: HTTP heads and bodies, sound and broken.

``answer`` gives the block of a response record for a page. ``PROBLEMS`` names the ways in which servers and crawlers
get it wrong: each keeps an ordinary page in its body where it can, so that reading leniently is worth something.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from .charsets import Encoded

_BOMB = 20 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """The block of a WARC record, and what its header must say beside the usual."""

    block: bytes
    record_type: str = "response"
    http: bool = True
    """False where the block has no HTTP head."""
    truncated: str | None = None


def gzip_bytes(data: bytes, level: int = 6) -> bytes:
    """One gzip member without a time or a system in its header: the same bytes everywhere, with one zlib."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    tail = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed + tail


def _chunk(body: bytes, size: int = 4096) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _head(body: bytes, *fields: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Server: sample", *fields]
    if not any("chunked" in line for line in fields):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _typed(page: Encoded, *fields: str) -> tuple[str, ...]:
    return (f"Content-Type: {page.content_type}", *fields)


def answer(rng: random.Random, page: Encoded) -> Answer:
    """An answer as Common Crawl stores it: mostly decoded already, sometimes chunked or compressed as sent."""
    draw = rng.random()
    if draw < 0.05:
        return Answer(_head(_chunk(page.body), *_typed(page, "Transfer-Encoding: chunked")))
    if draw < 0.12:
        return Answer(_head(gzip_bytes(page.body), *_typed(page, "Content-Encoding: gzip")))
    if draw < 0.6:
        return Answer(_head(page.body, *_typed(page, "X-Crawl-Content-Encoding: gzip")))
    return Answer(_head(page.body, *_typed(page)))


def _status(line: str) -> Callable[[Encoded], Answer]:
    def make(page: Encoded) -> Answer:
        head = ("Location: https://www.example.com/",) if line.startswith("3") else ()
        return Answer(_head(page.body[:2000], *_typed(page, *head), status=line))

    return make


def _other_type(content_type: str, body: bytes) -> Callable[[Encoded], Answer]:
    return lambda _: Answer(_head(body, f"Content-Type: {content_type}"))


def _bad_chunked(page: Encoded) -> Answer:
    return Answer(_head(page.body, *_typed(page, "Transfer-Encoding: chunked")))


def _cut_chunked(page: Encoded) -> Answer:
    whole = _chunk(page.body)
    return Answer(_head(whole[: len(whole) * 2 // 3], *_typed(page, "Transfer-Encoding: chunked")))


def _bad_gzip(page: Encoded) -> Answer:
    return Answer(_head(page.body, *_typed(page, "Content-Encoding: gzip")))


def _cut_gzip(page: Encoded) -> Answer:
    packed = gzip_bytes(page.body)
    return Answer(_head(packed[: len(packed) * 2 // 3], *_typed(page, "Content-Encoding: gzip")))


def _gzip_bomb(page: Encoded) -> Answer:
    packed = gzip_bytes(b"<html><body><p>" + bytes(_BOMB), 9)
    return Answer(_head(packed, *_typed(page, "Content-Encoding: gzip")))


def _unknown_encoding(page: Encoded) -> Answer:
    return Answer(_head(page.body, *_typed(page, "Content-Encoding: x-rot13")))


def _wrong_length(page: Encoded) -> Answer:
    return Answer(_head(page.body, *_typed(page), length=len(page.body) // 2))


def _no_head(page: Encoded) -> Answer:
    return Answer(page.body, http=False)


def _no_type(page: Encoded) -> Answer:
    return Answer(_head(page.body))


def _octets(page: Encoded) -> Answer:
    return Answer(_head(page.body, "Content-Type: application/octet-stream"))


def _no_body(page: Encoded) -> Answer:
    return Answer(_head(b"", *_typed(page)))


def _cut_by_crawler(page: Encoded) -> Answer:
    return Answer(_head(page.body[: len(page.body) * 3 // 4], *_typed(page)), truncated="length")


def _revisit(page: Encoded) -> Answer:
    return Answer(_head(b"", *_typed(page), status="304 Not Modified"), record_type="revisit")


_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89\0\0\0\0IEND\xaeB`\x82"
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
_JSON = json.dumps({"status": "ok", "items": list(range(50))}).encode()

PROBLEMS: dict[str, Callable[[Encoded], Answer]] = {
    "status_404": _status("404 Not Found"),
    "status_301": _status("301 Moved Permanently"),
    "status_500": _status("500 Internal Server Error"),
    "type_png": _other_type("image/png", _PNG),
    "type_pdf": _other_type("application/pdf", _PDF),
    "type_json": _other_type("application/json", _JSON),
    "type_missing": _no_type,
    "type_octets": _octets,
    "bad_chunked": _bad_chunked,
    "cut_chunked": _cut_chunked,
    "bad_gzip": _bad_gzip,
    "cut_gzip": _cut_gzip,
    "gzip_bomb": _gzip_bomb,
    "unknown_encoding": _unknown_encoding,
    "wrong_http_length": _wrong_length,
    "no_http_head": _no_head,
    "no_body": _no_body,
    "cut_by_crawler": _cut_by_crawler,
    "revisit": _revisit,
}
"""What went wrong, by name; the function gives the answer for a page."""

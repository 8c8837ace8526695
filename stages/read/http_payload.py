"""An HTTP response as stored in an archive: its head, and its body with transfer and content coding undone.

Archives hold what servers sent and crawlers changed. Many crawlers decode the body and keep the header, so a label
that the bytes contradict is ignored, as browsers do, and the fact is noted. A coding that starts well and breaks is
a decode failure, unless the capture itself was truncated: then what came out before the cut counts. Decompression
stops at ``max_payload`` bytes and at an absurd ratio; nothing is read in full first. Pages: RFC 9110, RFC 9112,
WHATWG MIME sniffing (the HTML rows of its table).
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple, Protocol

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
_HEAD_LIMIT = 256 << 10
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\n]{0,1024})?\r?\n")
_HTML = re.compile(
    rb"\s*(?:<!--.{0,1024}?-->\s*)?<(?:!doctype\s+html|(?:html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p)[\s/>])",
    re.IGNORECASE | re.DOTALL,
)
_XHTML = re.compile(rb"\s*<\?xml[^>]{0,256}>.{0,1024}?<html[\s>]", re.IGNORECASE | re.DOTALL)
_RATIO = 200
_RATIO_FROM = 8 << 20


class PayloadError(Exception):
    """The body cannot be had: ``reason`` is the verdict, ``detail`` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class HttpHead(NamedTuple):
    """The head of a response. ``codings`` in the order they were applied; ``size`` is the bytes before the body."""

    status: int
    content_type: str | None
    codings: tuple[str, ...]
    chunked: bool
    size: int


class Body(NamedTuple):
    """A decoded body, and what had to be overlooked to get it."""

    data: bytes
    note: str | None


def read_head(block: memoryview) -> HttpHead | None:
    """The HTTP head at the start of ``block``; None when there is no status line. A missing end is tolerated."""
    status = _STATUS.match(block)
    if status is None:
        return None
    end = _BLANK_LINE.search(block[:_HEAD_LIMIT])
    head, size = (bytes(block[: end.start()]), end.end()) if end else (bytes(block[:_HEAD_LIMIT]), len(block))
    content_type: str | None = None
    codings: list[str] = []
    chunked = False
    for line in head.split(b"\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name == b"content-type":
            content_type = content_type or value.strip().decode("utf-8", "replace").replace("\0", "") or None
        elif name == b"content-encoding":
            codings += _codings(value)
        elif name == b"transfer-encoding":
            transfers = _codings(value)
            chunked = chunked or "chunked" in transfers
            codings += [coding for coding in transfers if coding != "chunked"]
    return HttpHead(int(status[1]), content_type, tuple(codings), chunked, size)


def _codings(value: bytes) -> list[str]:
    names = [name.strip().lower() for name in value.decode("latin-1").split(",")]
    return [name for name in names if name not in ("", "identity", "none", "utf-8")]


def looks_like_html(body: bytes) -> bool:
    """Does the body begin like HTML? Looks at 2 KiB, past a byte order mark; UTF-16 included."""
    start = body[:2048].replace(b"\0", b"") if body[:2] in (b"\xff\xfe", b"\xfe\xff") else body[:2048]
    start = start.lstrip(b"\xff\xfe\xef\xbb\xbf")
    return bool(_HTML.match(start) or _XHTML.match(start))


def decode_body(block: memoryview, head: HttpHead, *, max_payload: int, whole: bool) -> Body:
    """Undo chunking and content codings. ``whole`` is false for captures that were truncated on purpose.

    Raises ``PayloadError`` (``quarantine/decode_failure`` or ``quarantine/payload_bomb``).
    """
    data = bytes(block[head.size :])
    notes: list[str] = []
    if head.chunked and data:
        data = _unchunk(data, notes, whole=whole)
    for coding in reversed(head.codings[-4:]):
        if data:
            data = _undo(coding, data, notes, max_payload=max_payload, whole=whole)
    if len(data) > max_payload:
        raise PayloadError("quarantine/payload_bomb", f"{len(data)} bytes after decoding")
    return Body(data, "; ".join(notes) or None)


def _unchunk(data: bytes, notes: list[str], *, whole: bool) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        line = _CHUNK.match(data, at, at + 2048)
        if line is None:
            if not parts:
                notes.append("labelled chunked, is not")
                return data
            if at < len(data) and whole:
                raise PayloadError("quarantine/decode_failure", f"broken chunk at byte {at}")
            notes.append("chunks end early")
            break
        size = int(line[1], 16)
        if size == 0:
            break
        part = data[line.end() : line.end() + size]
        parts.append(part)
        at = line.end() + size
        if len(part) < size:
            if whole:
                raise PayloadError("quarantine/decode_failure", f"the last chunk has {len(part)} of {size} bytes")
            notes.append("chunks end early")
            break
        at += 2 if data[at : at + 2] == b"\r\n" else int(data[at : at + 1] == b"\n")
    return b"".join(parts)


class _Inflater(Protocol):
    def step(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """Decompressed bytes (about ``most``), and the input that is still to be fed."""

    def done(self) -> bool: ...


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    def step(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        return self._inner.decompress(data, most), self._inner.unconsumed_tail

    def done(self) -> bool:
        return self._inner.eof


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._inner = brotli.Decompressor()

    def step(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        return self._inner.process(data, output_buffer_limit=most), b""

    def done(self) -> bool:
        return bool(self._inner.is_finished())


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    def step(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        return self._inner.decompress(data[:1024]), data[1024:]

    def done(self) -> bool:
        return bool(self._inner.eof)


def _inflater(coding: str, data: bytes) -> _Inflater | None:
    """A decompressor for ``coding``; None where the bytes show that the label is wrong."""
    if coding in ("gzip", "x-gzip"):
        return _Zlib(31) if data[:2] == b"\x1f\x8b" else None
    if coding == "deflate":
        zlib_header = len(data) > 1 and data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return _Zlib(15 if zlib_header else -15)
    if coding == "zstd":
        return _Zstd() if data[:4] == b"\x28\xb5\x2f\xfd" else None
    if coding == "br":
        return _Brotli()
    raise PayloadError("quarantine/decode_failure", f"unknown coding {coding[:40]!r}")


def _undo(coding: str, data: bytes, notes: list[str], *, max_payload: int, whole: bool) -> bytes:
    inflater = _inflater(coding, data)
    if inflater is None:
        notes.append(f"labelled {coding}, is not")
        return data
    parts: list[bytes] = []
    size = 0
    rest, fault = data, ""
    while not inflater.done():
        try:
            part, rest = inflater.step(rest, 1 << 20)
        except Exception as error:
            fault = f"{coding}: {error}"
            break
        parts.append(part)
        size += len(part)
        if size > max_payload or size > max(_RATIO_FROM, _RATIO * len(data)):
            raise PayloadError("quarantine/payload_bomb", f"{coding}: {len(data)} bytes became more than {size}")
        if not rest and not part:
            fault = f"{coding}: ends early"
            break
    if not fault or (not whole and parts):
        if fault:
            notes.append(fault)
        return b"".join(parts)
    if coding in ("br", "deflate") and looks_like_html(data):  # these two carry no magic bytes
        notes.append(f"labelled {coding}, is not")
        return data
    raise PayloadError("quarantine/decode_failure", fault)

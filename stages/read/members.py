"""Compressed members: walking them, getting past damaged ones, and finding one near any byte offset.

Crawl files hold one gzip member (or LZ4 or zstd frame) per record, so that a record can be fetched by a range
request and a file can be read from the middle. Nothing marks where a member starts but its first bytes, and those
bytes also occur inside others: a crawled ``.warc.gz`` lies in its member as stored (uncompressed) deflate blocks.
``resolve`` therefore trusts a place only if sound members follow each other from there for 192 KiB (or exactly to
the end of the file): a stored block holds at most 65,535 bytes, and the block header that interrupts an embedded file
breaks its chain of members before that. The answer depends on the file and the offset only, and never decreases
with the offset: units cut at any offsets share the members out without gap or overlap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple, Protocol

from corpus.errors import SourceError

from .storage import RangeReader

PIECE = 1 << 20
CHAIN = 192 << 10
_CHAIN_MEMBER = 8 << 20
_KEEP = 8 << 20
_RECORD = re.compile(rb"[\r\n]*(?:(?i:WARC)/\d+\.\d+[ \t]*\r?\n|[A-Za-z][\w+.-]{0,30}:\S* \S+ \d{8,})")


class Decoder(Protocol):
    """The decompressor protocol that isal and lz4 share."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class Codec(NamedTuple):
    """A compression format in which a file is a sequence of self-contained members."""

    name: str
    magic: bytes
    make: Callable[[], Decoder]
    faults: Callable[[], tuple[type[Exception], ...]]
    """What ``decompress`` raises on damaged input."""
    step: int
    """Bytes fed at once: bounds what is copied per member and, for zstd, what one step can blow up to."""


class _Zstandard:
    """zstandard's decompressor in the common protocol. Its output per step is bounded by the small step only."""

    needs_input = True

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    eof = property(lambda self: self._inner.eof)
    unused_data = property(lambda self: self._inner.unused_data)

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        return bytes(self._inner.decompress(data))


def _gzip() -> Decoder:
    from isal import igzip_lib

    decoder: Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decoder


def _lz4() -> Decoder:
    from lz4.frame import LZ4FrameDecompressor

    decoder: Decoder = LZ4FrameDecompressor()
    return decoder


def _gzip_faults() -> tuple[type[Exception], ...]:
    from isal import igzip_lib

    return (igzip_lib.IsalError, EOFError, MemoryError)  # type: ignore[return-value]  # the stub says instance


def _lz4_faults() -> tuple[type[Exception], ...]:
    return (RuntimeError, EOFError, MemoryError)


def _zstd_faults() -> tuple[type[Exception], ...]:
    import zstandard

    return (zstandard.ZstdError, MemoryError)


CODECS: dict[str, Codec] = {
    "gzip": Codec("gzip", b"\x1f\x8b\x08", _gzip, _gzip_faults, 64 << 10),
    "lz4": Codec("lz4", b"\x04\x22\x4d\x18", _lz4, _lz4_faults, 64 << 10),
    "zstd": Codec("zstd", b"\x28\xb5\x2f\xfd", _Zstandard, _zstd_faults, 1 << 10),
}


class MemberStream:
    """One member being decompressed. After ``pieces`` is exhausted ``end`` and ``fault`` are final."""

    def __init__(self, reader: RangeReader, offset: int, codec: Codec) -> None:
        self._reader, self.codec = reader, codec
        self.offset = self.end = offset
        self.fault: str | None = None
        self.cut = False
        """The file ended before the member did."""

    def pieces(self) -> Iterator[bytes]:
        """Decompressed bytes, at most 1 MiB at once (zstd: 32 MiB); ends early at a fault."""
        decoder = self.codec.make()
        while not decoder.eof:
            raw: bytes | memoryview = b""
            if decoder.needs_input:
                raw = self._reader.view(self.end, self.codec.step)
                if not raw:
                    self.cut, self.fault = True, f"the file ends inside a {self.codec.name} member"
                    return
                self.end += len(raw)
            try:
                piece = decoder.decompress(raw, PIECE)
            except self.codec.faults() as error:
                self.fault = f"{self.codec.name}: {error}"
                return
            if piece:
                yield piece
        self.end -= len(decoder.unused_data or b"")


class Member(NamedTuple):
    """A member, or a region that holds none. ``stream`` tells the fault once ``pieces`` is exhausted."""

    offset: int
    length: int | None
    """Stored bytes; None for a long member that is only streamed."""
    pieces: Iterable[bytes]
    stream: MemberStream


def walk_members(reader: RangeReader, start: int, end: int, codec: Codec, *, measure: bool) -> Iterator[Member]:
    """Members and damaged regions from ``start`` up to the first that starts at or after ``end``: no gap, no overlap.

    With ``measure`` every member carries its length (those of more than 8 MiB are then decompressed twice); without it
    long ones are streamed. Raises ``SourceError`` if ``end`` turns out to lie inside a sound member.
    """
    at = start
    while at < end:
        stream = MemberStream(reader, at, codec)
        if reader.view(at, len(codec.magic)) != codec.magic:
            stop = find_member(reader, at + 1, end, codec)
            stream.fault = f"no {codec.name} member"
            yield Member(at, stop - at, (), stream)
            at = stop
            continue
        pieces = stream.pieces()
        held, complete = _hold(pieces)
        if not complete and measure:
            _drain(pieces)
            held, pieces, complete = [], MemberStream(reader, at, codec).pieces(), True
        if complete:
            stop = _after(reader, stream, end)
            yield Member(at, stop - at, chain(held, pieces), stream)
        else:
            yield Member(at, None, chain(held, pieces), stream)
            _drain(pieces)
            stop = _after(reader, stream, end)
        at = stop


def _hold(pieces: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The pieces of a member, as long as they are few; and whether these are all."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > _KEEP:
            return held, False
    return held, True


def _drain(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        pass


def _after(reader: RangeReader, stream: MemberStream, end: int) -> int:
    """Where the walk goes on after a member that has been read to its end or to its fault."""
    if stream.fault is None:
        if stream.end > end:
            fix = "set source.unit_bytes above the size of the file, so that it is read in one piece"
            raise SourceError(f"byte {end} was taken for a member start but lies inside one", where="", fix=fix)
        return stream.end
    found = find_member(reader, stream.offset + 1, end, stream.codec)
    stream.cut = stream.cut and found == reader.size
    return found


def find_member(reader: RangeReader, start: int, end: int, codec: Codec) -> int:
    """The first sound member in ``start <= position < end`` that holds a record and ends by ``end``; else ``end``.

    Work is bounded: when candidates that fail cost too much (an input made for that), the rest counts as damaged.
    """
    budget = 16 * (end - start) + (64 << 20)
    for at in _candidates(reader, start, end, codec):
        stop = _member_end(reader, at, codec, most=64 << 20, record=True)
        if stop is not None and stop <= end:
            return at
        budget -= 64 << 10 if stop is None else stop - at
        if budget < 0:
            break
    return end


def resolve(reader: RangeReader, nominal: int, codec: Codec) -> int:
    """The first trusted member start at or after byte ``nominal``; the size of the file where there is none."""
    if nominal <= 0 or nominal >= reader.size:
        return max(0, min(nominal, reader.size))
    for at in _candidates(reader, nominal, reader.size, codec):
        if _chain_holds(reader, at, codec):
            return at
    return reader.size


def _candidates(reader: RangeReader, start: int, end: int, codec: Codec) -> Iterator[int]:
    at = reader.find(codec.magic, start, end)
    while at >= 0:
        yield at
        at = reader.find(codec.magic, at + 1, end)


def _chain_holds(reader: RangeReader, start: int, codec: Codec) -> bool:
    at: int | None = start
    while at is not None and at < reader.size and at < start + CHAIN:
        if reader.view(at, len(codec.magic)) != codec.magic:
            return False
        at = _member_end(reader, at, codec, most=_CHAIN_MEMBER, record=at == start)
    return at is not None


def _member_end(reader: RangeReader, at: int, codec: Codec, *, most: int, record: bool) -> int | None:
    """End of the member at ``at`` if it is sound (as far as the first ``most`` bytes show); None if it is not.

    With ``record`` its content must begin like a record, and must begin soon after the member's own header.
    """
    stream = MemberStream(reader, at, codec)
    for piece in stream.pieces():
        if record and not _RECORD.match(piece[:4096]):
            return None
        record = False
        if stream.end - at > most:
            return stream.end
    return None if stream.fault is not None or record else stream.end

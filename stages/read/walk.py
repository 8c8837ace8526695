"""From the bytes of a unit to frames with their place in the file as stored.

Plain files are walked as they are. In a file with one member per record a frame's place is its member's, so that a
range request fetches it. In a file that is one long member (whole-file gzip, zstd, lz4) places count in the
uncompressed stream: such a record cannot be fetched alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from .framing import SAMPLE, Cause, Frame, PieceFeed, RangeFeed, walk_records
from .grammar import Grammar
from .members import CODECS, Codec, Member, resolve, walk_members
from .storage import RangeReader

_FOREVER = 1 << 62


def walk_range(
    reader: RangeReader,
    start: int,
    end: int,
    *,
    compression: str,
    per_record: bool,
    grammar: Grammar,
    limit: int,
    blocks: bool = True,
) -> Iterator[Frame]:
    """Frames of the records that begin in ``start <= offset < end``.

    Plain: ``start`` must be a frame's start. Per-record gzip: any two offsets will do (see ``members.resolve``). Files
    in one member are only read whole. Records above ``limit`` bytes come as ``oversize`` with a sample.
    """
    if compression == "none":
        yield from walk_records(RangeFeed(reader, start), grammar, stop=end, limit=limit, blocks=blocks)
        return
    codec = CODECS[compression]
    if not per_record:
        yield from _walk_stream(reader, codec, grammar, limit)
        return
    if compression == "gzip":
        start, end = resolve(reader, start, codec), resolve(reader, end, codec)
    for member in walk_members(reader, start, end, codec, measure=True):
        yield from _per_record(reader, member, grammar, limit)


def _per_record(reader: RangeReader, member: Member, grammar: Grammar, limit: int) -> Iterator[Frame]:
    """Frames of one member; all take the member's place. A faulty one is one damaged frame, with its stored bytes."""
    length = member.length or 0
    if member.stream.fault:
        raw = reader.view(member.offset, min(length, SAMPLE))
        yield Frame(member.offset, length, None, raw, _cause(member), member.stream.fault)
        return
    nth = 0
    for frame in walk_records(PieceFeed(member.pieces, limit), grammar, stop=_FOREVER, limit=limit, resume=False):
        if frame.cause == "truncated_file":
            frame.cause = "broken_framing"  # the member is whole: the record lies about its length
        frame.offset, frame.length, frame.nth = member.offset, length, nth
        nth += 1
        yield frame
    if not nth:
        nothing = memoryview(b"")
        yield Frame(member.offset, length, None, nothing, "empty_member", "a compressed member without content")


def _cause(member: Member) -> Cause:
    return "truncated_file" if member.stream.cut else "broken_framing"


def _walk_stream(reader: RangeReader, codec: Codec, grammar: Grammar, limit: int) -> Iterator[Frame]:
    """Frames of a file whose members hold many records; places count in the uncompressed stream."""
    base = 0
    for member in walk_members(reader, 0, reader.size, codec, measure=False):
        feed = PieceFeed(member.pieces, limit)
        stream = member.stream
        told = False
        for frame in walk_records(feed, grammar, stop=_FOREVER, limit=limit):
            told = bool(frame.cause) and bool(stream.fault)
            if frame.cause == "truncated_file" and not stream.cut:
                frame.cause = "broken_framing"
            if told:
                frame.detail = stream.fault
            frame.offset += base
            yield frame
        _exhaust(feed)
        base += feed.position
        if stream.fault and not told:
            # Nothing came out of these bytes: they take their stored length, so that places stay unique.
            stored = member.length or 0
            raw = reader.view(member.offset, min(stored, SAMPLE)) if not feed.position else memoryview(b"")
            yield Frame(base, stored, None, raw, _cause(member), stream.fault)
            base += stored


def _exhaust(feed: PieceFeed) -> None:
    while feed.peek(1):
        feed.skip(1 << 20)

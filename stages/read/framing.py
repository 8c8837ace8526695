"""Where records begin and end in a stream of bytes, and what lies between them.

``walk_records`` cuts a stream into frames without gap or overlap. A frame is sound when its header can be read and
its block is followed by what must follow a record: the four bytes CR LF CR LF, or line ends and then the next record
or the end. Everything else is damage: one frame from where the trouble starts to the next thing that reads as a
record. So a wrong Content-Length costs the one record that carries it.

The walk keeps no state but its position: started at any frame it gives the same frames from there on. Memory: one
record, at most ``limit`` bytes; linear time on any input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from .grammar import Grammar, Header
from .storage import RangeReader

SAMPLE = 1 << 20
"""Bytes of a damaged or oversize record that are kept for replay."""

Cause = Literal["", "broken_framing", "truncated_file", "oversize", "empty_member"]
_SEARCH = 1 << 20
_OVERLAP = 256
_HEADER = 64 << 10


@dataclass(slots=True)
class Frame:
    """A stretch of the file: one record, or one damaged region.

    A damaged region has a ``cause``, a raw sample in ``block``, and the header if at least that could be read.
    """

    offset: int
    length: int
    header: Header | None
    block: memoryview
    cause: Cause = ""
    detail: str | None = None
    nth: int = 0
    """Rank among the records that share this offset, which only happens when one gzip member holds several."""


class Feed(Protocol):
    """A forward walk over bytes that can look ahead."""

    position: int

    def peek(self, length: int) -> memoryview:
        """Up to ``length`` bytes from the current position; fewer only at the end."""

    def skip(self, length: int) -> None:
        """Go forward, at most to the end."""

    def ahead(self, by: int, length: int) -> memoryview | None:
        """What ``peek(length)`` would show ``by`` bytes further on; None when that is too far to look."""

    def can_hold(self, length: int) -> bool:
        """False when it is known that fewer than ``length`` bytes are left."""


class RangeFeed:
    """A feed over a plain file; skipping costs nothing."""

    def __init__(self, reader: RangeReader, position: int) -> None:
        self._reader = reader
        self.position = position

    def peek(self, length: int) -> memoryview:
        return self._reader.view(self.position, length)

    def skip(self, length: int) -> None:
        self.position = min(self.position + length, self._reader.size)

    def ahead(self, by: int, length: int) -> memoryview | None:
        return self._reader.glimpse(self.position + by, length)

    def can_hold(self, length: int) -> bool:
        return self.position + length <= self._reader.size


class PieceFeed:
    """A feed over pieces that arrive one after the other, as a decompressor gives them.

    Holds at most ``horizon`` bytes and what a look-ahead needs.
    """

    def __init__(self, pieces: Iterable[bytes], horizon: int = 1 << 20) -> None:
        self._pieces = iter(pieces)
        self._horizon = horizon
        self._buffer = memoryview(b"")
        self.position = 0

    def peek(self, length: int) -> memoryview:
        if len(self._buffer) < length:
            self._fill(length)
        return self._buffer[:length]

    def skip(self, length: int) -> None:
        while length:
            step = min(length, len(self._buffer))
            self._buffer = self._buffer[step:]
            self.position += step
            length -= step
            if length and not self.peek(1):
                return

    def ahead(self, by: int, length: int) -> memoryview | None:
        return self.peek(by + length)[by:] if by <= self._horizon else None

    def can_hold(self, length: int) -> bool:
        return length > self._horizon or len(self.peek(length)) == length

    def _fill(self, length: int) -> None:
        parts: list[bytes | memoryview] = [self._buffer] if self._buffer else []
        have = len(self._buffer)
        # A long look-ahead comes again, a little further on: take more at once, join seldom.
        enough = length + _SEARCH if length > _SEARCH else length
        for piece in self._pieces:
            parts.append(piece)
            have += len(piece)
            if have >= enough:
                break
        self._buffer = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


def walk_records(
    feed: Feed, grammar: Grammar, *, stop: int, limit: int, resume: bool = True, blocks: bool = True
) -> Iterator[Frame]:
    """Cut the feed into frames, up to the first one that would start at or after position ``stop``.

    Records longer than ``limit`` bytes come with a sample only (cause ``oversize``). ``resume=False`` takes the rest of
    the feed as one damaged frame instead of looking for a record inside (right where one member is one record).
    ``blocks=False`` leaves the blocks unread: where records lie, for little. A record that the end of the feed cuts
    short has the cause ``truncated_file``.
    """
    while feed.position < stop and feed.peek(1):
        header = grammar.read(feed)
        if isinstance(header, str):
            yield _damage(feed, grammar, header, resume=resume)
            continue
        total = header.size + header.block_length
        if not feed.can_hold(total):
            why = f"the block is shorter than its Content-Length of {header.block_length}"
            yield _damage(feed, grammar, why, header=header, resume=resume, cause="truncated_file")
            continue
        ends = _ends(feed, total, grammar)
        if ends is False:
            why = f"no record boundary after the Content-Length of {header.block_length}"
            yield _damage(feed, grammar, why, header=header, resume=resume)
            continue
        start = feed.position
        kept = (total if total <= limit else header.size + SAMPLE) if blocks else 0
        block = feed.peek(kept)[header.size :]
        feed.skip(total)
        skip_line_ends(feed)
        frame = Frame(start, feed.position - start, header, block, "oversize" if total > limit else "")
        if ends is None and feed.peek(1) and isinstance(grammar.read(feed), str):
            # Too long to look back into: the stream is behind us.
            frame.cause, frame.detail = "broken_framing", f"a Content-Length of {header.block_length} leads nowhere"
        yield frame


def _ends(feed: Feed, total: int, grammar: Grammar) -> bool | None:
    """Does a record of ``total`` bytes end properly? None when its end is too far away to be looked at."""
    tail = feed.ahead(total, 4096)
    if tail is None:
        return None
    seen = bytes(tail)
    rest = seen.lstrip(b"\r\n")
    if not rest or seen.startswith(b"\r\n\r\n"):
        return True
    return isinstance(grammar.read(_Ahead(feed, total + len(seen) - len(rest))), Header)


class _Ahead:
    """The feed as it will look ``by`` bytes further on."""

    def __init__(self, feed: Feed, by: int) -> None:
        self._feed, self._by = feed, by

    def peek(self, length: int) -> memoryview:
        return self._feed.ahead(self._by, length) or memoryview(b"")


def skip_line_ends(feed: Feed) -> None:
    """Go past CR and LF."""
    while seen := bytes(feed.peek(4096)):
        rest = seen.lstrip(b"\r\n")
        feed.skip(len(seen) - len(rest))
        if rest:
            return


def _damage(
    feed: Feed,
    grammar: Grammar,
    why: str,
    *,
    resume: bool,
    header: Header | None = None,
    cause: Cause = "broken_framing",
) -> Frame:
    """One frame from here to the next record (or the end), with a sample of its raw bytes."""
    start = feed.position
    sample = feed.peek(SAMPLE)
    if resume and _seek_record(feed, grammar):
        cause = "broken_framing"
    elif not resume:
        while feed.peek(1):
            feed.skip(_SEARCH)
    length = feed.position - start
    return Frame(start, length, header, sample[:length], cause, why)


def _seek_record(feed: Feed, grammar: Grammar) -> bool:
    """Go forward (at least one byte) to the next place where a line starts that reads as a record header."""
    while True:
        seen = feed.peek(_SEARCH)
        match = grammar.start.search(seen)
        if match:
            feed.skip(match.end())
            if grammar.whole.match(feed.peek(_HEADER)) and isinstance(grammar.read(feed), Header):
                return True
        elif len(seen) < _SEARCH:
            feed.skip(len(seen))
            return False
        else:
            feed.skip(_SEARCH - _OVERLAP)

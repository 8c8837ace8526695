"""The compiled half of normalisation: blanks, line breaks and invisible characters, from bytes to bytes.

One linear pass; the output of a text is never longer than its input, so it is written into one buffer of the same
size. About 3 ns per byte. Input must be valid UTF-8; anything else is copied as it is and cannot break out of the
buffers.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Numbers = NDArray[np.int32]
Switches = NDArray[np.bool_]

INVISIBLE, LINE_BREAKS, NEWLINES, SPACES = range(4)  # columns of the counts
_KEEP, _SPACE, _TAB, _BREAK, _DROP, _JOINER = range(6)

Ranges = tuple[tuple[int, int], ...]

DROPPED: Ranges = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x061C, 0x061C), (0x180E, 0x180E), (0x200B, 0x200B), (0x200E, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F),
)  # fmt: skip
"""Control, format, direction and tag characters. White space among them is recognised first."""

INERT: Ranges = (
    (0x0000, 0x02FF), (0x0388, 0x0482), (0x048A, 0x0590), (0x2010, 0x2027), (0x2030, 0x205E), (0x20A0, 0x20CF),
    (0x2190, 0x2328), (0x232B, 0x2ADB), (0x3001, 0x3029), (0x309B, 0x9FFF), (0xAC00, 0xD7A3), (0xFF01, 0xFFEE),
    (0x1F300, 0x1FAFF),
)  # fmt: skip
"""Code points that composition never touches: a text of them alone is in NFC already."""


@njit(cache=True)
def is_within(point: int, ranges: Ranges) -> bool:
    """Whether ``point`` lies in one of the ascending ranges."""
    for first, last in ranges:
        if point <= last:
            return point >= first
    return False


@njit(cache=True)
def kind_of(point: int) -> int:
    """What to do with a code point beyond printable ASCII."""
    kind = _KEEP
    if point in (0x20, 0xA0, 0x1680, 0x202F, 0x205F, 0x3000) or 0x2000 <= point <= 0x200A:
        kind = _SPACE
    elif point == 0x09:
        kind = _TAB
    elif 0x0A <= point <= 0x0D or point in (0x85, 0x2028, 0x2029):
        kind = _BREAK
    elif point in (0x200C, 0x200D):
        kind = _JOINER
    elif is_within(point, DROPPED):
        kind = _DROP
    return kind


@njit(cache=True)
def keeps_joiner(point: int) -> bool:
    """Whether a joiner after ``point`` carries meaning: Arabic, Indic and other scripts, and emoji."""
    return 0x600 <= point < 0x1D00 or point >= 0x2190


@njit(cache=True)
def read_point(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """(code point, bytes) at ``at``, which is not ASCII; a stray byte reads as U+FFFD of length 1."""
    lead = int(np.int64(data[at]))
    size = 2 if 0xC0 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4 if lead >= 0xF0 else 1
    if size == 1 or at + size > end:
        return 0xFFFD, 1
    point = lead & (0x7F >> size)
    for step in range(1, size):
        point = (point << 6) | (int(np.int64(data[at + step])) & 0x3F)
    return point, size


@njit(cache=True)
def write_line_start(data: Bytes, start: int, end: int, out: Bytes, to: int, breaks: int, counts: Numbers) -> int:
    """Write at most two line breaks, then the plain blanks and tabs of ``data[start:end]``: the indent of a line."""
    counts[NEWLINES] += max(breaks - 2, 0)
    for _ in range(min(breaks, 2)):
        out[to] = 0x0A
        to += 1
    for at in range(start, end):
        if data[at] == 0x20 or data[at] == 0x09:
            out[to] = data[at]
            to += 1
    return to


@njit(cache=True)
def clean_text(data: Bytes, start: int, end: int, out: Bytes, to: int, counts: Numbers) -> tuple[int, bool]:
    """Clean ``data[start:end]`` into ``out[to:]``; returns (end of the output, whether NFC may change it).

    What stands between two characters is counted while it is read, and written once the second one is met.
    """
    begin, at, composable, previous = to, start, False, 0
    breaks, spaces, foreign, tab, line = 0, 0, 0, False, start
    while at < end:
        point, size, kind = int(np.int64(data[at])), 1, _KEEP
        if point <= 0x20 or point >= 0x7F:
            if point >= 0x80:
                point, size = read_point(data, at, end)
            kind = kind_of(point)
            if kind == _JOINER:
                kind = _KEEP if keeps_joiner(previous) else _DROP
        if kind == _KEEP:
            if to == begin:
                counts[NEWLINES] += breaks
                counts[SPACES] += spaces
            elif breaks:
                to = write_line_start(data, line, at, out, to, breaks, counts)
                counts[SPACES] += foreign
            elif spaces:
                counts[SPACES] += max(spaces - 1, foreign)
                out[to] = 0x09 if tab else 0x20
                to += 1
            breaks, spaces, foreign, tab = 0, 0, 0, False
            for step in range(size):
                out[to + step] = data[at + step]
            to += size
            composable |= point >= 0x300 and not is_within(point, INERT)
            previous = point
        elif kind == _BREAK:
            size = 2 if point == 0x0D and at + 1 < end and data[at + 1] == 0x0A else size
            counts[LINE_BREAKS] += point != 0x0A
            counts[SPACES] += spaces
            breaks, previous, line = breaks + 1, 0, at + size
            spaces, foreign, tab = 0, 0, False
        elif kind == _DROP:
            counts[INVISIBLE] += 1
        else:
            spaces, foreign, previous = spaces + 1, foreign + (size > 1), 0
            tab |= kind == _TAB
        at += size
    counts[NEWLINES] += breaks
    counts[SPACES] += spaces
    return to, composable


@njit(cache=True)
def clean_texts(
    data: Bytes, offsets: Offsets, out: Bytes, new_offsets: Offsets, counts: Numbers, composable: Switches
) -> None:
    """Clean all texts; ``composable[i]`` tells whether text ``i`` may need Unicode composition afterwards."""
    to = 0
    for at in range(len(offsets) - 1):
        to, composable[at] = clean_text(data, offsets[at], offsets[at + 1], out, to, counts[at])
        new_offsets[at + 1] = to

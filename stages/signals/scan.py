"""The passes over one decoded text that need no words: characters, sentences, patterns, lines.

A text is decoded once into code points and class flags (``stages.signals.characters``); every pass then reads those
two small arrays, which stay in the processor's first cache, and adds to one row of counts (``stages.signals.slots``).
All passes are linear. Bytes that are not UTF-8 read as U+FFFD: no input reaches beyond the buffers.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.signals import slots
from stages.signals.characters import (
    BULLET,
    GARBAGE,
    INVISIBLE,
    LETTER,
    NUMBER,
    SPACE,
    STOP,
    TERMINAL,
    TRIGGER,
    UPPER,
)  # fmt: skip
from stages.signals.patterns import LOOK_AHEAD, count_pattern, is_address
from stages.signals.words import SEED, mix

Bytes = NDArray[np.uint8]
Points = NDArray[np.int32]
Flags = NDArray[np.uint16]
Counts = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int32]

SHORT_LINE = 30  # characters; FineWeb's short_line_length
_HASH, _DOT, _LOW_LINE, _ELLIPSIS = 0x23, 0x2E, 0x5F, 0x2026
_NEWLINE, _OPEN, _CLOSE, _HYPHEN = 0x0A, 0x7B, 0x7D, 0x2D


@njit(cache=True)
def decode(data: Bytes, start: int, end: int, classes: Flags, points: Points, flags: Flags) -> int:
    """Write the code points of ``data[start:end]`` and their class flags, padded with zeros; returns how many."""
    count, at = 0, start
    while at < end:
        lead = int(np.int64(data[at]))
        extra = 0 if lead < 0x80 else 1 if 0xC2 <= lead < 0xE0 else 2 if 0xE0 <= lead < 0xF0 else 3
        point = lead if extra == 0 else lead & (0x3F >> extra)
        if extra and (lead < 0xC2 or lead > 0xF4 or at + extra >= end):
            extra, point = 0, 0xFFFD
        for step in range(1, extra + 1):
            point = (point << 6) | (int(np.int64(data[at + step])) & 0x3F)
        if point > 0x10FFFF:
            point = 0xFFFD
        points[count], flags[count] = point, classes[point]
        count += 1
        at += 1 + extra
    points[count : count + LOOK_AHEAD] = 0
    flags[count : count + LOOK_AHEAD] = 0
    return count


@njit(cache=True)
def scan_characters(points: Points, flags: Flags, count: int, row: Counts) -> None:
    """Counts of single characters."""
    letters, digits, uppercase, spaces, invisible, garbage = 0, 0, 0, 0, 0, 0
    newlines, curly, hashes = 0, 0, 0
    for at in range(count):
        flag, point = flags[at], points[at]
        letters += flag & LETTER != 0
        digits += flag & NUMBER != 0
        uppercase += flag & UPPER != 0
        spaces += flag & SPACE != 0
        invisible += flag & INVISIBLE != 0
        garbage += flag & GARBAGE != 0
        newlines += point == _NEWLINE
        curly += (point == _OPEN) | (point == _CLOSE)
        hashes += point == _HASH
    row[slots.CHARACTERS], row[slots.LETTERS], row[slots.NON_LETTERS] = count, letters, count - letters
    row[slots.DIGITS], row[slots.UPPERCASE], row[slots.SPACES] = digits, uppercase, spaces
    row[slots.INVISIBLES], row[slots.GARBAGES], row[slots.NEWLINES] = invisible, garbage, newlines
    row[slots.CURLY_BRACKETS], row[slots.HASHES] = curly, hashes


@njit(cache=True)
def scan_sentences(points: Points, flags: Flags, count: int, row: Counts) -> None:
    r"""RedPajama-v2's sentences, matches of ``\b[^.!?]+[.!?]*``; and ellipses: three dots, or the one character."""
    sentences, ellipses, dots, open_sentence = 0, 0, 0, False
    for at in range(count):
        point = points[at]
        if flags[at] & (LETTER | NUMBER) or point == _LOW_LINE:
            sentences += not open_sentence
            open_sentence = True
            dots = 0
        elif point == _DOT:
            open_sentence = False
            dots += 1
            if dots == 3:
                ellipses += 1
                dots = 0
        else:
            open_sentence &= (point != 0x21) & (point != 0x3F)
            ellipses += point == _ELLIPSIS
            dots = 0
    row[slots.SENTENCES], row[slots.ELLIPSES] = sentences, ellipses
    row[slots.SYMBOLS] = ellipses + row[slots.HASHES]


@njit(cache=True)
def scan_patterns(points: Points, flags: Flags, count: int, row: Counts) -> None:
    """What ``stages.signals.patterns`` finds, wherever a trigger character stands."""
    for at in range(count):
        # The letter l is common, "lo" is not: most calls are saved.
        if flags[at] & TRIGGER and (points[at] | 32 != 0x6C or points[at + 1] | 32 == 0x6F):
            count_pattern(points, at, row)


@njit(cache=True)
def scan_address(points: Points, flags: Flags, count: int, row: Counts) -> None:
    """Whether the text is an address and nothing else; needs the number of raw words."""
    first = 0
    while first < count and flags[first] & SPACE:
        first += 1
    row[slots.ONLY_URL] = row[slots.RAW_WORDS] == 1 and is_address(points, first)


@njit(cache=True)
def scan_lines(points: Points, flags: Flags, count: int, hashes: Hashes, lengths: Numbers, row: Counts) -> int:
    """Lines that are not blank, trimmed: hash and length of each; returns how many.

    A blank line has length 0 in ``lengths``: it separates paragraphs.
    """
    total, start = 0, 0
    while start <= count:
        end = start
        while end < count and points[end] != _NEWLINE:
            end += 1
        first, last = start, end
        while first < last and flags[first] & SPACE:
            first += 1
        while last > first and flags[last - 1] & SPACE:
            last -= 1
        state = SEED
        for place in range(first, last):
            state = mix(state, points[place])
        hashes[total], lengths[total] = state, last - first
        total += 1
        if last > first:
            count_line(points, flags, first, last, row)
        start = end + 1
    return total


@njit(cache=True)
def count_line(points: Points, flags: Flags, first: int, last: int, row: Counts) -> None:
    """Add one trimmed, non-empty line to ``row``."""
    row[slots.LINES] += 1
    row[slots.LINE_CHARACTERS] += last - first
    bullet = flags[first] & BULLET != 0
    row[slots.BULLET_LINES] += bullet
    row[slots.DASH_LINES] += bullet or points[first] == _HYPHEN
    dots = last - first >= 3 and points[last - 1] == _DOT and points[last - 2] == _DOT and points[last - 3] == _DOT
    row[slots.ELLIPSIS_LINES] += dots or points[last - 1] == _ELLIPSIS
    row[slots.TERMINAL_LINES] += flags[last - 1] & TERMINAL != 0
    row[slots.STOP_LINES] += flags[last - 1] & STOP != 0
    row[slots.SHORT_LINES] += last - first <= SHORT_LINE

"""The compiled half of the grammar view: bytes in, token bytes out, one pass.

Its own module because numba caches compiled code per file. Linear in the input. ``out`` must hold four bytes per
byte of ``data``: a letter between other signs becomes three with its space, a line break four.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

OTHER, LETTER, DIGIT, SPACE, NEWLINE = 0, 1, 2, 3, 4
LONGEST = 30  # bytes of a word; longer runs are cut, so that junk does not become one token
_FNV, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


@njit(cache=True)
def hash_word(data: NDArray[np.uint8], start: int, end: int) -> np.uint64:
    """FNV-1a over the bytes, ASCII capitals as small letters. Never 0, which marks a free place in the table."""
    value = _FNV
    for at in range(start, end):
        byte = data[at]
        if 65 <= byte <= 90:
            byte += np.uint8(32)
        value = (value ^ np.uint64(byte)) * _PRIME
    return value if value != np.uint64(0) else np.uint64(1)


@njit(cache=True)
def is_listed(table: NDArray[np.uint64], value: np.uint64) -> bool:
    """Look a hash up in an open-addressing table whose size is a power of two, with free places."""
    mask = np.uint64(len(table) - 1)
    place = value & mask
    while table[place] != np.uint64(0):
        if table[place] == value:
            return True
        place = (place + np.uint64(1)) & mask
    return False


@njit(cache=True)
def write_tokens(
    data: NDArray[np.uint8], kinds: NDArray[np.uint8], table: NDArray[np.uint64], out: NDArray[np.uint8]
) -> int:
    """Write the grammar tokens of ``data``, each followed by a space; return how many bytes were written."""
    at, to = 0, 0
    while at < len(data):
        start, kind = at, kinds[data[at]]
        at += 1
        if kind == SPACE:
            continue
        if kind == NEWLINE:
            to, at = _write_break(data, kinds, at, out, to)
        elif kind == LETTER:
            while at < len(data) and at - start < LONGEST and _inside_word(kinds, data[at]):
                at += 1
            to = _write_word(data, start, at, table, out, to)
        elif kind == DIGIT:
            while at < len(data) and at - start < 5 and kinds[data[at]] == DIGIT:
                at += 1
            for _ in range(start, at):
                out[to] = 48
                to += 1
        else:
            out[to] = data[start]
            to += 1
            while at < len(data) and at - start < 3 and kinds[data[at]] == OTHER:
                out[to] = data[at]
                to, at = to + 1, at + 1
        out[to] = 32
        to += 1
    return to


@njit(cache=True)
def _inside_word(kinds: NDArray[np.uint8], byte: int) -> bool:
    return kinds[byte] == LETTER or kinds[byte] == DIGIT or byte == 39  # an apostrophe


@njit(cache=True)
def _write_break(
    data: NDArray[np.uint8], kinds: NDArray[np.uint8], at: int, out: NDArray[np.uint8], to: int
) -> tuple[int, int]:
    """``|1|`` for a line break, ``|2|`` for a paragraph break; spaces between newlines do not count."""
    lines = 1
    while at < len(data) and kinds[data[at]] >= SPACE:
        lines += kinds[data[at]] == NEWLINE
        at += 1
    out[to], out[to + 1], out[to + 2] = 124, 49 if lines == 1 else 50, 124
    return to + 3, at


@njit(cache=True)
def _write_word(
    data: NDArray[np.uint8], start: int, end: int, table: NDArray[np.uint64], out: NDArray[np.uint8], to: int
) -> int:
    """A function word as it is; any other as ``~``, ``^`` (capital) or ``^^`` (all capitals) and its last two bytes."""
    listed = is_listed(table, hash_word(data, start, end))
    if not listed:
        capital = 65 <= data[start] <= 90
        out[to] = 94 if capital else 126
        to += 1
        if capital and end - start > 1 and 65 <= data[end - 1] <= 90:
            out[to] = 94
            to += 1
    first = start if listed else max(start, end - 2)
    for at in range(first, end):
        byte = data[at]
        if 65 <= byte <= 90:
            byte += np.uint8(32)
        # A torn character is not valid UTF-8: all that is not ASCII looks alike.
        out[to] = byte if listed or byte < 128 else 95
        to += 1
    return to

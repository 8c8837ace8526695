"""Small patterns that the kernel counts: entities, leftover tags, chat tokens, escapes, two giveaway phrases.

Each matcher looks at the code points from one place on and is called only where a trigger character stands. They
look ahead at most ``LOOK_AHEAD`` characters, so the time is linear on any input; the buffer must be padded with
that many zeros behind the text.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.signals import slots

Points = NDArray[np.int32]
Counts = NDArray[np.int64]
Words = NDArray[np.int32]

LOOK_AHEAD = 48

ENTITY_NAMES = ("nbsp", "lt", "gt", "amp", "quot", "apos", "copy", "reg", "hellip", "ldquo", "rdquo", "ndash", "mdash")
"""The thirteen entity names counted as leftovers (our choice; the published rule gives the number, not the names)."""


def _points(words: tuple[str, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    table = np.zeros((len(words), max(map(len, words))), np.int32)
    for at, word in enumerate(words):
        table[at, : len(word)] = [ord(character) for character in word]
    return table


_ENTITIES = _points(ENTITY_NAMES)
_TAGS = _points(("img", "p", "o:p"))
_PHRASES = _points(("lorem ipsum", "javascript", "https://", "http://", "www."))
_AMPERSAND, _WIDE_AMPERSAND, _SEMICOLON, _WIDE_SEMICOLON = 0x26, 0xFF06, 0x3B, 0xFF1B


@njit(cache=True)
def small(point: int) -> int:
    """ASCII lower case."""
    return point | 32 if 65 <= point <= 90 else point


@njit(cache=True)
def follows(points: Points, at: int, words: Words, which: int) -> int:
    """Length of ``words[which]`` when it stands at ``at`` (ASCII case ignored), else 0."""
    length = 0
    while length < words.shape[1] and words[which, length] != 0:
        if small(points[at + length]) != words[which, length]:
            return 0
        length += 1
    return length


@njit(cache=True)
def is_hex(point: int) -> bool:
    return 48 <= point <= 57 or 97 <= small(point) <= 102


@njit(cache=True)
def is_entity(points: Points, at: int) -> bool:
    """``&name;``, ``&#8230;`` or ``&#x2026;`` at ``at``; ampersand and semicolon may be full-width."""
    at += 1
    if points[at] == 35:
        at += 1
        hexadecimal = small(points[at]) == 120
        first = at + 1 if hexadecimal else at
        at = first
        while at < first + 7 and (is_hex(points[at]) if hexadecimal else 48 <= points[at] <= 57):
            at += 1
        return at > first and (points[at] == _SEMICOLON or points[at] == _WIDE_SEMICOLON)
    for which in range(_ENTITIES.shape[0]):
        length = follows(points, at, _ENTITIES, which)
        if length and (points[at + length] == _SEMICOLON or points[at + length] == _WIDE_SEMICOLON):
            return True
    return False


@njit(cache=True)
def is_tag(points: Points, at: int) -> bool:
    """``<img``, ``<p`` or ``<o:p``, opening or closing, followed by a blank, a slash or the end of the tag."""
    at += 2 if points[at + 1] == 47 else 1
    for which in range(_TAGS.shape[0]):
        length = follows(points, at, _TAGS, which)
        after = points[at + length]
        if length and after in (32, 47, 62):
            return True
    return False


@njit(cache=True)
def is_chat_token(points: Points, at: int) -> bool:
    """``<|name|>``: 1 to 32 letters or underscores between the bars."""
    if points[at + 1] != 124:
        return False
    first = at + 2
    at = first
    while at < first + 32 and (97 <= small(points[at]) <= 122 or points[at] == 95):
        at += 1
    return at > first and points[at] == 124 and points[at + 1] == 62


@njit(cache=True)
def is_escape(points: Points, at: int) -> bool:
    r"""``\ud83d`` or ``\U0001f600``: an escaped character that nobody decoded."""
    if small(points[at + 1]) != 117:
        return False
    return is_hex(points[at + 2]) and is_hex(points[at + 3]) and is_hex(points[at + 4]) and is_hex(points[at + 5])


@njit(cache=True)
def count_pattern(points: Points, at: int, row: Counts) -> None:
    """Add what stands at trigger position ``at`` to ``row``."""
    point = points[at]
    if point in (_AMPERSAND, _WIDE_AMPERSAND):
        row[slots.ENTITIES] += is_entity(points, at)
    elif point == 60:
        row[slots.TAGS] += is_tag(points, at)
        row[slots.GARBAGES] += is_chat_token(points, at)
    elif point == 92:
        row[slots.GARBAGES] += is_escape(points, at)
    elif small(points[at + 1]) == 111:
        row[slots.LOREM_IPSUM] += follows(points, at, _PHRASES, 0) > 0
    elif small(points[at + 1]) == 97:
        row[slots.JAVASCRIPT] += follows(points, at, _PHRASES, 1) > 0


@njit(cache=True)
def is_address(points: Points, at: int) -> bool:
    """``https://``, ``http://`` or ``www.`` stands at ``at``."""
    return follows(points, at, _PHRASES, 2) + follows(points, at, _PHRASES, 3) + follows(points, at, _PHRASES, 4) > 0

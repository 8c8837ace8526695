"""The compiled half of line editing: which lines go, why, and the text that remains.

One pass per line over UTF-8 bytes, into a buffer of the size of the input (the output of a text is never longer).
Linear: every phrase is looked for only where its first letter stands. Words are cut at ASCII blanks, phrases match
whatever the case of ASCII letters; ``stages.normalise`` has made the other blanks plain before.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Numbers = NDArray[np.int32]
Phrases = NDArray[np.uint8]
Switches = NDArray[np.bool_]

MAX_WORD, CITATION, TERMINAL, MIN_WORDS, JAVASCRIPT, POLICY, COLON = range(7)
RULES = 7
"""Columns of the counts, in the order in which the rules are tried: the first that fails a line is counted."""


def _table(phrases: tuple[str, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    table = np.zeros((len(phrases), max(map(len, phrases)) + 1), np.uint8)
    for at, phrase in enumerate(phrases):
        table[at, : len(phrase)] = list(phrase.encode())
    return table


POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_POLICY = _table(POLICY_PHRASES)
_JAVASCRIPT = _table(("javascript",))
_CITATIONS = _table(("edit]", "citation needed]"))


@njit(cache=True)
def is_blank(byte: int) -> bool:
    """ASCII white space."""
    return byte == 32 or 9 <= byte <= 13


@njit(cache=True)
def phrase_at(data: Bytes, at: int, end: int, phrases: Phrases, fold: bool) -> int:
    """Length of the phrase that stands at ``at``, or 0; ``fold`` ignores ASCII case."""
    for which in range(phrases.shape[0]):
        length = 0
        while phrases[which, length] != 0 and at + length < end:
            byte = data[at + length]
            if fold and 65 <= byte <= 90:
                byte += 32
            if byte != phrases[which, length]:
                break
            length += 1
        if phrases[which, length] == 0:
            return length
    return 0


@njit(cache=True)
def holds_phrase(data: Bytes, start: int, end: int, phrases: Phrases) -> bool:
    """Whether one of the phrases occurs in ``data[start:end]``."""
    for at in range(start, end):
        byte = data[at] | 32
        # First letters of all phrases: c, j, p, t, u.
        if byte in (99, 106, 112, 116, 117) and phrase_at(data, at, end, phrases, True):
            return True
    return False


@njit(cache=True)
def measure_words(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """(words, characters of the longest word) of a line."""
    words, longest, length = 0, 0, 0
    for at in range(start, end):
        byte = data[at]
        if is_blank(byte):
            length = 0
            continue
        words += length == 0
        length += (byte & 0xC0) != 0x80 or length == 0
        longest = max(longest, length)
    return words, longest


@njit(cache=True)
def citation_at(data: Bytes, at: int, end: int) -> int:
    """Length of ``[12]``, ``[]``, ``[edit]`` or ``[citation needed]`` at ``at``, else 0."""
    if data[at] != 91:
        return 0
    close = at + 1
    while close < end and 48 <= data[close] <= 57:
        close += 1
    if close < end and data[close] == 93:
        return close + 1 - at
    length = phrase_at(data, at + 1, end, _CITATIONS, False)
    return length + 1 if length else 0


@njit(cache=True)
def copy_line(data: Bytes, start: int, end: int, out: Bytes, to: int, citations: bool) -> tuple[int, int]:
    """Copy a line, without citation marks if so wished; returns (end of the output, marks left out)."""
    at, begin, removed = start, to, 0
    while at < end:
        length = citation_at(data, at, end) if citations else 0
        if length:
            removed += 1
            at += length
            if at < end and is_blank(data[at]) and (to == begin or is_blank(out[to - 1])):
                at += 1
            continue
        out[to] = data[at]
        to += 1
        at += 1
    while removed and to > begin and is_blank(out[to - 1]):
        to -= 1
    return to, removed


@njit(cache=True)
def ends_terminal(data: Bytes, start: int, end: int) -> bool:
    """Whether a line ends in . ! ? or a straight or curly closing quote, and not in three dots: C4."""
    if end - start >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46:
        return False
    last = data[end - 1]
    if last in (46, 33, 63, 34, 39):
        return True
    return last in (0x99, 0x9D) and end - start >= 3 and data[end - 3] == 0xE2 and bool(data[end - 2] == 0x80)


@njit(cache=True)
def failing_rule(
    data: Bytes, start: int, end: int, out: Bytes, begin: int, to: int, active: Switches, bounds: Offsets
) -> int:
    """The first active rule that drops the line (copied to ``out[begin:to]``), or -1."""
    words, longest = measure_words(data, start, end)
    rule = -1
    if active[MAX_WORD] and longest > bounds[1]:
        rule = MAX_WORD
    elif to == begin:
        rule = CITATION
    elif active[TERMINAL] and not ends_terminal(out, begin, to):
        rule = TERMINAL
    elif active[MIN_WORDS] and words < bounds[0]:
        rule = MIN_WORDS
    elif active[JAVASCRIPT] and holds_phrase(out, begin, to, _JAVASCRIPT):
        rule = JAVASCRIPT
    elif active[POLICY] and holds_phrase(out, begin, to, _POLICY):
        rule = POLICY
    return rule


@njit(cache=True)
def drop_colons(out: Bytes, begin: int, to: int, counts: Numbers) -> int:
    """Take last lines off while they end in a colon (full-width too); returns the new end."""
    while to > begin:
        wide = to - begin >= 3 and out[to - 3] == 0xEF and out[to - 2] == 0xBC and out[to - 1] == 0x9A
        if out[to - 1] != 58 and not wide:
            return to
        counts[COLON] += 1
        while to > begin and out[to - 1] != 10:
            to -= 1
        while to > begin and out[to - 1] == 10:
            to -= 1
    return to


@njit(cache=True)
def edit_text(
    data: Bytes, start: int, end: int, out: Bytes, to: int, active: Switches, bounds: Offsets, counts: Numbers
) -> int:
    """Edit one text into ``out[to:]``; returns the end of the output."""
    origin, line, gap = to, start, 0
    while line <= end:
        stop = line
        while stop < end and data[stop] != 10:
            stop += 1
        line_start, first, last = line, line, stop
        while first < last and is_blank(data[first]):
            first += 1
        while last > first and is_blank(data[last - 1]):
            last -= 1
        line = stop + 1
        if first == last:
            gap = 2 if to > origin else 0
            continue
        indent = first - line_start if to > origin else 0
        begin = to + gap + indent
        new_end, removed = copy_line(data, first, last, out, begin, active[CITATION])
        rule = failing_rule(data, first, last, out, begin, new_end, active, bounds)
        if rule >= 0:
            counts[rule] += 1
            continue
        counts[CITATION] += removed > 0
        for place in range(to, to + gap):
            out[place] = 10
        for place in range(indent):
            out[to + gap + place] = data[line_start + place]
        to, gap = new_end, 1
    return drop_colons(out, origin, to, counts) if active[COLON] else to


@njit(cache=True)
def edit_texts(
    data: Bytes, offsets: Offsets, active: Switches, bounds: Offsets, out: Bytes, new_offsets: Offsets, counts: Numbers
) -> None:
    """Edit all texts; ``bounds`` is (least words per line, most characters per word)."""
    to = 0
    for at in range(len(offsets) - 1):
        to = edit_text(data, offsets[at], offsets[at + 1], out, to, active, bounds, counts[at])
        new_offsets[at + 1] = to

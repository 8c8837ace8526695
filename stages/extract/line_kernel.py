"""One pass over resiliparse's minimal HTML: plain text, its lines, and what each line is made of.

The fast engine writes a page's main content as lines with a few tags (``p h1-h6 li pre a br``). This kernel takes the
tags out, decodes the four entities that resiliparse writes, and counts per line what tells prose from boilerplate:
words, words inside links, commas, sentence ends, capitals, digits, separators, and the weights of its words. 0.05 ms
for an average page. It does not judge: see ``line_judge``.

Words are runs of ASCII letters, digits and bytes above 127 (without general punctuation); Chinese, Japanese and Korean
characters count as half a word. Everything is linear in the bytes and within bounds on any input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Columns of the counts that ``read_lines`` returns.
KIND, WORDS, LINK_WORDS, CHARACTERS, LINKS, COMMAS, STOPS, DIGIT_WORDS, CAPITALISED, UPPER = range(10)
ENDING, SEPARATORS, WORD_WEIGHT, QUESTIONS, GAP, COLONS, LONGEST, LEAST_WEIGHT, MOST_WEIGHT = range(10, 19)
COLUMNS = 19

TEXT, PARAGRAPH, HEADING, ITEM, PREFORMATTED = range(5)  # values of KIND

FNV_OFFSET = np.uint64(14695981039346656037)
FNV_PRIME = np.uint64(1099511628211)

_A, _P, _LI, _PRE = 0x61, 0x70, 0x6C69, 0x707265  # names of tags as integers
_NEWLINE, _SPACE, _LESS, _AMPERSAND = 10, 32, 60, 38


def read_lines(markup: str, word_weights: Floats) -> tuple[bytes, Any, Any]:
    """Text (UTF-8), byte spans of its lines ``int64[n, 2]``, and counts ``float32[n, COLUMNS]``.

    Lines without a word are left out. ``word_weights`` has a power-of-two length; a word's weight is found by the hash
    of its lower-case bytes.
    """
    text, spans, counts = _read(np.frombuffer(markup.encode("utf-8", "replace"), dtype=np.uint8), word_weights)
    return text.tobytes(), spans, counts


@njit(cache=True)
def bucket_of(word_hash: np.uint64, buckets: int) -> int:
    """Which of ``buckets`` (a power of two) a finished word hash falls into."""
    return int(np.int64((word_hash ^ (word_hash >> np.uint64(29))) & np.uint64(buckets - 1)))


@njit(cache=True)
def _read(source: Bytes, weights: Floats) -> tuple[Bytes, NDArray[np.int64], Floats]:
    size = source.size
    rows = 1
    for byte in source:
        rows += byte == _NEWLINE
    text = np.empty(size + 1, np.uint8)
    linked = np.zeros(size + 1, np.bool_)
    spans = np.zeros((rows, 2), np.int64)
    counts = np.zeros((rows, COLUMNS), np.float32)
    row = at = written = start = links = 0
    kind, gap = TEXT, 1
    in_link = in_pre = False
    while at <= size:
        byte = int(np.int64(source[at])) if at < size else _NEWLINE
        if byte == _LESS:
            at, name, opens = _tag(source, at)
            if name == _A:
                in_link = opens
                links += opens
            else:
                in_pre = opens if name == _PRE else in_pre
                kind = _kind(name, kind) if opens else kind
        elif byte == _NEWLINE:
            written = _count_line(text, linked, start, written, weights, counts[row])
            if counts[row, WORDS] > 0:
                counts[row, KIND], counts[row, GAP], counts[row, LINKS] = kind, gap, links
                spans[row, 0], spans[row, 1] = start, written
                text[written] = _NEWLINE
                start = written = written + 1
                row, gap = row + 1, 0
            else:
                counts[row] = 0
                written = start
                gap += 1
            kind, links, in_link = PREFORMATTED if in_pre else TEXT, 0, in_link and in_pre
            at += 1
        else:
            at, byte = _entity(source, at, byte)
            if written > start or byte > _SPACE or in_pre:
                text[written], linked[written] = byte, in_link
                written += 1
    return text[: max(0, written)], spans[:row], counts[:row]


@njit(cache=True)
def _tag(source: Bytes, at: int) -> tuple[int, int, bool]:
    """Behind the tag that starts at ``at``, its name as an integer of at most three letters, and whether it opens."""
    size = source.size
    at += 1
    opens = at >= size or source[at] != 47
    at += not opens
    name, length = 0, 0
    while at < size and (97 <= source[at] <= 122 or 48 <= source[at] <= 57):
        name = name * 256 + int(np.int64(source[at])) if length < 3 else 0
        length += 1
        at += 1
    quoted = False
    while at < size and (quoted or source[at] != 62):
        quoted = quoted != (source[at] == 34)
        at += 1
    return min(at + 1, size), name, opens


@njit(cache=True)
def _kind(name: int, before: int) -> int:
    """Kind of a line in which a tag of this name opens."""
    if name == _P:
        return PARAGRAPH
    if name == _LI:
        return ITEM
    if name == _PRE:
        return PREFORMATTED
    return HEADING if name >> 8 == 0x68 else before


@njit(cache=True)
def _entity(source: Bytes, at: int, byte: int) -> tuple[int, int]:
    """Where the character at ``at`` ends, and the byte it stands for."""
    size = source.size
    if byte != _AMPERSAND or at + 3 >= size:
        return at + 1, byte
    first, second, third = source[at + 1], source[at + 2], source[at + 3]
    if second == 116 and third == 59 and 103 <= first <= 108:  # lt; gt;
        return at + 4, _LESS if first == 108 else 62
    if at + 4 < size and first == 97 and second == 109 and third == 112 and source[at + 4] == 59:  # amp;
        return at + 5, _AMPERSAND
    if at + 5 < size and first == 113 and second == 117 and third == 111 and source[at + 5] == 59:  # quot;
        return at + 6, 34
    return at + 1, byte


@njit(cache=True)
def _count_line(text: Bytes, linked: NDArray[np.bool_], start: int, end: int, weights: Floats, line: Floats) -> int:
    """Fill the counts of the line ``text[start:end]``; returns its end without trailing blanks."""
    while end > start and text[end - 1] <= _SPACE:
        end -= 1
    at = start
    while at < end:
        if _in_word(text, at, end):
            at = _count_word(text, linked, at, end, weights, line)
        else:
            at += _count_mark(text[at], line)
    for byte in text[start:end]:
        line[CHARACTERS] += byte < 128 or byte >= 192
    if end > start:
        line[ENDING] = _ending(text, end)
    return end


@njit(cache=True)
def _in_word(text: Bytes, at: int, end: int) -> bool:
    byte = text[at]
    if byte < 128:
        return bool(48 <= byte <= 57 or 97 <= (byte | 32) <= 122)
    if byte == 0xE2 and at + 2 < end:  # general punctuation: quotes, dashes, ellipsis, but no apostrophes
        return bool(text[at + 1] > 0x81 or (text[at + 1] == 0x80 and 0x98 <= text[at + 2] <= 0x99))
    return True


@njit(cache=True)
def _count_word(text: Bytes, linked: NDArray[np.bool_], at: int, end: int, weights: Floats, line: Floats) -> int:
    """Count the word that starts at ``at``; returns where it ends."""
    first, begin = text[at], at
    value = FNV_OFFSET
    upper, wide, digits = 0, 0, False
    while at < end and _in_word(text, at, end):
        step = 3 if text[at] == 0xE2 and at + 2 < end else 1
        for place in range(at, at + step):
            byte = text[place]
            capital = 65 <= byte <= 90
            upper += capital
            digits = digits or 48 <= byte <= 57
            wide += 0xE3 <= byte <= 0xED
            value = (value ^ np.uint64(byte + 32 if capital else byte)) * FNV_PRIME
        at += step
    amount = 1.0 if wide == 0 else max(1.0, wide * 0.5)
    line[WORDS] += amount
    line[LINK_WORDS] += amount if linked[begin] else 0.0
    line[DIGIT_WORDS] += amount if digits else 0.0
    line[CAPITALISED] += 65 <= first <= 90
    line[UPPER] += upper == at - begin and upper > 1
    line[LONGEST] = max(line[LONGEST], at - begin)
    weight = weights[bucket_of(value, weights.size)]
    line[WORD_WEIGHT] += weight
    line[LEAST_WEIGHT] = min(line[LEAST_WEIGHT], weight)
    line[MOST_WEIGHT] = max(line[MOST_WEIGHT], weight)
    return at


@njit(cache=True)
def _count_mark(byte: int, line: Floats) -> int:
    """Count what is no word; returns how many bytes to go on."""
    if byte == 0x2C:
        line[COMMAS] += 1
    elif byte == 0x2E or byte == 0x21 or byte == 0x3F:  # noqa: PLR1714 - numba is fastest with plain comparisons
        line[STOPS] += 1
        line[QUESTIONS] += byte == 0x3F
    elif byte == 0x3A:
        line[COLONS] += 1
    elif byte == 0x7C or byte == 0x3E or byte == 0x2F:  # noqa: PLR1714
        line[SEPARATORS] += 1
    return 3 if byte == 0xE2 else 1


@njit(cache=True)
def _ending(text: Bytes, end: int) -> float:
    """1 for a line that ends like a sentence (also in a quote, ellipsis, ideographic stop), 0.5 after a colon."""
    last = text[end - 1]
    if last < 128:
        stop = last == 0x2E or last == 0x21 or last == 0x3F or last == 0x22  # noqa: PLR1714
        return 1.0 if stop else 0.5 if last == 0x3A else 0.0
    if end < 3:
        return 0.0
    before, middle = text[end - 3], text[end - 2]
    if before == 0xE2 and middle == 0x80:
        return 1.0 if last == 0x9D or last == 0xA6 else 0.0  # noqa: PLR1714
    return 1.0 if before == 0xE3 and middle == 0x80 and last == 0x82 else 0.0

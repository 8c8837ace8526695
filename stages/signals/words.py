"""The two passes that cut a text into words: raw words with their normalised forms, and words and marks.

What a word is, is said in ``stages.signals.definitions``. Both passes are linear and leave 64-bit hashes behind, which
``stages.signals.repetition`` counts.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.signals import slots
from stages.signals.characters import BREAK, CJK, LETTER, LOWER, MARK, NUMBER, PUNCTUATION, SPACE, UPPER

Points = NDArray[np.int32]
Flags = NDArray[np.uint16]
Counts = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int32]

WORD = LETTER | NUMBER | MARK
SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)
LETTERS_PER_TOKEN = 7
DIGITS_PER_TOKEN = 3
MARKS_PER_TOKEN = 4
_APOSTROPHE, _RIGHT_QUOTE, _LOW_LINE, _NEWLINE = 0x27, 0x2019, 0x5F, 0x0A
_COMMA, _HYPHEN, _DOT, _SLASH, _COLON = 0x2C, 0x2D, 0x2E, 0x2F, 0x3A
_GREEK = 0x370  # first letter of another script than Latin


@njit(cache=True)
def mix(state: np.uint64, point: int) -> np.uint64:
    """One step of the FNV-1a hash, over code points instead of bytes."""
    return (state ^ np.uint64(point)) * PRIME


@njit(cache=True)
def lower(point: int, flag: int, small: Points) -> int:
    """Lower-case form of one code point."""
    return small[point] if flag & (UPPER | LOWER) and point < small.shape[0] else point


@njit(cache=True)
def scan_raw_words(points: Points, flags: Flags, count: int, small: Points, hashes: Hashes, row: Counts) -> int:
    """Blank-separated words, and their normalised forms (punctuation deleted, lower case) as hashes.

    Returns the number of normalised words: raw words that are not punctuation only.
    """
    at, normal, raw, ascii_words, letter_words, longest, characters = 0, 0, 0, 0, 0, 0, 0
    while at < count:
        if flags[at] & SPACE:
            at += 1
            continue
        first, union, ascii_union, kept, state = at, 0, 0, 0, SEED
        while at < count and not flags[at] & SPACE:
            flag, point = int(np.int64(flags[at])), int(points[at])
            union |= flag
            if point < 128:
                ascii_union |= flag
            if not flag & PUNCTUATION:
                state = mix(state, lower(point, flag, small))
                kept += 1
            at += 1
        raw += 1
        ascii_words += ascii_union & LETTER
        letter_words += union & LETTER
        longest = max(longest, at - first)
        if kept:
            hashes[normal] = state
            normal += 1
            characters += kept
    row[slots.RAW_WORDS], row[slots.RAW_WORDS_ASCII], row[slots.RAW_WORDS_LETTER] = raw, ascii_words, letter_words
    row[slots.LONGEST_RAW_WORD], row[slots.NORMAL_WORDS], row[slots.NORMAL_CHARACTERS] = longest, normal, characters
    return normal


@njit(cache=True, inline="always")
def joins(points: Points, flags: Flags, at: int) -> bool:
    """Whether the mark at ``at``, between two word characters, holds one word together: don't, 3.14, 13:30, a_b."""
    before, after = flags[at - 1], flags[at + 1]
    if not after & WORD or after & CJK:
        return False
    point = points[at]
    if point in (_APOSTROPHE, _RIGHT_QUOTE):
        return bool(before & after & LETTER)
    if point in (_DOT, _COMMA, _SLASH, _COLON, _HYPHEN):
        return bool(before & after & NUMBER)
    return bool(point == _LOW_LINE)


@njit(cache=True, inline="always")
def read_word(points: Points, flags: Flags, count: int, at: int) -> tuple[int, np.uint64, int]:
    """Read the word that starts at ``at``; returns (where it ends, its hash, the union of its flags)."""
    union, state = int(np.int64(flags[at])), mix(SEED, points[at])
    at += 1
    if union & CJK:
        return at, state, union
    while at < count:
        flag = int(np.int64(flags[at]))
        if flag & CJK or (not flag & WORD and not joins(points, flags, at)):
            break
        union |= flag
        state = mix(state, points[at])
        at += 1
    return at, state, union


@njit(cache=True, inline="always")
def read_mark(points: Points, count: int, at: int) -> tuple[int, np.uint64]:
    """Read the run of one character that starts at ``at``; returns (where it ends, its hash)."""
    point, state = points[at], SEED
    while at < count and points[at] == point:
        state = mix(state, point)
        at += 1
    return at, state


@njit(cache=True)
def tokens_of_word(length: int, union: int, first: int) -> int:
    """Estimated sub-word tokens of one word; see ``token_num`` in stages.signals.definitions."""
    if union & CJK:
        return 1
    per_token = LETTERS_PER_TOKEN if union & LETTER and first < _GREEK else DIGITS_PER_TOKEN
    return (length + per_token - 1) // per_token


@njit(cache=True)
def scan_words(points: Points, flags: Flags, count: int, hashes: Hashes, ends: Numbers, row: Counts) -> int:
    """Words and marks: hashes and running length of each, in order; returns how many of both.

    A mark is a run of one and the same character that is neither blank nor part of a word.
    """
    at, total, words, run, longest, tokens, letter_words, caps, in_break = 0, 0, 0, 0, 0, 0, 0, 0, False
    ends[0] = 0
    while at < count:
        flag, first = int(np.int64(flags[at])), at
        if flag & SPACE:
            at += 1
            if points[first] == _NEWLINE:
                run = 0
                tokens += not in_break
                in_break = True
            continue
        in_break = False
        if flag & WORD:
            at, state, union = read_word(points, flags, count, at)
            words += 1
            run += 1
            longest = max(longest, run)
            letter_words += union & LETTER
            caps += union & (UPPER | LOWER) == UPPER
            tokens += tokens_of_word(at - first, union, points[first])
        else:
            run = 0 if flag & BREAK else run
            at, state = read_mark(points, count, at)
            tokens += (at - first + MARKS_PER_TOKEN - 1) // MARKS_PER_TOKEN
        hashes[total] = state
        total += 1
        ends[total] = ends[total - 1] + (at - first)
    row[slots.WORDS], row[slots.MARKS], row[slots.WORDS_AND_MARKS] = words, total - words, total
    row[slots.WORDS_LETTER], row[slots.WORDS_CAPS], row[slots.LONGEST_RUN] = letter_words, caps, longest
    row[slots.TOKENS] = tokens
    return total

"""Compiled loops over UTF-8: text -> words -> hashes of shingles.

A document is read once. A word is a maximal run of ``\\w`` characters in lower case, exactly as in
``re.findall(r"\\w+", text.lower())`` (see ``code_points``). A shingle is ``ngram`` words in a row, hashed to 64 bits
with a rolling polynomial over the hashes of its words; a document with fewer words is one shingle as a whole; one
without words has none. Time is linear in the bytes, whatever they are: bytes that are not UTF-8 separate words.

Text in scripts without blanks comes out as long words, one per run between punctuation marks: few shingles, and one
changed character spoils five of them. ``characters`` makes each character of these scripts a word of its own.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.dedup.code_points import CASED, DOTTED_I, FINAL_SIGMA, IGNORABLE, LOWER, SIGMA, UNSPACED, WORD

WORD_SEED = np.uint64(0x243F6A8885A308D3)
WORD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
SHINGLE_FACTOR = np.uint64(0xD6E8FEB86659FD93)
SHORT_SALT = np.uint64(0xA0761D6478BD642F)
NOT_A_WORD = 0xFFFD

Bytes = NDArray[np.uint8]
Table = NDArray[np.uint32]
Words = NDArray[np.uint64]
Index = NDArray[np.int64]
Integer: TypeAlias = "int | np.int64"


@njit(cache=True)
def mix(value: np.uint64) -> np.uint64:
    """The finaliser of splitmix64: a bijection in which every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True)
def _sequence_length(lead: Integer) -> int:
    if lead < 0x80:
        return 1
    if lead < 0xC2 or lead > 0xF4:
        return 0  # a continuation byte or one that UTF-8 never uses
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


@njit(cache=True)
def decode(data: Bytes, at: Integer, end: Integer) -> tuple[Integer, Integer]:
    """The code point at ``at`` and where the next one starts; ill-formed bytes are passed one by one."""
    lead = np.int64(data[at])
    length = _sequence_length(lead)
    if length == 1:
        return lead, at + 1
    if length == 0 or at + length > end:
        return NOT_A_WORD, at + 1
    point = lead & (0x7F >> length)
    for i in range(at + 1, at + length):
        byte = np.int64(data[i])
        if byte & 0xC0 != 0x80:
            return NOT_A_WORD, at + 1
        point = point << 6 | (byte & 0x3F)
    if point > 0x10FFFF:
        return NOT_A_WORD, at + 1
    return point, at + length


@njit(cache=True)
def _final_sigma(data: Bytes, start: Integer, at: Integer, following: Integer, end: Integer, table: Table) -> bool:
    """Whether the capital sigma at ``at`` ends a word: a cased letter before it, none after it, ignorable ones aside.

    Both scans stop at the next sigma, which is not ignorable: a text full of them is still read in linear time.
    """
    before = False
    while at > start:
        point, at = _decode_backwards(data, start, at)
        if not table[point] & IGNORABLE:
            before = table[point] & CASED != 0
            break
    if not before:
        return False
    while following < end:
        point, following = decode(data, following, end)
        if not table[point] & IGNORABLE:
            return not table[point] & CASED
    return True


@njit(cache=True)
def _decode_backwards(data: Bytes, start: Integer, end: Integer) -> tuple[Integer, Integer]:
    """The code point that ends before ``end`` and where it starts."""
    first = end - 1
    while first > start and end - first < 4 and data[first] & 0xC0 == 0x80:
        first -= 1
    point, following = decode(data, first, end)
    return (point, first) if following == end else (NOT_A_WORD, end - 1)


@njit(cache=True)
def shingle_document(
    data: Bytes, start: int, end: int, table: Table, ngram: int, characters: bool, ring: Words, out: Words
) -> int:
    """Write the shingle hashes of one text, in order and with repeats, to ``out``; returns their number.

    ``ring`` has room for ``ngram`` word hashes, ``out`` for ``(end - start) // 2 + 2`` shingle hashes.
    """
    oldest_factor = np.uint64(1)
    for _ in range(ngram):
        oldest_factor *= SHINGLE_FACTOR
    words, slot, rolling, word, inside = 0, 0, np.uint64(0), WORD_SEED, False
    at: Integer = start
    while at < end:
        point: Integer = np.int64(data[at])
        following: Integer = at + 1
        if point >= 0x80:
            point, following = decode(data, at, end)
        entry = table[point]
        in_word, alone = entry & WORD != 0, False
        if point >= 0x80 and in_word:
            alone = characters and entry & UNSPACED != 0
            if point == SIGMA and _final_sigma(data, start, at, following, end, table):
                entry = np.uint32(FINAL_SIGMA)
        if inside and (alone or not in_word):
            rolling, slot = _roll(rolling, mix(word), words, slot, ring, ngram, oldest_factor)
            words, word, inside = _emit(words + 1, ngram, rolling, out), WORD_SEED, False
        if in_word:
            word, inside = (word ^ np.uint64(entry & LOWER)) * WORD_FACTOR, True
            if alone or point == DOTTED_I:  # the lower case of the latter ends in a combining dot, which is no \w
                rolling, slot = _roll(rolling, mix(word), words, slot, ring, ngram, oldest_factor)
                words, word, inside = _emit(words + 1, ngram, rolling, out), WORD_SEED, False
        at = following
    if inside:
        rolling, slot = _roll(rolling, mix(word), words, slot, ring, ngram, oldest_factor)
        words = _emit(words + 1, ngram, rolling, out)
    if 0 < words < ngram:
        out[0] = mix(rolling ^ (np.uint64(words) * SHORT_SALT))
        return 1
    return max(0, words - ngram + 1)


@njit(cache=True)
def _roll(
    rolling: np.uint64, word: np.uint64, words: int, slot: int, ring: Words, ngram: int, oldest_factor: np.uint64
) -> tuple[np.uint64, int]:
    """Put the hash of a word into the rolling window; once that is full, take the oldest one out."""
    rolling = rolling * SHINGLE_FACTOR + word
    if words >= ngram:
        rolling -= ring[slot] * oldest_factor
    ring[slot] = word
    return rolling, slot + 1 if slot + 1 < ngram else 0


@njit(cache=True)
def _emit(words: int, ngram: int, rolling: np.uint64, out: Words) -> int:
    """Write the shingle that ends with the last of ``words`` words; returns ``words``."""
    if words >= ngram:
        out[words - ngram] = mix(rolling)
    return words


@njit(cache=True)
def scratch_room(offsets: Index) -> int:
    """Shingles that the longest text can have, and three more to fill up a group of four."""
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest // 2 + 5


@njit(cache=True)
def shingle_lists(data: Bytes, offsets: Index, table: Table, ngram: int, characters: bool) -> tuple[Index, Words]:
    """The shingle hashes of every text, in order and with repeats, as ``(offsets, values)``."""
    count = len(offsets) - 1
    starts = np.zeros(count + 1, np.int64)
    values = np.empty(1024, np.uint64)
    ring = np.zeros(ngram, np.uint64)
    scratch = np.empty(scratch_room(offsets), np.uint64)
    for row in range(count):
        found = shingle_document(data, offsets[row], offsets[row + 1], table, ngram, characters, ring, scratch)
        used = starts[row]
        if used + found > len(values):
            grown = np.empty(2 * (used + found), np.uint64)
            grown[:used] = values[:used]
            values = grown
        values[used : used + found] = scratch[:found]
        starts[row + 1] = used + found
    return starts, values[: starts[count]].copy()


@njit(cache=True)
def drop_repeats(offsets: Index, values: Words) -> tuple[Index, Words]:
    """Sorted lists as sets: each value of a list once."""
    starts = np.zeros(len(offsets), np.int64)
    kept = np.empty(len(values), np.uint64)
    used = 0
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            if i == offsets[row] or values[i] != values[i - 1]:
                kept[used] = values[i]
                used += 1
        starts[row + 1] = used
    return starts, kept[:used].copy()

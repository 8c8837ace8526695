"""Counting what repeats - words, lines, paragraphs, word n-grams - in linear time, without storing the n-grams.

Things are first given small numbers (equal things, equal numbers) by a hash table whose size fits the document. An
n-gram's number then comes from the pair (number of its first n-1 words, number of its last word): no text is hashed
again, and n-grams of different words never share a number. Only positions whose (n-1)-gram is repeated are looked
at again, so ordinary prose costs little beyond n = 3, and a text of one word costs ten passes, not more.

Words themselves are compared by 64-bit hash (chance of one false match in a document of 10^6 words: 3e-8).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.signals import slots

Counts = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int32]

LONGEST = 10  # longest n-gram counted


class Table(NamedTuple):
    """Hash table memory, reused by all documents.

    Slot ``i`` is ``cells[2 * i]`` (key) and ``cells[2 * i + 1]`` (generation << 32 | number): it is in use when it
    carries the present generation, so nothing is ever cleared.
    """

    cells: NDArray[np.uint64]
    generation: NDArray[np.int64]  # shape (1,)


class Grams(NamedTuple):
    """Memory for the n-gram passes, one entry per word of the longest document."""

    names: NDArray[np.int32]  # number of the n-gram at each position still looked at
    places: NDArray[np.int32]  # those positions, ascending
    counts: NDArray[np.int32]  # occurrences by number
    firsts: NDArray[np.int32]  # first position by number


def make_table(entries: int) -> Table:
    """Memory for at most ``entries`` different keys."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return Table(np.zeros(2 * size, np.uint64), np.zeros(1, np.int64))


def make_grams(words: int) -> Grams:
    """Memory for documents of at most ``words`` words."""
    names, places, counts, firsts = (np.empty(words + 1, np.int32) for _ in range(4))
    return Grams(names, places, counts, firsts)


@njit(cache=True)
def open_table(table: Table, entries: int) -> np.uint64:
    """Start a new generation for ``entries`` keys; returns the shift that yields slots of a table half full."""
    table.generation[0] += 1
    bits = 4
    while (1 << bits) < 2 * entries:
        bits += 1
    return np.uint64(64 - bits)


@njit(cache=True, inline="always")
def number_of(table: Table, shift: np.uint64, key: np.uint64, fresh: int) -> int:
    """The number of ``key``; ``fresh`` becomes its number when it is new."""
    one, low = np.uint64(1), np.uint64(0xFFFFFFFF)
    slot = (key * np.uint64(0x9E3779B97F4A7C15)) >> shift
    last = (one << (np.uint64(64) - shift)) - one
    generation = np.uint64(table.generation[0]) << np.uint64(32)
    while True:
        mark = table.cells[slot * np.uint64(2) + one]
        if mark & ~low != generation:
            table.cells[slot * np.uint64(2)] = key
            table.cells[slot * np.uint64(2) + one] = generation | np.uint64(fresh)
            return int(np.int64(fresh))
        if table.cells[slot * np.uint64(2)] == key:
            return int(np.int64(mark & low))
        slot = (slot + one) & last


@njit(cache=True)
def count_unique(table: Table, hashes: Hashes, total: int) -> int:
    """Number of different values among the first ``total`` hashes."""
    shift = open_table(table, total)
    unique = 0
    for at in range(total):
        if number_of(table, shift, hashes[at], unique) == unique:
            unique += 1
    return unique


@njit(cache=True)
def count_duplicates(table: Table, hashes: Hashes, lengths: Numbers, total: int) -> tuple[int, int]:
    """How many of the things occurred before, and their summed lengths."""
    shift = open_table(table, total)
    unique, duplicates, characters = 0, 0, 0
    for at in range(total):
        if number_of(table, shift, hashes[at], unique) == unique:
            unique += 1
        else:
            duplicates += 1
            characters += lengths[at]
    return duplicates, characters


@njit(cache=True)
def number_words(table: Table, grams: Grams, hashes: Hashes, numbers: Numbers, total: int) -> int:
    """Write the number of each word into ``numbers``, and start ``grams`` with the words that are repeated."""
    shift = open_table(table, total)
    unique = 0
    for at in range(total):
        name = number_of(table, shift, hashes[at], unique)
        if name == unique:
            grams.counts[unique] = 0
            unique += 1
        grams.counts[name] += 1
        numbers[at] = name
    kept = 0
    for at in range(total):
        if grams.counts[numbers[at]] > 1:
            grams.names[kept], grams.places[kept] = numbers[at], at
            kept += 1
    return kept


@njit(cache=True)
def extend(table: Table, grams: Grams, numbers: Numbers, total: int, live: int, n: int) -> tuple[int, int]:
    """Turn the (n-1)-grams at the live positions into n-grams; returns (positions left, different n-grams)."""
    shift = open_table(table, live)
    kept, unique = 0, 0
    for at in range(live):
        place = grams.places[at]
        if place + n > total:
            break
        key = (np.uint64(grams.names[at]) << np.uint64(32)) | np.uint64(numbers[place + n - 1])
        name = number_of(table, shift, key, unique)
        if name == unique:
            grams.counts[name] = 0
            grams.firsts[name] = place
            unique += 1
        grams.counts[name] += 1
        grams.names[kept], grams.places[kept] = name, place
        kept += 1
    return kept, unique


@njit(cache=True)
def keep_repeated(grams: Grams, live: int) -> int:
    """Drop the positions whose n-gram occurs once; returns how many remain."""
    kept = 0
    for at in range(live):
        if grams.counts[grams.names[at]] > 1:
            grams.names[kept], grams.places[kept] = grams.names[at], grams.places[at]
            kept += 1
    return kept


@njit(cache=True)
def top_characters(grams: Grams, unique: int, ends: Numbers, total: int, n: int) -> int:
    """Characters (blanks between words included) in all occurrences of the most frequent n-gram, first on ties."""
    if total < n:
        return 0
    count, place = 1, 0
    for name in range(unique):
        if grams.counts[name] > count:
            count, place = int(grams.counts[name]), int(grams.firsts[name])
    return count * (int(ends[place + n]) - int(ends[place]) + n - 1)


@njit(cache=True)
def duplicate_characters(grams: Grams, live: int, ends: Numbers, n: int) -> int:
    """Characters in n-grams that were seen before, read from left to right without overlap."""
    characters, free = 0, 0
    for at in range(live):
        place, name = grams.places[at], grams.names[at]
        if place < free:
            continue
        if grams.counts[name] == 0:
            characters += ends[place + n] - ends[place]
            free = place + n
        else:
            grams.counts[name] = 0  # met: its count is not needed any more
    return characters


@njit(cache=True)
def count_grams(
    table: Table, grams: Grams, numbers: Numbers, ends: Numbers, total: int, live: int, row: Counts
) -> None:
    """Fill the n-gram slots of ``row``; ``live`` positions hold repeated words (see ``number_words``).

    ``ends[i]`` is the summed length of the first ``i`` words.
    """
    for n in range(2, LONGEST + 1):
        live, unique = extend(table, grams, numbers, total, live, n)
        if n <= 4:
            row[slots.TOP_2 + n - 2] = top_characters(grams, unique, ends, total, n)
        live = keep_repeated(grams, live)
        if n >= 5:
            row[slots.DUPLICATE_5 + n - 5] = duplicate_characters(grams, live, ends, n)

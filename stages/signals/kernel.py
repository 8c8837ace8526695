"""All counts of all texts of a batch: the compiled loop over Arrow's buffers.

``count_batch`` is the only entry. Memory for the longest text of the batch is made once and used for every text; it is
touched only as far as a text is long, so one long text costs address space, not time for the short ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.signals import slots
from stages.signals.characters import class_table, lower_table
from stages.signals.patterns import LOOK_AHEAD
from stages.signals.repetition import (
    Grams,
    Table,
    count_duplicates,
    count_grams,
    count_unique,
    make_grams,
    make_table,
    number_words,
)
from stages.signals.scan import (
    decode,
    scan_address,
    scan_characters,
    scan_lines,
    scan_patterns,
    scan_sentences,
)
from stages.signals.stop_words import ENGLISH, GOPHER
from stages.signals.words import PRIME, SEED, mix, scan_raw_words, scan_words

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Counts = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int32]

_STOP_SLOTS = 2048  # several times the number of stop words: most look-ups end at the first slot


class Memory(NamedTuple):
    """Arrays as long as the longest text of the batch."""

    points: NDArray[np.int32]
    flags: NDArray[np.uint16]
    hashes: NDArray[np.uint64]
    numbers: NDArray[np.int32]
    ends: NDArray[np.int32]


class Reference(NamedTuple):
    """What never changes: character tables, and stop words as an open hash table (value: bit of a Gopher word)."""

    classes: NDArray[np.uint16]
    small: NDArray[np.int32]
    stop_keys: NDArray[np.uint64]
    stop_bits: NDArray[np.int64]


def make_reference() -> Reference:
    """Build the tables; about 0.3 s."""
    keys, bits = np.zeros(_STOP_SLOTS, np.uint64), np.zeros(_STOP_SLOTS, np.int64)
    for word in sorted(ENGLISH):
        state = int(SEED)
        for character in word:
            state = ((state ^ ord(character)) * int(PRIME)) % 2**64
        slot = state % _STOP_SLOTS
        while keys[slot]:
            slot = (slot + 1) % _STOP_SLOTS
        keys[slot], bits[slot] = state, 1 << GOPHER.index(word) if word in GOPHER else 0
    return Reference(class_table(), lower_table(), keys, bits)


def count_batch(data: Bytes, offsets: Offsets, reference: Reference) -> Counts:
    """Counts of every text, shape (texts, len(slots.NAMES))."""
    longest = int(np.diff(offsets).max(initial=0)) + 1
    room = longest + LOOK_AHEAD
    memory = Memory(
        np.empty(room, np.int32), np.empty(room, np.uint16), np.empty(room, np.uint64),
        np.empty(room, np.int32), np.empty(room, np.int32),
    )  # fmt: skip
    rows = np.zeros((len(offsets) - 1, len(slots.NAMES)), np.int64)
    count_texts(data, offsets, reference, memory, make_table(longest), make_grams(longest), rows)
    return rows


@njit(cache=True)
def count_texts(
    data: Bytes, offsets: Offsets, reference: Reference, memory: Memory, table: Table, grams: Grams, rows: Counts
) -> None:
    """The loop over the texts."""
    for at in range(rows.shape[0]):
        start, end, row = offsets[at], offsets[at + 1], rows[at]
        row[slots.BYTES] = end - start
        if end == start:
            continue
        points, flags = memory.points, memory.flags
        count = decode(data, start, end, reference.classes, points, flags)
        scan_characters(points, flags, count, row)
        scan_sentences(points, flags, count, row)
        scan_patterns(points, flags, count, row)
        normal = scan_raw_words(points, flags, count, reference.small, memory.hashes, row)
        scan_address(points, flags, count, row)
        row[slots.UNIQUE_WORDS] = count_unique(table, memory.hashes, normal)
        count_stop_words(memory.hashes, normal, reference, row)
        lines = scan_lines(points, flags, count, memory.hashes, memory.numbers, row)
        count_lines(table, memory.hashes, memory.numbers, lines, row)
        words = scan_words(points, flags, count, memory.hashes, memory.ends, row)
        live = number_words(table, grams, memory.hashes, memory.numbers, words)
        count_grams(table, grams, memory.numbers, memory.ends, words, live, row)


@njit(cache=True)
def count_stop_words(hashes: Hashes, total: int, reference: Reference, row: Counts) -> None:
    """Stop words among the normalised words, and how many different ones of Gopher's eight."""
    found, bits = 0, 0
    mask = np.uint64(reference.stop_keys.shape[0] - 1)
    for at in range(total):
        slot = hashes[at] & mask
        while reference.stop_keys[slot] != 0:
            if reference.stop_keys[slot] == hashes[at]:
                found += 1
                bits |= reference.stop_bits[slot]
                break
            slot = (slot + np.uint64(1)) & mask
    row[slots.STOP_WORDS] = found
    while bits:
        row[slots.GOPHER_STOPS] += bits & 1
        bits >>= 1


@njit(cache=True)
def count_lines(table: Table, hashes: Hashes, lengths: Numbers, total: int, row: Counts) -> None:
    """Repeated lines, then repeated paragraphs: runs of lines between blank ones. Overwrites its inputs."""
    kept = 0
    paragraphs, state, size = 0, SEED, -1
    # Paragraphs first, written behind the reader: there are never more of them than lines read.
    line_hashes, line_lengths = hashes[:total].copy(), lengths[:total].copy()
    for at in range(total + 1):
        if at < total and line_lengths[at]:
            state = mix(state, line_hashes[at])
            size += line_lengths[at] + 1
        elif size >= 0:
            hashes[paragraphs], lengths[paragraphs] = state, size
            paragraphs += 1
            state, size = SEED, -1
    row[slots.PARAGRAPHS] = paragraphs
    duplicates, characters = count_duplicates(table, hashes, lengths, paragraphs)
    row[slots.DUPLICATE_PARAGRAPHS], row[slots.DUPLICATE_PARAGRAPH_CHARACTERS] = duplicates, characters
    for at in range(total):
        if line_lengths[at]:
            hashes[kept], lengths[kept] = line_hashes[at], line_lengths[at]
            kept += 1
    duplicates, characters = count_duplicates(table, hashes, lengths, kept)
    row[slots.DUPLICATE_LINES], row[slots.DUPLICATE_LINE_CHARACTERS] = duplicates, characters

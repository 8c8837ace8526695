"""Compiled kernel that finds the entries of a word list (single words and phrases) in a batch of texts.

Each position is looked up in a hash table of first words; only where that hits are the next words read, up to the
longest phrase. The longest entry wins. Linear in the bytes of the text, about 60 MB/s.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.word_hash import ROLL, Bytes, Hashes, Offsets, find_slot, mix, next_word

SHOWN = 5  # entries reported per text
_NONE = np.uint64(0)


@njit(cache=True)
def _longest(data: Bytes, at: int, end: int, first: np.uint64, table: Hashes, entry: Offsets) -> tuple[int, int, int]:
    """``(entry, words, position behind it)`` of the longest entry that starts with the word ``first``; -1 for none."""
    best, best_words, best_at = -1, 1, at
    h = first
    words = 1
    while True:
        slot = find_slot(table, mix(h))
        if slot < 0:
            return best, best_words, best_at
        if entry[slot] >= 0:
            best, best_words, best_at = entry[slot], words, at
        value, at = next_word(data, at, end)
        if value == _NONE:
            return best, best_words, best_at
        h = h * ROLL + value
        words += 1


@njit(cache=True)
def find_entries(
    data: Bytes, offsets: Offsets, table: Hashes, entry: Offsets, entries: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per text ``(words, words covered by entries, hits, different entries)``, and the first entries, -1 padded.

    ``entry[slot]`` is the number of the entry that ends at a slot of ``table``, or -1 where only a longer one goes on.
    """
    rows = offsets.size - 1
    counts = np.zeros((rows, 4), np.int64)
    shown = np.full((rows, SHOWN), -1, np.int64)
    seen = np.full(entries, -1, np.int64)
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            value, at = next_word(data, at, end)
            if value == _NONE:
                break
            found, words, behind = _longest(data, at, end, value, table, entry)
            counts[row, 0] += words
            if found >= 0:
                at = behind
                counts[row, 1] += words
                counts[row, 2] += 1
                if seen[found] != row:
                    seen[found] = row
                    if counts[row, 3] < SHOWN:
                        shown[row, counts[row, 3]] = found
                    counts[row, 3] += 1
    return counts, shown

"""Compiled kernel that finds benchmark n-grams in a batch of texts.

The hash of n words is a polynomial over word hashes, so that one multiplication slides the window by a word. Runs have
several lengths (short items are one run each), but all end in a *tail* of the shortest length: per word of text only
its tail is looked up, in a bit filter of a few megabytes, and the lengths are tried where that answers yes. Time is
linear in the bytes of the text.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.word_hash import ROLL, Bytes, Hashes, Offsets, find_slot, mix, next_word

LONGEST = 64  # words in an n-gram
_NONE = np.uint64(0)


@njit(cache=True)
def gram_hashes(words: Hashes, size: int) -> Hashes:
    """Hashes of all runs of ``size`` words, in order; empty where there are fewer words."""
    out = np.zeros(max(0, words.size - size + 1), np.uint64)
    for first in range(out.size):
        h = _NONE
        for word in words[first : first + size]:
            h = h * ROLL + word
        out[first] = mix(h)
    return out


@njit(cache=True)
def _bit(value: np.uint64, bits: NDArray[np.uint8]) -> tuple[int, np.uint8]:
    place = int(np.int64(value >> np.uint64(8))) & (bits.size * 8 - 1)
    return place >> 3, np.uint8(1 << (place & 7))


@njit(cache=True)
def set_bits(values: Hashes, bits: NDArray[np.uint8]) -> None:
    """Enter ``values`` into the filter ``bits``, whose size is a power of two."""
    for value in values:
        byte, flag = _bit(value, bits)
        bits[byte] |= flag


@njit(cache=True)
def find_grams(
    data: Bytes, offsets: Offsets, lengths: Offsets, table: Hashes, tails: NDArray[np.uint8], out: NDArray[np.int64]
) -> int:
    """Write ``(row, slot of table)`` of every different n-gram found in each text; returns how many there are.

    ``lengths`` (words in a run) ascend, the first is that of ``tails``. ``out`` has shape (n, 2); where there are more
    than ``n``, the rest is counted only: call again with a larger one.
    """
    count = 0
    seen = np.full(table.size, -1, np.int32)
    prefix = np.zeros(LONGEST + 1, np.uint64)  # polynomial of all words so far, the last LONGEST + 1 values
    powers = np.ones(lengths.size, np.uint64)
    for k in range(lengths.size):
        for _ in range(lengths[k]):
            powers[k] *= ROLL
    for row in range(offsets.size - 1):
        at, end = offsets[row], offsets[row + 1]
        words = 0
        prefix[0] = _NONE
        while at < end:
            value, at = next_word(data, at, end)
            if value == _NONE:
                break
            words += 1
            now = prefix[(words - 1) % (LONGEST + 1)] * ROLL + value
            prefix[words % (LONGEST + 1)] = now
            for k in range(lengths.size):
                if words < lengths[k]:
                    break
                gram = mix(now - prefix[(words - lengths[k]) % (LONGEST + 1)] * powers[k])
                if k == 0:
                    byte, flag = _bit(gram, tails)
                    if tails[byte] & flag == 0:
                        break
                slot = find_slot(table, gram)
                if slot >= 0 and seen[slot] != row:
                    seen[slot] = row
                    if count < out.shape[0]:
                        out[count, 0], out[count, 1] = row, slot
                    count += 1
    return count

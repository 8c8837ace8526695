"""Compiled tokeniser of the search index: words of many texts at once, as hashes with their places."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.word_hash import mix, sign

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
LONGEST = 64  # bytes of a word: what is longer is no language


@njit(cache=True)
def find_words(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    spans: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Fill ``hashes`` and ``spans`` (first byte, byte behind) of all words, ``counts`` per text; returns their number.

    What a word is, and its hash, are those of ``stages.word_hash``. A text of n bytes has (n + 1) / 2 words at most:
    the arrays must have that room.
    """
    total = 0
    for row in range(offsets.size - 1):
        at, end = offsets[row], offsets[row + 1]
        before = total
        while at < end:
            code, size, alone = sign(data, at, end)
            if code == 0:
                at += size
                continue
            start, h = at, (_BASIS ^ np.uint64(code)) * _PRIME
            at += size
            while at < end and not alone:
                code, size, single = sign(data, at, end)
                if code == 0 or single:
                    break
                h = (h ^ np.uint64(code)) * _PRIME
                at += size
            if at - start <= LONGEST:
                hashes[total], spans[total, 0], spans[total, 1] = mix(h), start, at
                total += 1
        counts[row] = total - before
    return total


@njit(cache=True)
def number_distinct(values: NDArray[np.uint64], numbers: NDArray[np.int32], first: NDArray[np.int64]) -> int:
    """Number equal ``values`` alike, in order of appearance; ``first`` gets where each comes up. Returns how many."""
    size = 1 << 16
    slots = np.full(size, -1, np.int32)
    count = 0
    for at in range(values.size):
        slot = np.int64(values[at] & np.uint64(size - 1))
        while slots[slot] >= 0 and values[first[slots[slot]]] != values[at]:
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = count
            first[count] = at
            count += 1
        numbers[at] = slots[slot]
        if 2 * count > size:
            size *= 4
            slots = np.full(size, -1, np.int32)
            for number in range(count):
                slot = np.int64(values[first[number]] & np.uint64(size - 1))
                while slots[slot] >= 0:
                    slot = (slot + 1) & (size - 1)
                slots[slot] = number
    return count


@njit(cache=True)
def count_frequencies(
    numbers: NDArray[np.int32], words: NDArray[np.int64], frequencies: NDArray[np.int64], lengths: NDArray[np.int32]
) -> None:
    """Passages that hold each term, and terms of each passage. ``words``: first word and the one behind, by passage."""
    last = np.full(frequencies.size, -1, np.int64)
    for passage in range(words.shape[0]):
        for at in range(words[passage, 0], words[passage, 1]):
            term = numbers[at]
            if term >= 0:
                lengths[passage] += 1
                if last[term] != passage:
                    last[term] = passage
                    frequencies[term] += 1


@njit(cache=True)
def fill_postings(
    numbers: NDArray[np.int32],
    words: NDArray[np.int64],
    indptr: NDArray[np.int64],
    postings: NDArray[np.int32],
    counts: NDArray[np.int32],
) -> None:
    """Passages by term, ascending, and how often each holds it."""
    behind = indptr[:-1].copy()
    for passage in range(words.shape[0]):
        for at in range(words[passage, 0], words[passage, 1]):
            term = numbers[at]
            if term < 0:
                continue
            slot = behind[term] - 1
            if slot >= indptr[term] and postings[slot] == passage:
                counts[slot] += 1
            else:
                postings[slot + 1] = passage
                counts[slot + 1] = 1
                behind[term] += 1


@njit(cache=True)
def copy_postings(
    terms: NDArray[np.int64],
    indptr: NDArray[np.int64],
    postings: NDArray[np.int32],
    counts: NDArray[np.int32],
    shift: int,
    behind: NDArray[np.int64],
    all_postings: NDArray[np.int32],
    all_counts: NDArray[np.int32],
) -> None:
    """Append a batch's postings to those of all: ``terms`` numbers its terms there, ``behind``: where each goes on."""
    for number in range(terms.size):
        to = behind[terms[number]]
        for at in range(indptr[number], indptr[number + 1]):
            all_postings[to] = postings[at] + shift
            all_counts[to] = counts[at]
            to += 1
        behind[terms[number]] = to

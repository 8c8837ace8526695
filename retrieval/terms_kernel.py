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

    What a word is, and its hash, are those of ``stages.word_hash``. With output arrays of no length words are only
    counted.
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
                if total < hashes.size:
                    hashes[total], spans[total, 0], spans[total, 1] = mix(h), start, at
                total += 1
        counts[row] = total - before
    return total

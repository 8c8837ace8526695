"""A keyed permutation of ``range(n)`` that is computed, not stored: no memory, any element at once.

A Feistel network permutes the smallest even power of two that holds ``n``; results outside ``range(n)`` are permuted
again until they fall inside (cycle walking), which takes less than four rounds on average. Integer arithmetic only, so
every machine agrees.
"""

from __future__ import annotations

import numba
import numpy as np
import xxhash
from numpy.typing import NDArray

ROUNDS = 6


def derive_key(*parts: object) -> int:
    """64 bits that depend on all of ``parts`` (seed, domain, epoch ...), equal on every machine."""
    return xxhash.xxh3_64_intdigest("\x1f".join(map(str, parts)).encode())


def permute(indices: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where each of ``indices`` (in ``range(size)``) goes under the permutation that ``key`` names."""
    if size <= 0:
        raise ValueError(f"nothing to permute: size {size}")
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    walked: NDArray[np.int64] = _walk(np.ascontiguousarray(indices, np.int64), size, half, np.uint64(key))
    return walked


@numba.njit(cache=True, nogil=True)
def _walk(indices, size, half, key):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    mask = (np.uint64(1) << np.uint64(half)) - np.uint64(1)
    shift = np.uint64(half)
    out = np.empty_like(indices)
    for at in range(indices.size):
        value = np.uint64(indices[at])
        while True:
            left, right = value >> shift, value & mask
            for number in range(ROUNDS):
                mixed = right + key + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
                mixed ^= mixed >> np.uint64(30)
                mixed *= np.uint64(0xBF58476D1CE4E5B9)
                mixed ^= mixed >> np.uint64(27)
                mixed *= np.uint64(0x94D049BB133111EB)
                mixed ^= mixed >> np.uint64(31)
                left, right = right, left ^ (mixed & mask)
            value = (left << shift) | right
            if value < np.uint64(size):
                break
        out[at] = np.int64(value)
    return out

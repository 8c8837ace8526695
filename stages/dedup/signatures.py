"""Signatures, band keys, shingle sets and content hashes of text columns: what two documents are compared by.

Permutation ``k`` of a shingle is ``a[k] * h + b[k] mod 2**32`` with odd ``a[k]``, where ``h`` is the upper half of a
well-mixed 64-bit hash. This is a bijection of 32-bit numbers, so that it adds no collisions; it is pairwise
independent only, and its quality is an empirical matter: at 128 hashes the measured standard error of an estimate is
the binomial one (sqrt(J(1-J)/128), .044 at J = .5). datasketch 2 uses the same family under the name ``affine32``.

Cost: one pass over the bytes. Null contents read as empty texts; ``steps`` keeps them out of every comparison.
"""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.dedup.config import Dedup
from stages.text_buffers import text_buffers

Column: TypeAlias = "pa.Array | pa.ChunkedArray"
_DEFAULT = Dedup()
_MASK = (1 << 64) - 1


def signatures(content: Column, config: Dedup = _DEFAULT) -> NDArray[np.uint32]:
    """MinHash signatures, shape (documents, num_hashes). A text without words has the largest number everywhere."""
    if config.engine == "datasketch":
        from stages.dedup.datasketch_engine import datasketch_signatures

        return datasketch_signatures(content, config)
    from stages.dedup.code_points import code_point_table
    from stages.dedup.kernel import minhash

    a, b = permutations(config.num_hashes, seed=config.seed)
    data, offsets = text_buffers(content)
    return minhash(data, offsets, code_point_table(), config.ngram, config.unspaced == "characters", a, b)


def permutations(count: int, *, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors (odd) and summands of ``count`` hash functions, drawn from the splitmix64 sequence of ``seed``."""
    draws = np.array([_splitmix64(seed, step) for step in range(1, 2 * count + 1)], np.uint64)
    upper = (draws >> np.uint64(32)).astype(np.uint32)
    return upper[:count] | np.uint32(1), upper[count:]


def _splitmix64(seed: int, step: int) -> int:
    value = (seed + step * 0x9E3779B97F4A7C15) & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def estimate(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Jaccard similarity estimated from two signatures: the share of equal hashes."""
    return float(np.mean(a == b))


def has_words(found: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which signatures stem from a text with at least one word."""
    return np.asarray((found != np.uint32(0xFFFFFFFF)).any(axis=1), np.bool_)


def band_keys(found: NDArray[np.uint32], config: Dedup = _DEFAULT) -> NDArray[np.uint64]:
    """One key per band, shape (documents, bands): equal keys mean equal rows, but for a chance of 2**-64 per pair."""
    from stages.dedup.kernel import fold_bands

    keys: NDArray[np.uint64] = fold_bands(np.ascontiguousarray(found, np.uint32), config.bands, config.rows)
    return keys


def shingle_hashes(content: Column, config: Dedup = _DEFAULT) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Shingle sets as ``(offsets, values)``: set ``i`` is ``values[offsets[i]:offsets[i + 1]]``, ascending, unique."""
    from stages.dedup.code_points import code_point_table
    from stages.dedup.shingling import drop_repeats, shingle_lists

    data, offsets = text_buffers(content)
    starts, values = shingle_lists(data, offsets, code_point_table(), config.ngram, config.unspaced == "characters")
    for start, end in itertools.pairwise(starts.tolist()):
        values[start:end].sort()  # numpy sorts several times faster than compiled Python does
    distinct: tuple[NDArray[np.int64], NDArray[np.uint64]] = drop_repeats(starts, values)
    return distinct


def jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    """True Jaccard similarity of two ascending, unique arrays by one merge; 0 for two empty ones."""
    from stages.dedup.kernel import jaccard_at_least

    return max(0.0, float(jaccard_at_least(a, b, 0.0)))


def content_hash(content: Column) -> NDArray[np.uint64]:
    """xxh3-128 of each text without ASCII whitespace at either end, shape (documents, 2): upper and lower half.

    Two texts are exact copies when these are equal. Nothing else is normalised: case and punctuation count.
    """
    import xxhash

    data, offsets = text_buffers(content)
    raw = data.data
    digests = [
        xxhash.xxh3_128_digest(bytes(raw[start:end]).strip()) for start, end in itertools.pairwise(offsets.tolist())
    ]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)

"""Signatures by the datasketch package: the reference for the kernel, and an engine that a manifest may choose.

Words and shingles are made in plain Python, with none of the kernel's code, and hashed with SHA-1 as datasketch does
by default. One core does a few hundred documents a second. Signatures of the two engines do not compare with each
other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.dedup.code_points import UNSPACED, code_point_table
from stages.dedup.config import Dedup

_WORD = re.compile(r"\w+")


def words_of(text: str, *, unspaced: str = "runs") -> list[str]:
    """The words of a text: what ``\\w+`` finds in lower case; ``characters`` cuts scripts without blanks up."""
    words = _WORD.findall(text.lower())
    if unspaced == "runs":
        return words
    table = code_point_table()
    return [part for word in words for part in _cut(word, table)]


def _cut(word: str, table: NDArray[np.uint32]) -> list[str]:
    parts, run = list[str](), ""
    for character in word:
        if not table[ord(character)] & UNSPACED:
            run += character
            continue
        parts += [run, character] if run else [character]
        run = ""
    return [*parts, run] if run else parts


def shingles_of(words: Sequence[str], ngram: int) -> set[str]:
    """The distinct runs of ``ngram`` words; all words as one where there are fewer; nothing where there are none."""
    if not words:
        return set()
    return {" ".join(words[at : at + ngram]) for at in range(max(1, len(words) - ngram + 1))}


def datasketch_signatures(content: pa.Array | pa.ChunkedArray, config: Dedup) -> NDArray[np.uint32]:
    """As ``signatures.signatures``, shape (documents, num_hashes). Raises ``ImportError`` without the package."""
    from datasketch import MinHash

    empty = MinHash(num_perm=config.num_hashes, seed=config.seed, scheme="affine32")
    found = np.empty((len(content), config.num_hashes), np.uint32)
    for row, text in enumerate(content.to_pylist()):
        sketch = empty.copy()
        shingles = shingles_of(words_of(text or "", unspaced=config.unspaced), config.ngram)
        sketch.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in shingles])
        found[row] = sketch.hashvalues
    return found

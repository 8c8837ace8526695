"""Texts as terms: lower-cased, stemmed words without function words, each a 64-bit hash.

Words are found by a compiled tokeniser; only the distinct ones of a batch become strings, to be stemmed with Snowball
(Porter 2; PyStemmer). Chinese characters and kana are a term each. With 64 bits the chance that any two of a hundred
million terms share a hash is 0.03 %.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.text_buffers import text_buffers
from stages.word_hash import hash_words

Stemming = Literal["english", "german", "french", "spanish", "italian", "portuguese", "dutch", "russian", "none"]
_WORDS: Final = (
    "a an and are as at be but by for from had has have he her his i if in into is it its no not of on or our she such "
    "that the their them then there these they this to was we were what when where which who why how will with would "
    "you"
)
FUNCTION_WORDS: Final = tuple(_WORDS.split())
"""English words that say nothing about what a text is about; other languages keep theirs, which weigh little."""

NO_TERM: Final = np.uint64(0)


class Terms(NamedTuple):
    """Terms of several texts: those of text ``i`` are ``hashes[starts[i]:starts[i + 1]]``, in order.

    ``spans`` holds where each stands: first byte and the byte behind it, counted in the batch's buffer of text.
    Function words are there as ``NO_TERM``, so that positions count words as people do.
    """

    hashes: NDArray[np.uint64]
    spans: NDArray[np.int64]
    starts: NDArray[np.int64]


def find_terms(texts: pa.Array | pa.ChunkedArray, stemming: Stemming) -> Terms:
    """The terms of a column of texts; null texts have none."""
    from retrieval.terms_kernel import find_words

    data, offsets = text_buffers(texts)
    counts = np.zeros(len(offsets) - 1, np.int64)
    nothing = np.empty(0, np.uint64), np.empty((0, 2), np.int64)
    total = find_words(data, offsets, *nothing, counts)
    hashes, spans = np.empty(total, np.uint64), np.empty((total, 2), np.int64)
    find_words(data, offsets, hashes, spans, counts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return Terms(_stemmed(data, hashes, spans, stemming), spans, starts)


def query_terms(text: str, stemming: Stemming) -> NDArray[np.uint64]:
    """The terms of one query, in order, function words left out."""
    hashes = find_terms(pa.array([text], pa.large_string()), stemming).hashes
    found: NDArray[np.uint64] = hashes[hashes != NO_TERM]
    return found


def _stemmed(
    data: NDArray[np.uint8], hashes: NDArray[np.uint64], spans: NDArray[np.int64], stemming: Stemming
) -> NDArray[np.uint64]:
    if not len(hashes):
        return hashes
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    stems = distinct.copy()
    if stemming != "none":
        words = [data[start:end].tobytes().decode("utf-8", "replace").lower() for start, end in spans[first].tolist()]
        for number, (word, stem) in enumerate(zip(words, _stemmer(stemming).stemWords(words), strict=True)):
            if stem != word:
                stems[number] = _hash_of(stem)
    stems[np.isin(distinct, _function_words())] = NO_TERM
    return stems[which]


def _hash_of(stem: str) -> np.uint64:
    found = hash_words(stem)
    return np.uint64(found[0]) if len(found) else NO_TERM


@cache
def _function_words() -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = np.concatenate([hash_words(word) for word in FUNCTION_WORDS])
    return hashes


@cache
def _stemmer(language: str) -> Any:
    import Stemmer

    return Stemmer.Stemmer(language)

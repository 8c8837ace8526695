"""Texts as terms: lower-cased, stemmed words without function words, each a 64-bit hash.

Words are found by a compiled tokeniser; only the distinct ones of a batch become strings, to be stemmed with Snowball
(Porter 2; PyStemmer). Chinese characters and kana are a term each. With 64 bits the chance that any two of a hundred
million terms share a hash is 0.03 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
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


class Terms(NamedTuple):
    """Terms of several texts. The words of text ``i`` are ``numbers[starts[i]:starts[i + 1]]``, in order.

    A number is a place in ``vocabulary`` (sorted hashes); function words have -1, so that positions count words as
    people do. ``spans`` holds where each word stands: first byte and the byte behind it, in the batch's buffer of text.
    """

    vocabulary: NDArray[np.uint64]
    numbers: NDArray[np.int32]
    spans: NDArray[np.int64]
    starts: NDArray[np.int64]


def find_terms(texts: pa.Array | pa.ChunkedArray, stemming: Stemming) -> Terms:
    """The terms of a column of texts; null texts have none."""
    from retrieval.terms_kernel import find_words, number_distinct

    data, offsets = text_buffers(texts)
    counts = np.zeros(len(offsets) - 1, np.int64)
    most = (int(offsets[-1] - offsets[0]) + len(counts)) // 2 + 1  # a word takes a byte and one that ends it
    hashes, spans = np.empty(most, np.uint64), np.empty((most, 2), np.int64)
    total = find_words(data, offsets, hashes, spans, counts)
    hashes, spans = hashes[:total], spans[:total]
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    words, first = np.empty(total, np.int32), np.empty(total, np.int64)
    first = first[: number_distinct(hashes, words, first)]
    stems = _stems(data, hashes[first], spans[first], stemming)
    said = ~np.isin(hashes[first], _function_words())
    vocabulary, stem = np.unique(stems[said], return_inverse=True)
    term = np.full(len(first), -1, np.int32)
    term[said] = stem
    return Terms(vocabulary, term[words], spans, starts)


def query_terms(texts: Sequence[str], stemming: Stemming) -> list[NDArray[np.uint64]]:
    """The terms of each query, in order, function words left out."""
    found = find_terms(pa.array(texts, pa.large_string()), stemming)
    parts = (found.numbers[start:end] for start, end in pairwise(found.starts.tolist()))
    return [found.vocabulary[part[part >= 0]] for part in parts]


def _stems(
    data: NDArray[np.uint8], hashes: NDArray[np.uint64], spans: NDArray[np.int64], stemming: Stemming
) -> NDArray[np.uint64]:
    """Hashes of the stems of words; that of the word itself where it is one."""
    if stemming == "none" or not len(hashes):
        return hashes
    stems = hashes.copy()
    words = [data[start:end].tobytes().decode("utf-8", "replace").lower() for start, end in spans.tolist()]
    for number, (word, stem) in enumerate(zip(words, _stemmer(stemming).stemWords(words), strict=True)):
        if stem != word:
            found = hash_words(stem)
            stems[number] = found[0] if len(found) else stems[number]
    return stems


@cache
def _function_words() -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = np.concatenate([hash_words(word) for word in FUNCTION_WORDS])
    return hashes


@cache
def _stemmer(language: str) -> Any:
    import Stemmer

    return Stemmer.Stemmer(language)

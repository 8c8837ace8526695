"""Documents cut into passages of bounded length: a long document counts by its best passage, not by its length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from corpus.settings import Settings
from retrieval.terms import Terms
from stages.text_buffers import text_buffers


class Passages(Settings):
    """How documents are cut. Our choice: the method's paper does not say."""

    words: int = Field(default=180, ge=8, le=100_000)
    """Words of a passage. 180 fill the 256 tokens that MiniLM reads."""
    overlap: int = Field(default=30, ge=0)
    """Words that a passage shares with the one before it, so that no thought is cut in two everywhere."""

    @model_validator(mode="after")
    def _check(self) -> Passages:
        if self.overlap >= self.words:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than words ({self.words})")
        return self


class Cut(NamedTuple):
    """Passages of a batch, those of a document next to each other.

    ``row`` is the document in the batch; ``words`` the first word and the word behind, counted in ``Terms``.
    """

    row: NDArray[np.int64]
    words: NDArray[np.int64]


def cut_passages(terms: Terms, settings: Passages) -> Cut:
    """Where passages begin and end. A document without a term has none; its last passage may be short."""
    counts = np.diff(terms.starts)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(terms.numbers >= 0)])
    said = before[terms.starts[1:]] - before[terms.starts[:-1]]
    step = settings.words - settings.overlap
    many = np.where((counts > 0) & (said > 0), 1 + np.maximum(0, -(-(counts - settings.words) // step)), 0)
    row = np.repeat(np.arange(len(counts)), many)
    number = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
    begin = terms.starts[:-1][row] + number * step
    end = np.minimum(begin + settings.words, terms.starts[1:][row])
    return Cut(row, np.stack([begin, end], axis=1) if len(row) else np.empty((0, 2), np.int64))


def passage_texts(texts: pa.Array | pa.ChunkedArray, terms: Terms, cut: Cut) -> pa.LargeStringArray:
    """The text of every passage, from its first word to its last."""
    data, _ = text_buffers(texts)
    begin, end = terms.spans[cut.words[:, 0], 0], terms.spans[cut.words[:, 1] - 1, 1]
    pieces = [data[a:b].tobytes().decode("utf-8", "replace") for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
    return pa.array(pieces, pa.large_string())

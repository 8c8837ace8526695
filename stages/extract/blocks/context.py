"""A block in the light of its neighbours: what the first forest thinks of them, of its containers and of its kin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import MOST, Block, Element, Limit
from stages.extract.blocks.compiled import Matrix, Rows, kernel
from stages.extract.blocks.feature_names import CONTEXT, CONTEXT_REACH, FEATURES, Context
from stages.extract.blocks.sums import SLOTS, Sums
from stages.extract.blocks.tokenizer import Page

_FIRST = len(FEATURES)


class Weighted(NamedTuple):
    """Sums of words, and of words times likelihood: up to each block, inside each element, over each kin."""

    words_before: NDArray[np.float64]
    likely_before: NDArray[np.float64]
    words_in: NDArray[np.float64]
    likely_in: NDArray[np.float64]
    words_of_kin: NDArray[np.float64]
    likely_of_kin: NDArray[np.float64]


def allocate_weighted() -> Weighted:
    """Memory for pages of any size that the tokenizer gives."""
    rows, elements = MOST[Limit.BLOCKS] + 1, MOST[Limit.ELEMENTS] + 1
    return Weighted(*(np.zeros(size) for size in (rows, rows, elements, elements, SLOTS, SLOTS)))


def context_features(
    page: Page,
    features: NDArray[np.float32],
    likely: NDArray[np.float32],
    sums: Sums,
    weighted: Weighted | None = None,
) -> NDArray[np.float32]:
    """The matrix for the second forest, shape (blocks, len(FEATURES) + len(CONTEXT)).

    ``features``: of ``block_features``, with ``sums`` as it left them for this page. ``likely``: what the first forest
    made of them.
    """
    matrix = np.empty((len(page.blocks), len(FEATURES) + len(CONTEXT)), np.float32)
    if len(page.blocks):
        matrix[:, :_FIRST] = features
        _fill(page.blocks, page.elements, likely, sums.kin, weighted or allocate_weighted(), matrix)
    return matrix


@kernel()
def _fill(blocks: Rows, elements: Rows, likely: Matrix, kin: Rows, weighted: Weighted, matrix: Matrix) -> None:
    most = _sum_up(blocks, elements, likely, kin, weighted)
    count, first = blocks.shape[0], _FIRST
    total, words = weighted.likely_before[count], weighted.words_before[count]
    for row in range(count):
        out = matrix[row]
        for offset in range(-CONTEXT_REACH, CONTEXT_REACH + 1):
            there = row + offset
            out[first + Context.OWN + offset] = likely[there] if 0 <= there < count else np.float32(0)
        out[first + Context.MEAN_3] = _mean_around(row, 3, count, weighted)
        out[first + Context.MEAN_8] = _mean_around(row, 8, count, weighted)
        out[first + Context.MEAN_20] = _mean_around(row, 20, count, weighted)
        own = blocks[row, Block.ELEMENT]
        at = own
        for step in range(3):
            at = max(elements[at, Element.PARENT], 0)
            out[first + Context.PARENT_MEAN + 2 * step] = weighted.likely_in[at] / max(weighted.words_in[at], 1.0)
            out[first + Context.PARENT_SHARE + 2 * step] = weighted.likely_in[at] / max(total, 1.0)
        slot = kin[max(elements[own, Element.PARENT], 0)]
        out[first + Context.KIN_MEAN] = weighted.likely_of_kin[slot] / max(weighted.words_of_kin[slot], 1.0)
        slot = kin[own]
        out[first + Context.OWN_KIN_MEAN] = weighted.likely_of_kin[slot] / max(weighted.words_of_kin[slot], 1.0)
        out[first + Context.PAGE_SUM] = total
        out[first + Context.BEFORE_SHARE] = weighted.likely_before[row + 1] / max(total, 1.0)
        out[first + Context.PAGE_MEAN] = total / words
        out[first + Context.PAGE_MOST] = most


@kernel()
def _sum_up(blocks: Rows, elements: Rows, likely: Matrix, kin: Rows, weighted: Weighted) -> np.float32:
    """Fill the sums; the greatest likelihood is returned. Kin count each block once, at its innermost elements."""
    weighted.words_in[: elements.shape[0]] = 0
    weighted.likely_in[: elements.shape[0]] = 0
    weighted.words_of_kin[:] = 0
    weighted.likely_of_kin[:] = 0
    weighted.words_before[0] = 0
    weighted.likely_before[0] = 0
    most = np.float32(0)
    for row in range(blocks.shape[0]):
        words = float(max(1, blocks[row, Block.WORDS] - blocks[row, Block.CJK] // 2))
        value = words * likely[row]
        most = max(most, likely[row])
        own = blocks[row, Block.ELEMENT]
        weighted.words_before[row + 1] = weighted.words_before[row] + words
        weighted.likely_before[row + 1] = weighted.likely_before[row] + value
        weighted.words_in[own] += words
        weighted.likely_in[own] += value
    for at in range(elements.shape[0] - 1, 0, -1):
        parent = elements[at, Element.PARENT]
        weighted.words_in[parent] += weighted.words_in[at]
        weighted.likely_in[parent] += weighted.likely_in[at]
    for at in range(elements.shape[0]):
        weighted.words_of_kin[kin[at]] += weighted.words_in[at]
        weighted.likely_of_kin[kin[at]] += weighted.likely_in[at]
    return most


@kernel()
def _mean_around(row: int, reach: int, count: int, weighted: Weighted) -> float:
    first, last = max(row - reach, 0), min(row + reach + 1, count)
    words = weighted.words_before[last] - weighted.words_before[first]
    return float((weighted.likely_before[last] - weighted.likely_before[first]) / words)

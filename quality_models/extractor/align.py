"""Which words of a page are in its reference text: a monotone alignment of two sequences of word hashes.

The alignment keeps most words where it is rewarded for runs: the first word of a run counts nothing, every further one
counts one. So a "the" in the navigation is not taken for one of the text. Words that do not occur in the reference
cannot match and are left out first; what remains costs time and memory in proportion to the product of the lengths.
"""

from __future__ import annotations

import html

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.extract.blocks.columns import Block
from stages.extract.blocks.tokenizer import Page, Tokenizer

MOST_CELLS = 150_000_000  # a byte each; a page beyond is left out
_UP, _SIDE, _TAKE, _IN_RUN = 0, 1, 2, 4


def words_of(text: str, tokenizer: Tokenizer) -> NDArray[np.uint32]:
    """Hashes of the words of a plain text, as the tokenizer hashes those of a page."""
    return tokenizer.read(html.escape(text).encode("utf-8", "replace")).words.copy()


def matched_words(page: NDArray[np.uint32], reference: NDArray[np.uint32]) -> NDArray[np.bool_] | None:
    """Which of the page's words are aligned with the reference; None where that would take too much memory."""
    candidates = np.flatnonzero(np.isin(page, reference)).astype(np.int64)
    matched = np.zeros(len(page), np.bool_)
    if (len(candidates) + 1) * (len(reference) + 1) > MOST_CELLS:
        return None
    if len(candidates) and len(reference):
        matched[candidates] = _align(page[candidates], candidates, reference)
    return matched


def matched_by_block(page: Page, matched: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Matched words of each block."""
    before = np.concatenate([[0], np.cumsum(matched)])
    first = page.blocks[:, Block.FIRST_WORD]
    last = np.minimum(first + page.blocks[:, Block.WORDS], len(matched))
    counts: NDArray[np.int64] = before[last] - before[np.minimum(first, len(matched))]
    return counts


@njit(cache=True)
def _align(page: NDArray[np.uint32], places: NDArray[np.int64], reference: NDArray[np.uint32]) -> NDArray[np.bool_]:
    rows, columns = page.size, reference.size
    ways = np.zeros((rows + 1, columns + 1), np.uint8)
    # best score so far, and best score of an alignment that ends with this very pair
    above, here = np.zeros(columns + 1, np.int32), np.zeros(columns + 1, np.int32)
    run_above, run_here = np.full(columns + 1, -1, np.int32), np.full(columns + 1, -1, np.int32)
    for row in range(1, rows + 1):
        adjacent = row > 1 and places[row - 1] == places[row - 2] + 1
        here[0] = 0
        run_here[0] = -1
        for column in range(1, columns + 1):
            best, way, run = above[column], _UP, -1
            if here[column - 1] > best:
                best, way = here[column - 1], _SIDE
            if page[row - 1] == reference[column - 1]:
                run = above[column - 1]
                in_run = 0
                if adjacent and run_above[column - 1] >= 0 and run_above[column - 1] + 1 >= run:
                    run = run_above[column - 1] + 1
                    in_run = _IN_RUN
                way |= in_run
                if run > best:
                    best = run
                    way = _TAKE | in_run
            here[column] = best
            run_here[column] = run
            ways[row, column] = way
        above, here = here, above
        run_above, run_here = run_here, run_above
    taken = np.zeros(rows, np.bool_)
    row, column, inside = rows, columns, False
    while row > 0 and column > 0:
        way = ways[row, column]
        if inside or (way & 3) == _TAKE:
            taken[row - 1] = True
            inside = (way & _IN_RUN) != 0
            row -= 1
            column -= 1
        elif (way & 3) == _SIDE:
            column -= 1
        else:
            row -= 1
    return taken

"""What is known of a block before anything judges it: ``feature_names`` says what each number means.

First ``sums`` learns what each element holds; then one row of the matrix per block. Nothing depends on another page.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import ARIA_HIDDEN, HIDDEN, PRE, Block, Element
from stages.extract.blocks.compiled import Bytes, Hashes, Matrix, Rows, kernel
from stages.extract.blocks.feature_names import (
    ALL_KEYWORDS,
    AROUND,
    FEATURES,
    FIRST_AROUND,
    FIRST_HEADING,
    NEAR_KEYWORDS,
    NEIGHBOURS,
    OF_NEIGHBOURS,
    OFFSETS,
    TAG_KINDS,
    Feature,
)
from stages.extract.blocks.lexicon import KEYWORDS
from stages.extract.blocks.sums import (
    BODY,
    SLOTS,
    WORD_WEIGHTS,
    Sums,
    allocate_sums,
    describe_elements,
    find_containers,
    good_text,
    sum_up,
)
from stages.extract.blocks.tags import numbers_by_tag
from stages.extract.blocks.tokenizer import Page

BEGINNING = 40  # bytes
FAR = 99  # blocks; beyond, distance means nothing
_KEYWORDS, _AROUND, _OF_NEIGHBOURS = len(KEYWORDS), len(AROUND), len(OF_NEIGHBOURS)
_OFFSETS = np.array(OFFSETS)
_NEIGHBOUR_COLUMNS = np.array([int(feature) for feature in OF_NEIGHBOURS])
_TAG_KINDS = numbers_by_tag(TAG_KINDS)


def block_features(
    page: Page, word_weights: NDArray[np.float32], class_weights: NDArray[np.float32], sums: Sums | None = None
) -> NDArray[np.float32]:
    """The feature matrix of a page, shape (blocks, len(FEATURES)).

    ``word_weights`` (16384,), ``class_weights`` (4096,): learned weights, by the low bits of a hash. ``sums``: memory
    to use again from page to page.
    """
    matrix = np.empty((len(page.blocks), len(FEATURES)), np.float32)
    if len(page.blocks):
        sums = sums or allocate_sums()
        _fill(
            page.text, page.blocks, page.elements, page.words, page.classes, word_weights, class_weights, sums, matrix
        )
    return matrix


@kernel()
def _fill(
    text: Bytes,
    blocks: Rows,
    elements: Rows,
    words: Hashes,
    classes: Hashes,
    word_weights: Matrix,
    class_weights: Matrix,
    sums: Sums,
    matrix: Matrix,
) -> None:
    describe_elements(elements, classes, class_weights, sums)
    sum_up(blocks, elements, sums)
    dense, best = find_containers(elements, sums)
    _describe_blocks(blocks, words, word_weights, matrix)
    _count_repeats(text, blocks, sums.beginnings, matrix)
    _place_blocks(blocks, elements, best, sums, matrix)
    _surround_blocks(blocks, elements, dense, best, sums, matrix)
    _look_around(blocks.shape[0], matrix)


@kernel()
def _count_repeats(text: Bytes, blocks: Rows, beginnings: Rows, matrix: Matrix) -> None:
    """How many blocks of the page begin with the same bytes: buttons and labels are written over and over."""
    beginnings[:] = 0
    for row in range(blocks.shape[0]):
        beginnings[_beginning(text, blocks[row])] += 1
    for row in range(blocks.shape[0]):
        matrix[row, Feature.REPEATS] = beginnings[_beginning(text, blocks[row])]


@kernel()
def _beginning(text: Bytes, block: Rows) -> int:
    state = 2166136261
    for at in range(block[Block.START], min(block[Block.END], block[Block.START] + BEGINNING)):
        state = ((state ^ int(text[at])) * 16777619) & 0xFFFFFFFF
    return state & (SLOTS - 1)


@kernel()
def _describe_blocks(blocks: Rows, words: Hashes, word_weights: Matrix, matrix: Matrix) -> None:
    """What the block's own text says."""
    for row in range(blocks.shape[0]):
        block, out = blocks[row], matrix[row]
        count = np.float32(max(1, block[Block.WORDS]))
        characters = np.float32(max(1, block[Block.CHARACTERS]))
        out[Feature.WORDS] = block[Block.WORDS] - block[Block.CJK] // 2
        out[Feature.CHARACTERS] = block[Block.CHARACTERS]
        out[Feature.CHARACTERS_PER_WORD] = characters / count
        out[Feature.LINK_DENSITY] = block[Block.LINK_CHARACTERS] / characters
        out[Feature.COMMAS] = block[Block.COMMAS] / count
        out[Feature.MARKS] = block[Block.SENTENCE_MARKS] / count
        out[Feature.CAPITALS] = block[Block.CAPITALS] / count
        out[Feature.DIGITS] = block[Block.DIGITS] / count
        out[Feature.LONG_WORDS] = block[Block.LONG_WORDS] / count
        out[Feature.STOP_WORDS] = block[Block.STOP_WORDS] / count
        out[Feature.STOP_COUNT] = block[Block.STOP_WORDS]
        out[Feature.BOILER_WORDS] = block[Block.BOILER_WORDS] / count
        out[Feature.TITLE_WORDS] = block[Block.TITLE_WORDS] / count
        out[Feature.PIPES] = block[Block.PIPES] / count
        out[Feature.CJK] = block[Block.CJK] / count
        out[Feature.LINKS] = block[Block.LINKS]
        out[Feature.IMAGES] = block[Block.IMAGES]
        out[Feature.TAGS] = block[Block.TAGS]
        out[Feature.BREAKS] = block[Block.BREAKS_BEFORE] + block[Block.BREAKS_AFTER]
        out[Feature.ENDING] = block[Block.LAST_MARK]
        out[Feature.BOLD] = block[Block.BOLD] / characters
        total, first = np.float32(0), block[Block.FIRST_WORD]
        for at in range(first, min(first + block[Block.WORDS], words.size)):
            total += word_weights[words[at] & (WORD_WEIGHTS - 1)]
        out[Feature.WORD_SCORE] = total / (count + np.float32(2))
        out[Feature.WORD_SUM] = total
        out[Feature.GOOD] = good_text(block)


@kernel()
def _place_blocks(blocks: Rows, elements: Rows, best: int, sums: Sums, matrix: Matrix) -> None:
    """Where the block stands between the first and the last, and from good text and headings."""
    count = blocks.shape[0]
    first_good, last_good, longest, good_blocks = -1, -1, np.float32(1), 0
    for row in range(count):
        longest = max(longest, matrix[row, Feature.WORDS])
        if matrix[row, Feature.GOOD] > 0:
            good_blocks += 1
            if _is_inside(blocks[row, Block.ELEMENT], best, elements):
                first_good = row if first_good < 0 else first_good
                last_good = row
    before, since_good, since_heading = np.float32(0), FAR, FAR
    total = max(sums.good[0], np.float32(1))
    for row in range(count):
        out = matrix[row]
        kind = _TAG_KINDS[elements[blocks[row, Block.ELEMENT], Element.TAG]]
        out[Feature.OWN_TAG] = kind
        out[Feature.POSITION] = row / count
        out[Feature.GOOD_BEFORE] = before / total
        out[Feature.SINCE_GOOD] = since_good
        out[Feature.SINCE_HEADING] = since_heading
        out[Feature.SINCE_FIRST_GOOD] = row - first_good if first_good >= 0 else -999
        out[Feature.SINCE_LAST_GOOD] = row - last_good if first_good >= 0 else 999
        end_before = blocks[row - 1, Block.SOURCE_END] if row > 0 else 0
        out[Feature.SOURCE_GAP] = blocks[row, Block.SOURCE_START] - end_before
        out[Feature.PAGE_GOOD] = sums.good[0]
        out[Feature.PAGE_GOOD_BLOCKS] = good_blocks
        out[Feature.PAGE_BLOCKS] = count
        out[Feature.PAGE_LINKS] = sums.link_characters[0] / max(sums.characters[0], np.float32(1))
        out[Feature.LONGEST] = longest
        out[Feature.OF_LONGEST] = out[Feature.WORDS] / longest
        before += out[Feature.GOOD]
        since_good = 1 if out[Feature.GOOD] > 0 else min(since_good + 1, FAR)
        since_heading = 1 if kind >= FIRST_HEADING else min(since_heading + 1, FAR)
    until_good = FAR
    for row in range(count - 1, -1, -1):
        matrix[row, Feature.UNTIL_GOOD] = until_good
        until_good = 1 if matrix[row, Feature.GOOD] > 0 else min(until_good + 1, FAR)


@kernel()
def _is_inside(at: int, container: int, elements: Rows) -> bool:
    while at > container:  # elements around it stand above it in the table
        at = int(elements[at, Element.PARENT])
    return at == container


@kernel()
def _surround_blocks(blocks: Rows, elements: Rows, dense: int, best: int, sums: Sums, matrix: Matrix) -> None:
    """What the elements around the block say."""
    total = max(sums.good[0], np.float32(1))
    one = np.float32(1)
    for row in range(blocks.shape[0]):
        out, own = matrix[row], blocks[row, Block.ELEMENT]
        parent = max(elements[own, Element.PARENT], 0)
        grand = max(elements[parent, Element.PARENT], 0)
        great = max(elements[grand, Element.PARENT], 0)
        flags = elements[own, Element.FLAGS]
        out[Feature.PARENT_TAG] = _TAG_KINDS[elements[parent, Element.TAG]]
        out[Feature.DEPTH] = elements[own, Element.DEPTH]
        out[Feature.HIDDEN] = (flags & HIDDEN) != 0
        out[Feature.ARIA_HIDDEN] = (flags & ARIA_HIDDEN) != 0
        out[Feature.PRE] = (flags & PRE) != 0
        out[Feature.NEAR_CLASS_SCORE] = sums.class_score[own] + sums.class_score[parent] + sums.class_score[grand]
        out[Feature.ALL_CLASS_SCORE] = sums.around_class_score[own]
        out[Feature.PARENT_LINKS] = sums.link_characters[parent] / max(sums.characters[parent], one)
        out[Feature.GRANDPARENT_LINKS] = sums.link_characters[grand] / max(sums.characters[grand], one)
        out[Feature.PARENT_GOOD] = sums.good[parent] / total
        out[Feature.GRANDPARENT_GOOD] = sums.good[grand] / total
        out[Feature.GREAT_GRANDPARENT_GOOD] = sums.good[great] / total
        out[Feature.PARENT_GOOD_CHARACTERS] = sums.good[parent]
        out[Feature.PARENT_WORDS] = sums.words[parent]
        out[Feature.GRANDPARENT_WORDS] = sums.words[grand]
        out[Feature.PARENT_BLOCKS] = sums.blocks[parent]
        at, steps = own, 0
        while not sums.on_dense_path[at]:
            at = elements[at, Element.PARENT]
            steps += 1
        out[Feature.IN_DENSE] = at == dense
        out[Feature.DENSE_DISTANCE] = (
            steps if at == dense else elements[dense, Element.DEPTH] - elements[at, Element.DEPTH]
        )
        at, steps = own, 0
        while not sums.on_best_path[at]:
            at = elements[at, Element.PARENT]
            steps += 1
        out[Feature.IN_BEST] = at == best
        out[Feature.BEST_DISTANCE] = (
            steps if at == best else elements[best, Element.DEPTH] - elements[at, Element.DEPTH]
        )
        out[Feature.COMMON_DEPTH] = elements[at, Element.DEPTH]
        out[Feature.OWN_KIN] = sums.kin_count[sums.kin[own]]
        out[Feature.OWN_KIN_GOOD] = sums.kin_good[sums.kin[own]] / total
        out[Feature.PARENT_KIN] = sums.kin_count[sums.kin[parent]]
        out[Feature.PARENT_KIN_GOOD] = sums.kin_good[sums.kin[parent]] / total
        out[Feature.GRANDPARENT_KIN] = sums.kin_count[sums.kin[grand]]
        out[Feature.GRANDPARENT_KIN_GOOD] = sums.kin_good[sums.kin[grand]] / total
        near = elements[own, Element.KEYWORDS]
        near |= elements[parent, Element.KEYWORDS] if elements[parent, Element.TAG] != BODY else 0
        near |= elements[grand, Element.KEYWORDS] if elements[grand, Element.TAG] != BODY else 0
        for bit in range(_KEYWORDS):
            out[NEAR_KEYWORDS + bit] = (near >> bit) & 1
            out[ALL_KEYWORDS + bit] = (sums.around_keywords[own] >> bit) & 1
        for bit in range(_AROUND):
            out[FIRST_AROUND + bit] = (sums.around_tags[own] >> bit) & 1


@kernel()
def _look_around(count: int, matrix: Matrix) -> None:
    """Six numbers of each of the three blocks before and after; -1 beyond the ends of the page."""
    for number in range(_OFFSETS.size):
        first = NEIGHBOURS + number * _OF_NEIGHBOURS
        for row in range(count):
            there = row + _OFFSETS[number]
            for place in range(_OF_NEIGHBOURS):
                inside = 0 <= there < count
                matrix[row, first + place] = matrix[there, _NEIGHBOUR_COLUMNS[place]] if inside else np.float32(-1)

"""What each element of a page holds: text of all kinds, class names, keywords; and which element holds the main text.

Rows of elements stand below those of the elements around them, so one pass down hands on what is inherited and one pass
up adds what is inside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import MOST, Block, Element, Limit
from stages.extract.blocks.compiled import Hashes, Matrix, Rows, kernel
from stages.extract.blocks.feature_names import AROUND
from stages.extract.blocks.tags import TAGS, numbers_by_tag

WORD_WEIGHTS, CLASS_WEIGHTS = 16384, 4096  # sizes of the tables of learned weights, powers of two
SLOTS = 4096  # kinds of elements, and beginnings of blocks, by hash
PROSE = 8  # words of a good block
DENSE = np.float32(0.6)  # share of the good text that the deepest dense element holds more than
BODY = TAGS["body"]
_TAG_BITS = numbers_by_tag(AROUND)
# elements that hold one paragraph: the container of their text is the element around them
_IS_PARAGRAPH = numbers_by_tag(("p li dt dd blockquote pre h1 h2 h3 h4 h5 h6 td th",))


class Sums(NamedTuple):
    """What the passes know of elements (first index: row of the element) and of kinds of elements (index: slot)."""

    good: NDArray[np.float32]
    characters: NDArray[np.float32]
    link_characters: NDArray[np.float32]
    words: NDArray[np.float32]
    blocks: NDArray[np.int32]
    score: NDArray[np.float32]  # good text of children, and half that of grandchildren
    class_score: NDArray[np.float32]
    around_class_score: NDArray[np.float32]  # with all elements around
    around_keywords: NDArray[np.int32]
    around_tags: NDArray[np.int32]
    kin: NDArray[np.int32]  # slot
    on_dense_path: NDArray[np.bool_]
    on_best_path: NDArray[np.bool_]
    kin_count: NDArray[np.int32]
    kin_good: NDArray[np.float32]
    kin_hash: NDArray[np.uint32]
    beginnings: NDArray[np.int32]  # slot -> blocks that begin so


def allocate_sums() -> Sums:
    """Memory of the passes, for pages of any size that the tokenizer gives."""
    rows = MOST[Limit.ELEMENTS] + 1

    def reals() -> NDArray[np.float32]:
        return np.zeros(rows, np.float32)

    def integers() -> NDArray[np.int32]:
        return np.zeros(rows, np.int32)

    return Sums(
        good=reals(),
        characters=reals(),
        link_characters=reals(),
        words=reals(),
        blocks=integers(),
        score=reals(),
        class_score=reals(),
        around_class_score=reals(),
        around_keywords=integers(),
        around_tags=integers(),
        kin=integers(),
        on_dense_path=np.zeros(rows, np.bool_),
        on_best_path=np.zeros(rows, np.bool_),
        kin_count=np.zeros(SLOTS, np.int32),
        kin_good=np.zeros(SLOTS, np.float32),
        kin_hash=np.zeros(SLOTS, np.uint32),
        beginnings=np.zeros(SLOTS, np.int32),
    )


@kernel()
def good_text(block: Rows) -> np.float32:
    """Characters of running prose in a block."""
    words = block[Block.WORDS] - block[Block.CJK] // 2
    if words < PROSE or block[Block.SENTENCE_MARKS] + block[Block.COMMAS] == 0:
        return np.float32(0)
    return np.float32(max(0, block[Block.CHARACTERS] - 2 * block[Block.LINK_CHARACTERS]))


@kernel()
def describe_elements(elements: Rows, classes: Hashes, class_weights: Matrix, sums: Sums) -> None:
    """Class names, keywords and tags of each element and of all around it; which kin it belongs to."""
    sums.kin_count[:] = 0
    sums.kin_good[:] = 0
    sums.kin_hash[:] = 0
    for at in range(elements.shape[0]):
        parent, tag = elements[at, Element.PARENT], elements[at, Element.TAG]
        first = elements[at, Element.FIRST_CLASS]
        score, kind = np.float32(0), tag
        for place in range(first, min(first + elements[at, Element.CLASS_COUNT], classes.size)):
            score += class_weights[classes[place] & (CLASS_WEIGHTS - 1)]
            kind = (kind * 31 + np.int64(classes[place])) & 0xFFFFFFFF
        bit = _TAG_BITS[tag]
        sums.class_score[at] = score
        sums.around_tags[at] = 1 << (bit - 1) if bit > 0 else 0
        sums.around_keywords[at] = 0
        sums.around_class_score[at] = 0
        if parent >= 0:
            sums.around_tags[at] |= sums.around_tags[parent]
            own = tag != BODY  # the class names of the body say what the page is, not what the block is
            sums.around_keywords[at] = sums.around_keywords[parent] | (elements[at, Element.KEYWORDS] if own else 0)
            sums.around_class_score[at] = sums.around_class_score[parent] + (score if own else np.float32(0))
        slot = _kin_slot(kind + 1, sums.kin_hash)
        sums.kin[at] = slot
        sums.kin_count[slot] += 1
        sums.good[at] = 0
        sums.characters[at] = 0
        sums.link_characters[at] = 0
        sums.words[at] = 0
        sums.blocks[at] = 0
        sums.score[at] = 0
        sums.on_dense_path[at] = False
        sums.on_best_path[at] = False


@kernel()
def _kin_slot(kind: int, hashes: Hashes) -> int:
    """A slot of its own for each kind of element, while there are free ones nearby; then a shared one."""
    slot = kind & (SLOTS - 1)
    for _ in range(16):
        if hashes[slot] == 0 or hashes[slot] == kind & 0xFFFFFFFF:
            break
        slot = (slot + 1) & (SLOTS - 1)
    hashes[slot] = kind & 0xFFFFFFFF
    return slot


@kernel()
def sum_up(blocks: Rows, elements: Rows, sums: Sums) -> None:
    """Text of each element with all inside it. Children stand below their parents in the table."""
    for row in range(blocks.shape[0]):
        at = blocks[row, Block.ELEMENT]
        good = good_text(blocks[row])
        sums.good[at] += good
        sums.characters[at] += blocks[row, Block.CHARACTERS]
        sums.link_characters[at] += blocks[row, Block.LINK_CHARACTERS]
        sums.words[at] += blocks[row, Block.WORDS] - blocks[row, Block.CJK] // 2
        sums.blocks[at] += 1
        container = at
        if _IS_PARAGRAPH[elements[at, Element.TAG]] and elements[at, Element.PARENT] >= 0:
            container = elements[at, Element.PARENT]
        sums.score[container] += good
        if elements[container, Element.PARENT] >= 0:
            sums.score[elements[container, Element.PARENT]] += good * np.float32(0.5)
    for at in range(elements.shape[0] - 1, 0, -1):
        parent = elements[at, Element.PARENT]
        sums.good[parent] += sums.good[at]
        sums.characters[parent] += sums.characters[at]
        sums.link_characters[parent] += sums.link_characters[at]
        sums.words[parent] += sums.words[at]
        sums.blocks[parent] += sums.blocks[at]
        sums.kin_good[sums.kin[at]] += sums.good[at]


@kernel()
def find_containers(elements: Rows, sums: Sums) -> tuple[int, int]:
    """The deepest element that holds most of the good text, and the one whose children hold most of it."""
    dense, best = 0, 0
    for at in range(1, elements.shape[0]):
        # a child of the dense element that is dense too; at most one is, and it stands below its parent
        if elements[at, Element.PARENT] == dense and sums.good[at] > DENSE * sums.good[dense] and sums.good[0] > 0:
            dense = at
        if sums.score[at] > sums.score[best]:
            best = at
    at = dense
    while at >= 0:
        sums.on_dense_path[at] = True
        at = elements[at, Element.PARENT]
    at = best
    while at >= 0:
        sums.on_best_path[at] = True
        at = elements[at, Element.PARENT]
    return dense, best

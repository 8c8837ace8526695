"""What the tokenizer works on: arrays of fixed size that are allocated once per process and used for every page.

The state of the machine between two pieces of a page is a row of integers, the *registers*. Nothing else is carried
from one piece to the next, and ``start`` resets all of it, so that a page cannot leave a trace in the next one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import MOST, MOST_SCRIPTS, Block, Element, Limit, Mark, Span
from stages.extract.blocks.compiled import kernel
from stages.extract.blocks.tags import TAGS

HTML = TAGS["html"]
TITLE_SLOTS = 256
MOST_TITLE_WORDS = 60
MOST_BLOCKS, MOST_ELEMENTS, MOST_DEPTH = MOST[Limit.BLOCKS], MOST[Limit.ELEMENTS], MOST[Limit.DEPTH]
MOST_WORDS, MOST_CLASSES, MOST_SPANS = MOST[Limit.WORDS], MOST[Limit.CLASSES], MOST[Limit.SPANS]
CAP_BLOCKS, CAP_ELEMENTS, CAP_DEPTH = 1 << Limit.BLOCKS, 1 << Limit.ELEMENTS, 1 << Limit.DEPTH
CAP_WORDS, CAP_CLASSES, CAP_SPANS = 1 << Limit.WORDS, 1 << Limit.CLASSES, 1 << Limit.SPANS


class Register(IntEnum):
    """The state between two pieces of a page."""

    SIZE = 0  # bytes of the page
    NOSCRIPT = 1  # 1: read what stands in <noscript>
    TEXT = 2  # rows and bytes in use
    BLOCKS = 3
    ELEMENTS = 4
    WORDS = 5
    CLASSES = 6
    SPANS = 7
    CAPPED = 8  # bits of the limits that were met
    OPEN = 9  # 1: a block is being written
    NEWLINES = 10  # white space seen but not written yet: it is dropped at the ends of a block
    TABS = 11
    BLANKS = 12
    ENDING = 13  # how the text written last ends
    IMAGES = 14  # since the last block
    TAGS = 15
    BREAKS = 16
    DEPTH = 17  # elements on the stack, less one
    OVERFLOW = 18  # elements too deep for it that are open
    LINK = 19  # 1: inside <a>
    LINK_DEPTH = 20  # DEPTH when it was opened
    LINK_FROM = 21  # where its text begins
    LINK_TARGET = 22  # its address: bytes of the page
    LINK_TARGET_END = 23
    CODE = 24  # 1: inside <code> that is not in <pre>
    CODE_FROM = 25
    BOLD = 26  # how many <b>, <em> and the like are open
    TITLE = 27  # 0: no title yet, 1: inside it, 2: read
    TITLE_WORDS = 28
    NO_COMMENT_END = 29  # 1: the rest of the page holds no -->
    NO_TAG_END = 30  # ... no >
    NO_DOUBLE_QUOTE = 31
    NO_SINGLE_QUOTE = 32
    KEYWORDS = 33  # of the tag being read
    FLAGS = 34
    SELF_CLOSED = 35
    TARGET = 36
    TARGET_END = 37
    SCRIPTS = 39  # JSON-LD scripts seen
    FIRST_CLASS = 38  # where the words of its class names begin


class Memory(NamedTuple):
    """Arrays of one tokenizer. Tables have one row more than they may use: what does not fit is written there."""

    page: NDArray[np.uint8]
    page_words: NDArray[np.uint64]  # the same bytes, eight at a time
    text: NDArray[np.uint8]
    blocks: NDArray[np.int32]
    elements: NDArray[np.int32]
    words: NDArray[np.uint32]
    classes: NDArray[np.uint32]
    spans: NDArray[np.int32]
    stack: NDArray[np.int32]  # rows of the open elements
    open_tags: NDArray[np.int32]  # how many elements of each tag are open
    no_end: NDArray[np.bool_]  # by tag: the rest of the page does not close it
    title: NDArray[np.uint32]  # hashes of the words of <title>
    marks: NDArray[np.int64]  # Mark
    registers: NDArray[np.int64]


def allocate() -> Memory:
    """Memory for small pages; ``fit`` makes it larger."""
    return Memory(
        *_page_arrays(1 << 18),
        np.zeros((MOST_BLOCKS + 1, len(Block)), np.int32),
        np.zeros((MOST_ELEMENTS + 1, len(Element)), np.int32),
        np.zeros(MOST_WORDS + 1, np.uint32),
        np.zeros(MOST_CLASSES + 1, np.uint32),
        np.zeros((MOST_SPANS + 1, len(Span)), np.int32),
        np.zeros(MOST_DEPTH + 1, np.int32),
        np.zeros(256, np.int32),
        np.zeros(256, np.bool_),
        np.zeros(TITLE_SLOTS, np.uint32),
        np.zeros(Mark.SCRIPT + 2 * MOST_SCRIPTS, np.int64),
        np.zeros(len(Register), np.int64),
    )


def fit(memory: Memory, size: int) -> Memory:
    """Memory that holds a page of ``size`` bytes: the same one, or one with a larger page and text."""
    if size + 8 <= memory.page.size:
        return memory
    page, page_words, text = _page_arrays(size + 8)
    return memory._replace(page=page, page_words=page_words, text=text)


def _page_arrays(size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint8]]:
    page_words = np.zeros(size // 8 + 1, np.uint64)
    page = page_words.view(np.uint8)
    # a byte that is no UTF-8 becomes U+FFFD, three bytes; pages of the system are never touched before they are written
    return page, page_words, np.empty(3 * page.size + 64, np.uint8)


@kernel()
def start(memory: Memory, size: int, noscript: bool) -> None:
    """Forget the page before."""
    memory.registers[:] = 0
    memory.open_tags[:] = 0
    memory.no_end[:] = False
    memory.title[:] = 0
    memory.marks[:] = 0
    memory.stack[0] = 0
    registers, root = memory.registers, memory.elements[0]
    registers[Register.SIZE] = size
    registers[Register.NOSCRIPT] = noscript
    registers[Register.ELEMENTS] = 1
    root[:] = 0
    root[Element.PARENT] = -1
    root[Element.TAG] = HTML

"""A page of bytes becomes blocks of visible text: no DOM, one pass, linear time on any input.

Two machines take turns. ``text_kernel`` reads until a ``<`` begins markup, ``markup_kernel`` reads one tag, comment or
passed-over element and tells ``tree_kernel`` about it. A block ends at every tag of a block-level element and at two
line breaks in a row. All they know of each other is in the registers of ``memory``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.block_kernel import close_block
from stages.extract.blocks.columns import Limit
from stages.extract.blocks.compiled import kernel
from stages.extract.blocks.markup_kernel import read_markup
from stages.extract.blocks.memory import Memory, Register, allocate, fit, start
from stages.extract.blocks.tags import Tables, tables
from stages.extract.blocks.text_kernel import read_text

KEPT_BYTES = 1 << 24  # memory for larger pages is given back after the page


@dataclass(frozen=True, slots=True)
class Page:
    """What the tokenizer found. Arrays are views of its memory: they hold until it reads the next page.

    ``source``: the page. ``text``: its visible text as UTF-8, blocks ended by a line feed. ``blocks`` (n, 28),
    ``elements`` (m, 8), ``spans`` (k, 5): int32, columns as in ``columns``. ``words``, ``classes``: uint32 hashes of
    the words of the text and of class names. ``title_words``: distinct words of ``<title>``. ``capped``: the limits
    that cut something off, as a text for people, empty for almost every page. ``marks``: ``columns.Mark``.
    """

    source: NDArray[np.uint8]
    text: NDArray[np.uint8]
    blocks: NDArray[np.int32]
    elements: NDArray[np.int32]
    words: NDArray[np.uint32]
    classes: NDArray[np.uint32]
    spans: NDArray[np.int32]
    title_words: int
    capped: str
    marks: NDArray[np.int64]

    def block_text(self, row: int) -> str:
        """The text of one block."""
        return self.text[self.blocks[row, 0] : self.blocks[row, 1]].tobytes().decode()

    def copy(self) -> Page:
        """A page that outlives the next one."""
        return Page(
            self.source.copy(),
            self.text.copy(),
            self.blocks.copy(),
            self.elements.copy(),
            self.words.copy(),
            self.classes.copy(),
            self.spans.copy(),
            self.title_words,
            self.capped,
            self.marks.copy(),
        )


class Tokenizer:
    """Reads one page after the other in memory of its own (24 MB). Not for use by two threads at once."""

    def __init__(self) -> None:
        self._memory = allocate()
        self._tables = tables()

    def read(self, page: bytes, *, noscript: bool = False) -> Page:
        """Cut a page in UTF-8 into blocks; bytes that are no UTF-8 become U+FFFD. Never raises on any page below 2 GiB.

        ``noscript``: read what stands there for readers without scripts, where some forums keep their posts.
        """
        memory = fit(self._memory, len(page))
        memory.page[: len(page)] = np.frombuffer(page, np.uint8)
        memory.page[len(page) : len(page) + 8] = 0
        if memory.page.size <= KEPT_BYTES:
            self._memory = memory
        tokenize(memory, self._tables, len(page), noscript)
        return _page(memory)


@kernel()
def tokenize(memory: Memory, tables: Tables, size: int, noscript: bool) -> None:
    """Read the first ``size`` bytes of ``memory.page``."""
    start(memory, size, noscript)
    at = 0
    while at < size:
        at = read_text(at, memory, tables)
        if at < size:
            at = read_markup(at, memory, tables)
    if memory.registers[Register.OPEN]:
        close_block(size, 0, memory)


def _page(memory: Memory) -> Page:
    used = memory.registers
    capped = int(used[Register.CAPPED])
    return Page(
        source=memory.page[: used[Register.SIZE]],
        text=memory.text[: used[Register.TEXT]],
        blocks=memory.blocks[: used[Register.BLOCKS]],
        elements=memory.elements[: used[Register.ELEMENTS]],
        words=memory.words[: used[Register.WORDS]],
        classes=memory.classes[: used[Register.CLASSES]],
        spans=memory.spans[: used[Register.SPANS]],
        title_words=int(used[Register.TITLE_WORDS]),
        capped=", ".join(limit.name.lower() for limit in Limit if capped >> limit & 1),
        marks=memory.marks,
    )

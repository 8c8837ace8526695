"""The tree above the text: which elements are open, what a tag closes without saying so, what a break breaks.

Only block-level elements are on the stack; inline ones leave a mark in a register. An end tag that matches nothing is
passed over in constant time, for the stack counts its elements by tag; searches for what a start tag closes by
implication go ``REACH`` elements up, so that no page takes more than linear time.
"""

from __future__ import annotations

from stages.extract.blocks.block_kernel import close_block, end_span
from stages.extract.blocks.columns import PRE, Block, Element, SpanKind
from stages.extract.blocks.compiled import kernel
from stages.extract.blocks.memory import (
    CAP_CLASSES,
    CAP_DEPTH,
    CAP_ELEMENTS,
    MOST_DEPTH,
    MOST_ELEMENTS,
    Memory,
    Register,
)
from stages.extract.blocks.tags import (
    IS_BOLD,
    IS_CELL,
    IS_HEADING,
    IS_ITEM,
    IS_LIST,
    IS_ROW,
    IS_SCOPE,
    IS_TYPED,
    IS_VOID,
    TAGS,
    Tables,
)

REACH = 16
A, BR, IMG, P, PRE_TAG = TAGS["a"], TAGS["br"], TAGS["img"], TAGS["p"], TAGS["pre"]
HTML, HEAD, BODY, TITLE, TABLE = TAGS["html"], TAGS["head"], TAGS["body"], TAGS["title"], TAGS["table"]


@kernel()
def inline_tag(tag: int, kinds: int, closing: bool, memory: Memory) -> None:
    """Note a link, an image, bold text or code."""
    registers = memory.registers
    if tag == A:
        if registers[Register.LINK]:
            end_span(SpanKind.LINK, registers[Register.LINK_FROM], memory)
        registers[Register.LINK] = not closing
        if not closing:
            registers[Register.LINK_DEPTH] = registers[Register.DEPTH]
            registers[Register.LINK_FROM] = registers[Register.TEXT]
            registers[Register.LINK_TARGET] = registers[Register.TARGET]
            registers[Register.LINK_TARGET_END] = registers[Register.TARGET_END]
            if registers[Register.OPEN]:
                memory.blocks[registers[Register.BLOCKS], Block.LINKS] += 1
    elif tag == IMG:
        registers[Register.IMAGES] += 1
    elif kinds & IS_BOLD:
        registers[Register.BOLD] = max(0, registers[Register.BOLD] + (-1 if closing else 1))
    elif kinds & IS_TYPED and not memory.elements[memory.stack[registers[Register.DEPTH]], Element.FLAGS] & PRE:
        if registers[Register.CODE]:
            end_span(SpanKind.CODE, registers[Register.CODE_FROM], memory)
        registers[Register.CODE] = not closing
        registers[Register.CODE_FROM] = registers[Register.TEXT]


@kernel()
def line_break(at: int, memory: Memory) -> None:
    """One ``<br>`` is a new line, two in a row end the block; inside ``<pre>`` they are new lines."""
    registers = memory.registers
    if not registers[Register.OPEN]:
        registers[Register.BREAKS] += 1
    elif memory.elements[memory.stack[registers[Register.DEPTH]], Element.FLAGS] & PRE:
        registers[Register.NEWLINES] += 1
    elif registers[Register.NEWLINES] > 0:
        close_block(at, 2, memory)
        registers[Register.BREAKS] = 2
    else:
        registers[Register.NEWLINES] = 1


@kernel()
def block_tag(tag: int, kinds: int, closing: bool, at: int, memory: Memory, tables: Tables) -> None:
    """A tag of a block-level element at byte ``at``: the open block ends, the stack changes."""
    registers = memory.registers
    if registers[Register.OPEN]:
        close_block(at, 0, memory)
    registers[Register.BREAKS] = 0
    registers[Register.BOLD] = 0
    if registers[Register.TITLE] == 1:
        registers[Register.TITLE] = 2
    if tag == TITLE:
        if not closing and registers[Register.TITLE] == 0:
            registers[Register.TITLE] = 1
        return
    if tag in (HTML, HEAD) or (tag == BODY and (closing or memory.open_tags[BODY] > 0)):
        return
    if closing:
        _close(tag, kinds, memory, tables)
    else:
        _close_implied(kinds, memory, tables)
        if not kinds & IS_VOID:
            _open(tag, memory)


@kernel()
def keep_class(state: int, memory: Memory) -> None:
    """Write down the hash of a word of a class name; it belongs to the element that is opened next."""
    registers = memory.registers
    memory.classes[registers[Register.CLASSES]] = state
    if registers[Register.CLASSES] < memory.classes.size - 1:
        registers[Register.CLASSES] += 1
    else:
        registers[Register.CAPPED] |= CAP_CLASSES


@kernel()
def _open(tag: int, memory: Memory) -> None:
    registers, stack = memory.registers, memory.stack
    depth, row_number = registers[Register.DEPTH], registers[Register.ELEMENTS]
    if depth + 1 >= MOST_DEPTH or row_number >= MOST_ELEMENTS:
        registers[Register.CAPPED] |= CAP_DEPTH if depth + 1 >= MOST_DEPTH else CAP_ELEMENTS
        registers[Register.OVERFLOW] += 1
        return
    above = memory.elements[stack[depth]]
    row = memory.elements[row_number]
    row[Element.PARENT] = stack[depth]
    row[Element.TAG] = tag
    row[Element.KEYWORDS] = registers[Register.KEYWORDS]
    row[Element.FLAGS] = registers[Register.FLAGS] | above[Element.FLAGS] | (PRE if tag == PRE_TAG else 0)
    row[Element.DEPTH] = depth + 1
    row[Element.FIRST_CLASS] = registers[Register.FIRST_CLASS]
    row[Element.CLASS_COUNT] = registers[Register.CLASSES] - registers[Register.FIRST_CLASS]
    row[Element.FIRST_BLOCK] = registers[Register.BLOCKS]
    registers[Register.FIRST_CLASS] = registers[Register.CLASSES]
    stack[depth + 1] = row_number
    memory.open_tags[tag] += 1
    registers[Register.DEPTH] = depth + 1
    registers[Register.ELEMENTS] += 1


@kernel()
def _close(tag: int, kinds: int, memory: Memory, tables: Tables) -> None:
    """Close the innermost open element of this tag, and all inside it, unless a table cell shields it."""
    registers = memory.registers
    if registers[Register.OVERFLOW] > 0:
        registers[Register.OVERFLOW] -= 1
        return
    if memory.open_tags[tag] == 0:
        return
    place = registers[Register.DEPTH]
    while place > 0:
        found = memory.elements[memory.stack[place], Element.TAG]
        if found == tag:
            _pop_to(place - 1, memory)
            return
        if tables.tag_kinds[found] & IS_SCOPE and not kinds & (IS_SCOPE | IS_ROW):
            return
        place -= 1


@kernel()
def _close_implied(kinds: int, memory: Memory, tables: Tables) -> None:
    """What a start tag closes: an open paragraph or heading, an item by an item, a cell by a cell or a row."""
    registers = memory.registers
    if registers[Register.DEPTH] == 0 or registers[Register.OVERFLOW] > 0:
        return
    top = memory.elements[memory.stack[registers[Register.DEPTH]], Element.TAG]
    if top == P or (kinds & IS_HEADING and tables.tag_kinds[top] & IS_HEADING):
        _pop_to(registers[Register.DEPTH] - 1, memory)
    if kinds & IS_ITEM:
        _close_up_to(IS_ITEM, IS_LIST | IS_SCOPE, memory, tables)
    elif kinds & IS_CELL:
        _close_up_to(IS_CELL, IS_LIST | IS_ROW, memory, tables)
    elif kinds & IS_ROW:
        _close_up_to(IS_ROW, IS_LIST, memory, tables)


@kernel()
def _close_up_to(wanted: int, barrier: int, memory: Memory, tables: Tables) -> None:
    place = memory.registers[Register.DEPTH]
    lowest = max(0, place - REACH)
    while place > lowest:
        kinds = tables.tag_kinds[memory.elements[memory.stack[place], Element.TAG]]
        if kinds & wanted:
            _pop_to(place - 1, memory)
            return
        if kinds & barrier:
            return
        place -= 1


@kernel()
def _pop_to(depth: int, memory: Memory) -> None:
    registers = memory.registers
    for place in range(registers[Register.DEPTH], depth, -1):
        memory.open_tags[memory.elements[memory.stack[place], Element.TAG]] -= 1
    registers[Register.DEPTH] = depth
    if registers[Register.LINK] and registers[Register.LINK_DEPTH] > depth:
        registers[Register.LINK] = 0  # nobody closed it

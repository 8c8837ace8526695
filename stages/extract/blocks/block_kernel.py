"""Where a block begins and ends, and the spans inside it."""

from __future__ import annotations

from stages.extract.blocks.columns import PRE, Block, Element, Span, SpanKind
from stages.extract.blocks.compiled import kernel
from stages.extract.blocks.memory import CAP_BLOCKS, CAP_SPANS, MOST_BLOCKS, MOST_SPANS, Memory, Register


@kernel()
def open_block(at: int, memory: Memory) -> None:
    """Begin a block with the character at byte ``at``."""
    registers = memory.registers
    row = memory.blocks[registers[Register.BLOCKS]]
    row[:] = 0
    row[Block.START] = registers[Register.TEXT]
    row[Block.ELEMENT] = memory.stack[registers[Register.DEPTH]]
    row[Block.FIRST_WORD] = registers[Register.WORDS]
    row[Block.FIRST_SPAN] = registers[Register.SPANS]
    row[Block.SOURCE_START] = at
    row[Block.IMAGES] = registers[Register.IMAGES]
    row[Block.TAGS] = registers[Register.TAGS]
    row[Block.BREAKS_BEFORE] = registers[Register.BREAKS]
    row[Block.LINKS] = registers[Register.LINK]
    registers[Register.OPEN] = 1
    registers[Register.IMAGES] = 0
    registers[Register.TAGS] = 0
    registers[Register.BREAKS] = 0
    registers[Register.NEWLINES] = 0  # what stands before a block is no part of it, but for the indent of code
    if not memory.elements[row[Block.ELEMENT], Element.FLAGS] & PRE:
        registers[Register.BLANKS] = 0
        registers[Register.TABS] = 0
    registers[Register.LINK_FROM] = registers[Register.TEXT]
    registers[Register.CODE_FROM] = registers[Register.TEXT]


@kernel()
def close_block(at: int, breaks: int, memory: Memory) -> None:
    """End the open block before byte ``at``; ``breaks`` line breaks follow. The title is remembered, not kept."""
    registers = memory.registers
    row = memory.blocks[registers[Register.BLOCKS]]
    end_spans(memory)
    row[Block.END] = registers[Register.TEXT]
    row[Block.SOURCE_END] = at
    row[Block.LAST_MARK] = registers[Register.ENDING]
    row[Block.BREAKS_AFTER] = breaks
    registers[Register.OPEN] = 0
    registers[Register.NEWLINES] = 0
    registers[Register.TABS] = 0
    registers[Register.BLANKS] = 0
    full = registers[Register.BLOCKS] == MOST_BLOCKS
    if full:
        registers[Register.CAPPED] |= CAP_BLOCKS
    if full or registers[Register.TITLE] == 1:
        registers[Register.TEXT] = row[Block.START]
        registers[Register.WORDS] = row[Block.FIRST_WORD]
        registers[Register.SPANS] = row[Block.FIRST_SPAN]
    else:
        memory.text[registers[Register.TEXT]] = 10
        registers[Register.TEXT] += 1
        registers[Register.BLOCKS] += 1


@kernel()
def end_spans(memory: Memory) -> None:
    """Write down the link and the code that end here."""
    registers = memory.registers
    if registers[Register.LINK]:
        end_span(SpanKind.LINK, registers[Register.LINK_FROM], memory)
    if registers[Register.CODE]:
        end_span(SpanKind.CODE, registers[Register.CODE_FROM], memory)


@kernel()
def end_span(kind: int, begin: int, memory: Memory) -> None:
    """Write down a span from ``begin`` to the end of the text, unless it is empty."""
    registers = memory.registers
    end = registers[Register.TEXT]
    while begin < end and memory.text[begin] <= 32:
        begin += 1
    if begin >= end or not registers[Register.OPEN]:
        return
    row = memory.spans[registers[Register.SPANS]]
    row[Span.KIND] = kind
    row[Span.START] = begin
    row[Span.END] = end
    row[Span.TARGET] = registers[Register.LINK_TARGET] if kind == SpanKind.LINK else 0
    row[Span.TARGET_END] = registers[Register.LINK_TARGET_END] if kind == SpanKind.LINK else 0
    if registers[Register.SPANS] < MOST_SPANS:
        registers[Register.SPANS] += 1
    else:
        registers[Register.CAPPED] |= CAP_SPANS

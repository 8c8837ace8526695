"""The text between two tags: characters are decoded, counted and written, words are hashed.

Four states, none of which outlives a piece of text except through the registers: no block open, in a block, in a word,
after white space. White space is only noted; it is written when a visible character follows in the same block, as one
blank or one line break, or as it was inside ``<pre>``.
"""

from __future__ import annotations

from stages.extract.blocks.block_kernel import open_block
from stages.extract.blocks.character_kernel import MASK, PRIME, SEED, decode, reference
from stages.extract.blocks.columns import PRE, Block, Element, Ending
from stages.extract.blocks.compiled import Bytes, Registers, kernel
from stages.extract.blocks.memory import (
    CAP_WORDS,
    MOST_TITLE_WORDS,
    MOST_WORDS,
    TITLE_SLOTS,
    Memory,
    Register,
)
from stages.extract.blocks.tags import (
    CJK,
    COMMA,
    LEXICON_BOILER,
    LEXICON_STOP,
    NUMBER,
    QUOTE,
    SENTENCE,
    SOFT_HYPHEN,
    SPACE,
    UPPER,
    WORD,
    Tables,
    look_up,
)

LONG = 7  # letters of a long word


@kernel()
def read_text(at: int, memory: Memory, tables: Tables) -> int:  # noqa: PLR0912 - one loop, for speed
    """Read text from byte ``at`` to the next ``<`` that begins markup, or to the end. Returns where it stopped."""
    page, registers, size = memory.page, memory.registers, memory.registers[Register.SIZE]
    in_pre = memory.elements[memory.stack[registers[Register.DEPTH]], Element.FLAGS] & PRE
    letters, state, first_kind, seen = 0, 0, 0, 0
    while at < size:
        byte = page[at]
        if byte == 60 and begins_markup(page, at, size):
            break
        if byte == 38:
            point, length = reference(page, at, size, tables)
        elif byte < 128:
            point, length = int(byte), 1
        else:
            point, length = decode(page, at, size)
        kind = tables.classes[point]
        in_word = (kind & (WORD | CJK)) == WORD
        if letters > 0 and not in_word:
            _end_word(state, letters, first_kind, memory, tables)
            letters = 0
        if kind & SPACE:
            _note_space(point, in_pre, registers)
        elif point != SOFT_HYPHEN:
            if not registers[Register.OPEN]:
                open_block(at, memory)
            _write(point, memory)
            seen += 1
            if in_word:
                if letters == 0:
                    state, first_kind = SEED, kind
                    registers[Register.ENDING] = Ending.WORD
                small = tables.small[point] if point < tables.small.size else point
                state = ((state ^ small) * PRIME) & MASK
                letters += 1
            elif kind & CJK:
                memory.blocks[registers[Register.BLOCKS], Block.CJK] += 1
                registers[Register.ENDING] = Ending.WORD
                _end_word(((SEED ^ point) * PRIME) & MASK, 1, kind, memory, tables)
            else:
                _count_mark(point, kind, memory)
        at += length
    if letters > 0:
        _end_word(state, letters, first_kind, memory, tables)
    if seen > 0:
        _count_characters(seen, memory)
    return at


@kernel()
def begins_markup(page: Bytes, at: int, size: int) -> bool:
    """Whether the ``<`` at ``at`` begins a tag, a comment or a declaration."""
    if at + 1 >= size:
        return False
    after = page[at + 1]
    return bool((97 <= (after | 32) <= 122) or after in (47, 33, 63))  # / ! ?


@kernel()
def _note_space(point: int, in_pre: int, registers: Registers) -> None:
    if not in_pre:
        registers[Register.BLANKS] = 1
    elif point == 10:
        registers[Register.NEWLINES] += 1
        registers[Register.TABS] = 0
        registers[Register.BLANKS] = 0
    elif point == 9:
        registers[Register.TABS] += 1
    elif point != 13:
        registers[Register.BLANKS] += 1


@kernel()
def _write(point: int, memory: Memory) -> None:
    """Write the white space that was noted, then the character, as UTF-8."""
    text, registers = memory.text, memory.registers
    out = registers[Register.TEXT]
    if registers[Register.NEWLINES] + registers[Register.TABS] + registers[Register.BLANKS] > 0:
        out = _write_space(out, memory)
    if point < 0x80:
        text[out] = point
        out += 1
    elif point < 0x800:
        text[out] = 0xC0 | (point >> 6)
        text[out + 1] = 0x80 | (point & 63)
        out += 2
    elif point < 0x10000:
        text[out] = 0xE0 | (point >> 12)
        text[out + 1] = 0x80 | ((point >> 6) & 63)
        text[out + 2] = 0x80 | (point & 63)
        out += 3
    else:
        text[out] = 0xF0 | (point >> 18)
        text[out + 1] = 0x80 | ((point >> 12) & 63)
        text[out + 2] = 0x80 | ((point >> 6) & 63)
        text[out + 3] = 0x80 | (point & 63)
        out += 4
    registers[Register.TEXT] = out


@kernel()
def _write_space(out: int, memory: Memory) -> int:
    text, registers = memory.text, memory.registers
    for _ in range(registers[Register.NEWLINES]):
        text[out] = 10
        out += 1
    if (
        registers[Register.NEWLINES] == 0
        or memory.elements[memory.stack[registers[Register.DEPTH]], Element.FLAGS] & PRE
    ):
        for _ in range(registers[Register.TABS]):
            text[out] = 9
            out += 1
        for _ in range(registers[Register.BLANKS]):
            text[out] = 32
            out += 1
    registers[Register.NEWLINES] = 0
    registers[Register.TABS] = 0
    registers[Register.BLANKS] = 0
    return out


@kernel()
def _end_word(state: int, letters: int, kind: int, memory: Memory, tables: Tables) -> None:
    """Count a word and write down its hash ``state``; ``kind`` is the class of its first character."""
    registers = memory.registers
    row = memory.blocks[registers[Register.BLOCKS]]
    row[Block.WORDS] += 1
    row[Block.LINK_WORDS] += registers[Register.LINK]
    row[Block.CAPITALS] += (kind & UPPER) != 0
    row[Block.DIGITS] += (kind & NUMBER) != 0
    row[Block.LONG_WORDS] += letters >= LONG
    known = look_up(tables.lexicon_keys, tables.lexicon_bits, state)
    row[Block.STOP_WORDS] += (known & LEXICON_STOP) != 0
    row[Block.BOILER_WORDS] += (known & LEXICON_BOILER) != 0
    memory.words[registers[Register.WORDS]] = state
    if registers[Register.WORDS] < MOST_WORDS:
        registers[Register.WORDS] += 1
    else:
        registers[Register.CAPPED] |= CAP_WORDS
    if not known & LEXICON_STOP and (registers[Register.TITLE] == 1 or registers[Register.TITLE_WORDS] > 0):
        row[Block.TITLE_WORDS] += _in_title(state, memory)


@kernel()
def _in_title(state: int, memory: Memory) -> int:
    """Whether the title has the word; inside the title, the word is put there."""
    title, registers = memory.title, memory.registers
    slot = state & (TITLE_SLOTS - 1)
    while title[slot] != 0 and title[slot] != state:
        slot = (slot + 1) & (TITLE_SLOTS - 1)
    if title[slot] != 0:
        return 1
    if registers[Register.TITLE] == 1 and registers[Register.TITLE_WORDS] < MOST_TITLE_WORDS:
        title[slot] = state
        registers[Register.TITLE_WORDS] += 1
    return 0


@kernel()
def _count_mark(point: int, kind: int, memory: Memory) -> None:
    registers = memory.registers
    row = memory.blocks[registers[Register.BLOCKS]]
    if kind & (SENTENCE | QUOTE):
        registers[Register.ENDING] = Ending.SENTENCE
        row[Block.SENTENCE_MARKS] += (kind & SENTENCE) != 0
    elif kind & COMMA:
        registers[Register.ENDING] = Ending.OTHER
        row[Block.COMMAS] += 1
    else:
        registers[Register.ENDING] = Ending.COLON if point in (58, 0xFF1A) else Ending.OTHER
        row[Block.PIPES] += point in (124, 0xB7, 0x2022, 0xBB, 0x203A, 0xFF5C)  # | · • » › ｜


@kernel()
def _count_characters(seen: int, memory: Memory) -> None:
    registers = memory.registers
    row = memory.blocks[registers[Register.BLOCKS]]
    row[Block.CHARACTERS] += seen
    if registers[Register.LINK]:
        row[Block.LINK_CHARACTERS] += seen
    if registers[Register.BOLD] > 0:
        row[Block.BOLD] += seen

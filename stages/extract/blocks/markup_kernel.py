"""Tags, comments and elements without text: where they end, and what their attributes say.

States: a declaration or comment; a tag's name; between attributes; an attribute's name; its value, bare or in quotes;
the inside of an element that is passed over whole (scripts, styles, drawings, forms' choices). Where an end is missing
the search for it is not repeated: its register says that the rest of the page holds none, and the page is read on as
browsers do, or as text where a browser would show nothing.
"""

from __future__ import annotations

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from stages.extract.blocks.character_kernel import MASK, PRIME, SEED
from stages.extract.blocks.columns import ARIA_HIDDEN as ARIA_HIDDEN_FLAG
from stages.extract.blocks.columns import HIDDEN as HIDDEN_FLAG
from stages.extract.blocks.columns import MOST_SCRIPTS, Mark
from stages.extract.blocks.compiled import Bytes, kernel
from stages.extract.blocks.memory import Memory, Register
from stages.extract.blocks.tags import (
    ARIA_HIDDEN,
    HIDDEN,
    IS_BLOCK,
    IS_RAW,
    IS_SCRIPT,
    NAMING,
    PROPERTY,
    RELATION,
    STYLE,
    TAGS,
    TARGET,
    Tables,
    look_up,
)
from stages.extract.blocks.tree_kernel import BR, A, block_tag, inline_tag, keep_class, line_break

NOSCRIPT, SCRIPT, BODY, HEAD, TIME = (TAGS[name] for name in ("noscript", "script", "body", "head", "time"))
_AUTHOR, _LD_JSON = np.frombuffer(b"author", np.uint8), np.frombuffer(b"ld+json", np.uint8)
LESS, GREATER, SLASH, DASH, EQUALS, DOUBLE, SINGLE = 60, 62, 47, 45, 61, 34, 39
_ONES, _HIGHS = uint64(0x0101010101010101), uint64(0x8080808080808080)
# the last eight bytes of display:none and of visibility:hidden, in the order in which they go through a window
NOT_DISPLAYED = int.from_bytes(b"lay:none", "big")
NOT_VISIBLE = int.from_bytes(b"y:hidden", "big")


@kernel()
def find_byte(wanted: int, at: int, size: int, memory: Memory) -> int:
    """Place of the next ``wanted`` byte from ``at``, -1 without one. Eight bytes at a time."""
    page = memory.page
    while at < size and at & 7:
        if page[at] == wanted:
            return at
        at += 1
    pattern = uint64(wanted) * _ONES
    while at + 8 <= size:
        word = memory.page_words[at >> 3] ^ pattern
        if (word - _ONES) & ~word & _HIGHS:
            break
        at += 8
    while at < size:
        if page[at] == wanted:
            return at
        at += 1
    return -1


@kernel()
def read_markup(at: int, memory: Memory, tables: Tables) -> int:
    """Read the tag, comment or declaration that begins at byte ``at``. Returns where the text goes on."""
    page, registers, size = memory.page, memory.registers, memory.registers[Register.SIZE]
    if page[at + 1] == 33 or page[at + 1] == 63:  # ! or ?
        return _skip_declaration(at, size, memory)
    closing = page[at + 1] == SLASH
    name = at + 1 + closing
    end, state = name, SEED
    while end < size and page[end] > 32 and page[end] != GREATER and page[end] != SLASH:
        byte = int(page[end])
        state = ((state ^ (byte | 32 if 65 <= byte <= 90 else byte)) * PRIME) & MASK
        end += 1
    tag = look_up(tables.tag_keys, tables.tag_ids, state)
    kinds = int(tables.tag_kinds[tag])
    registers[Register.TAGS] += 1
    registers[Register.CLASSES] = registers[Register.FIRST_CLASS]
    after = _read_attributes(at, end, tag == A, bool(kinds & IS_BLOCK) and not closing, memory, tables)
    _mark(at, tag, closing, memory.marks)
    if after < 0:  # no > in all the rest: this was no tag
        return at + 1 if end == name else end
    if tag == NOSCRIPT and registers[Register.NOSCRIPT]:
        kinds = IS_BLOCK
    if kinds & IS_RAW:
        return after if closing else _skip_element(tag, name, end, after, kinds, memory)
    if tag == BR:
        line_break(at, memory)
    elif kinds & IS_BLOCK:
        block_tag(tag, kinds, closing, at, memory, tables)
    else:
        inline_tag(tag, kinds, closing, memory)
    return after


@kernel()
def _skip_declaration(at: int, size: int, memory: Memory) -> int:
    page, registers = memory.page, memory.registers
    if page[at + 1] == 33 and at + 3 < size and page[at + 2] == DASH and page[at + 3] == DASH:
        if registers[Register.NO_COMMENT_END]:
            return at + 4
        end = find_byte(GREATER, at + 4, size, memory)
        while end >= 0 and not (page[end - 1] == DASH and page[end - 2] == DASH):
            end = find_byte(GREATER, end + 1, size, memory)
        if end >= 0:
            return end + 1
        registers[Register.NO_COMMENT_END] = 1
        return at + 4
    if page[at + 1] == 33 and at + 2 < size and page[at + 2] == 91:  # <![CDATA[
        return min(at + 9, size)
    end = find_byte(GREATER, at + 2, size, memory)
    return size if end < 0 else end + 1


@kernel()
def _skip_element(tag: int, name: int, name_end: int, at: int, kinds: int, memory: Memory) -> int:
    """Pass over an element from the end of its start tag. Returns the byte after its end tag."""
    registers, size = memory.registers, memory.registers[Register.SIZE]
    length = name_end - name
    if memory.no_end[tag]:
        return size if kinds & IS_SCRIPT else at
    end = find_byte(LESS, at, size, memory)
    # HTML knows no self-closed elements, authors do: this one is empty, unless its end tag is the next tag
    if registers[Register.SELF_CLOSED] and (end < 0 or not _is_end_tag(end, name, length, size, memory)):
        return at
    while end >= 0 and not _is_end_tag(end, name, length, size, memory):
        end = find_byte(LESS, end + 1, size, memory)
    if end >= 0:
        if tag == SCRIPT and registers[Register.SCRIPTS] < MOST_SCRIPTS and _holds(name_end, at, _LD_JSON, memory.page):
            place = Mark.SCRIPT + 2 * registers[Register.SCRIPTS]
            memory.marks[place] = at
            memory.marks[place + 1] = end
            registers[Register.SCRIPTS] += 1
        end = find_byte(GREATER, end, size, memory)
    if end >= 0:
        return end + 1
    memory.no_end[tag] = True
    return size if kinds & IS_SCRIPT else at


@kernel()
def _is_end_tag(at: int, name: int, length: int, size: int, memory: Memory) -> bool:
    page = memory.page
    if at + 2 + length > size or page[at + 1] != SLASH:
        return False
    for step in range(length):
        if (page[at + 2 + step] | 32) != (page[name + step] | 32):
            return False
    return bool(at + 2 + length == size or page[at + 2 + length] <= GREATER)


@kernel()
def _read_attributes(tag_at: int, at: int, is_link: bool, names_block: bool, memory: Memory, tables: Tables) -> int:
    """Read the attributes of the tag at ``tag_at``, from ``at`` up to the ``>``.

    Returns the byte after it, -1 where the rest of the page has none.
    """
    page, registers, size = memory.page, memory.registers, memory.registers[Register.SIZE]
    registers[Register.KEYWORDS] = 0
    registers[Register.FLAGS] = 0
    registers[Register.SELF_CLOSED] = 0
    registers[Register.TARGET] = 0
    registers[Register.TARGET_END] = 0
    if registers[Register.NO_TAG_END]:
        return -1
    begin = at
    while at < size:
        byte = int(page[at])
        if byte == GREATER:
            return at + 1
        if byte <= 32 or byte == SLASH:
            registers[Register.SELF_CLOSED] = byte == SLASH
            at += 1
            continue
        registers[Register.SELF_CLOSED] = 0
        state, first = SEED, at
        while at < size and page[at] > 32 and page[at] != GREATER and page[at] != SLASH:
            if page[at] == EQUALS and at > first:
                break
            byte = int(page[at])
            state = ((state ^ (byte | 32 if 65 <= byte <= 90 else byte)) * PRIME) & MASK
            at += 1
        value, value_end, at = _value(at, size, memory)
        if names_block or is_link:
            meaning = look_up(tables.attribute_keys, tables.attribute_values, state)
            if meaning:
                _use(meaning, value, value_end, tag_at, is_link, memory, tables)
    if find_byte(GREATER, begin, size, memory) < 0:
        registers[Register.NO_TAG_END] = 1
        return -1
    return int(size)


@kernel()
def _value(at: int, size: int, memory: Memory) -> tuple[int, int, int]:
    """Where an attribute's value begins and ends, and where the tag goes on."""
    page, registers = memory.page, memory.registers
    after = at
    while after < size and page[after] <= 32:
        after += 1
    if after >= size or page[after] != EQUALS:
        return at, at, at
    at = after + 1
    while at < size and page[at] <= 32:
        at += 1
    if at < size and (page[at] == DOUBLE or page[at] == SINGLE):
        quote = page[at]
        missing = Register.NO_DOUBLE_QUOTE if quote == DOUBLE else Register.NO_SINGLE_QUOTE
        end = -1 if registers[missing] else find_byte(quote, at + 1, size, memory)
        if end >= 0:
            return at + 1, end, end + 1
        registers[missing] = 1  # a quote that nobody closes: the value ends with the word
    begin = at
    while at < size and page[at] > 32 and page[at] != GREATER:
        at += 1
    return begin, at, at


@kernel()
def _use(meaning: int, begin: int, end: int, tag_at: int, is_link: bool, memory: Memory, tables: Tables) -> None:
    page, registers, marks = memory.page, memory.registers, memory.marks
    if meaning in (PROPERTY, RELATION) and not marks[Mark.AUTHOR] and _is(begin, end, _AUTHOR, page):
        marks[Mark.AUTHOR] = tag_at
    if is_link:
        if meaning == TARGET:
            registers[Register.TARGET] = begin
            registers[Register.TARGET_END] = end
    elif meaning in (NAMING, PROPERTY):
        _read_names(begin, end, memory, tables)
    elif meaning == HIDDEN or (meaning == STYLE and _hides(begin, end, memory)):
        registers[Register.FLAGS] |= HIDDEN_FLAG
    elif meaning == ARIA_HIDDEN and begin < end and page[begin] == 116:  # true
        registers[Register.FLAGS] |= ARIA_HIDDEN_FLAG


@kernel()
def _mark(at: int, tag: int, closing: bool, marks: NDArray[np.int64]) -> None:
    """Note where the head ends and where the first time stands."""
    if not marks[Mark.HEAD_END] and ((tag == BODY and not closing) or (tag == HEAD and closing)):
        marks[Mark.HEAD_END] = max(at, 1)  # 0 is none
    elif tag == TIME and not closing and not marks[Mark.TIME]:
        marks[Mark.TIME] = at


@kernel()
def _is(begin: int, end: int, wanted: Bytes, page: Bytes) -> bool:
    """Whether the bytes from ``begin`` to ``end`` are ``wanted``, in letters of any size."""
    if end - begin != wanted.size:
        return False
    for step in range(wanted.size):  # noqa: SIM110 - any() allocates
        if (page[begin + step] | 32) != wanted[step]:
            return False
    return True


@kernel()
def _holds(begin: int, end: int, wanted: Bytes, page: Bytes) -> bool:
    """Whether ``wanted`` stands somewhere from ``begin`` to ``end``."""
    for at in range(begin, end - wanted.size + 1):  # noqa: SIM110
        if _is(at, at + wanted.size, wanted, page):
            return True
    return False


@kernel()
def _read_names(begin: int, end: int, memory: Memory, tables: Tables) -> None:
    """Cut class names into words, at everything that is no letter and before capitals: ``postBody`` is two words."""
    page, registers = memory.page, memory.registers
    state, length, was_small = SEED, 0, False
    for at in range(begin, end + 1):
        byte = int(page[at]) if at < end else 32
        is_capital = 65 <= byte <= 90
        small = byte | 32 if is_capital else byte
        is_letter = 97 <= small <= 122
        if not is_letter or (is_capital and was_small):
            if length >= 2:
                registers[Register.KEYWORDS] |= look_up(tables.keyword_keys, tables.keyword_bits, state)
                keep_class(state, memory)
            state, length = SEED, 0
        if is_letter:
            state = ((state ^ small) * PRIME) & MASK
            length += 1
        was_small = is_letter and not is_capital


@kernel()
def _hides(begin: int, end: int, memory: Memory) -> bool:
    """Whether a style says display:none or visibility:hidden."""
    window = uint64(0)
    for at in range(begin, end):
        byte = int(memory.page[at])
        if byte > 32:
            window = (window << uint64(8)) | uint64(byte | 32 if 65 <= byte <= 90 else byte)
            if window == uint64(NOT_DISPLAYED) or window == uint64(NOT_VISIBLE):
                return True
    return False

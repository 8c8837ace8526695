"""One character of text: from UTF-8, or from a reference such as ``&eacute;``."""

from __future__ import annotations

from stages.extract.blocks.compiled import Bytes, kernel
from stages.extract.blocks.tags import LEGACY, Tables, look_up

LONGEST_REFERENCE = 32
SEED, PRIME, MASK = 2166136261, 16777619, 0xFFFFFFFF  # FNV-1a, 32 bits
REPLACEMENT = 0xFFFD


@kernel()
def decode(page: Bytes, at: int, size: int) -> tuple[int, int]:
    """The code point that begins at ``at`` and its length in bytes; what is no UTF-8 is U+FFFD, one byte long."""
    lead = int(page[at])
    if lead < 0xC2 or lead > 0xF4:
        return REPLACEMENT, 1
    length = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if at + length > size:
        return REPLACEMENT, 1
    point = lead & (0xFF >> (length + 1))
    for step in range(1, length):
        byte = int(page[at + step])
        if byte & 0xC0 != 0x80:
            return REPLACEMENT, 1
        point = (point << 6) | (byte & 63)
    if (length == 3 and (point < 0x800 or 0xD800 <= point < 0xE000)) or (
        length == 4 and not 0x10000 <= point < 0x110000
    ):
        return REPLACEMENT, 1
    return point, length


@kernel()
def reference(page: Bytes, at: int, size: int, tables: Tables) -> tuple[int, int]:
    """The character that the reference at ``at`` stands for and the reference's length; else the ampersand itself."""
    if at + 1 < size and page[at + 1] == 35:
        return _numeric(page, at, size, tables)
    end, state, legacy, legacy_length = at + 1, SEED, 0, 0
    while end < size and end < at + LONGEST_REFERENCE:
        byte = int(page[end])
        if not ((97 <= (byte | 32) <= 122) or 48 <= byte <= 57):
            break
        state = ((state ^ byte) * PRIME) & MASK
        end += 1
        if end - at <= 7:
            value = look_up(tables.reference_keys, tables.reference_values, state)
            if value & LEGACY:
                legacy, legacy_length = value >> 1, end - at
    if end < size and page[end] == 59 and end > at + 1:
        value = look_up(tables.reference_keys, tables.reference_values, state)
        if value != 0:
            return int(value >> 1), end + 1 - at
    if legacy_length > 0:
        return int(legacy), legacy_length
    return 38, 1


@kernel()
def _numeric(page: Bytes, at: int, size: int, tables: Tables) -> tuple[int, int]:
    end, point = at + 2, 0
    hexadecimal = end < size and (page[end] | 32) == 120
    if hexadecimal:
        end += 1
    begin = end
    while end < size:
        byte = int(page[end])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif hexadecimal and 97 <= (byte | 32) <= 102:
            digit = (byte | 32) - 87
        else:
            break
        point = min(point * (16 if hexadecimal else 10) + digit, 0x110000)
        end += 1
    if end == begin:
        return 38, 1
    if end < size and page[end] == 59:
        end += 1
    if 128 <= point < 160:
        point = int(tables.windows[point - 128])
    if point == 0 or point >= 0x110000 or 0xD800 <= point < 0xE000:
        point = REPLACEMENT
    return point, end - at

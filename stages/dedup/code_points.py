"""Case and word class of every Unicode code point, as one table that compiled code can read.

It makes the kernel split text exactly as ``re.findall(r"\\w+", text.lower())`` does. Everything is read off Python's
own string methods (about 0.2 s and 4.4 MB, once per process), so the Unicode version is Python's: 14.0 for 3.11, 15.0
for 3.12. Two letters do not fit a table and are handled by the kernel: the capital sigma, whose lower case
depends on its neighbours, and the dotted capital I, which becomes an i and a combining dot that is no word character.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

CODE_POINTS = 0x110000
LOWER = 0x1FFFFF  # bits of the lower-case code point
WORD = 1 << 21  # matches \w
CASED = 1 << 22  # counts as a letter before or after a capital sigma ...
IGNORABLE = 1 << 23  # ... and these are looked through
UNSPACED = 1 << 24  # belongs to a script written without blanks between words

SIGMA, FINAL_SIGMA, DOTTED_I = 0x3A3, 0x3C2, 0x130
_ASSIGNED, _TAGS = 0x40000, 0xE0000  # letters lie below the first; tags and variation selectors begin at the second
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han iteration mark and zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # half-width Katakana
    (0x20000, 0x3FFFF),
)


@functools.cache
def code_point_table() -> NDArray[np.uint32]:
    """Lower-case code point and class flags of every code point, shape (0x110000,), read-only."""
    known = np.array([*range(_ASSIGNED), *range(_TAGS, _TAGS + 0x200)])
    points = [chr(point) for point in known]
    points[DOTTED_I], points[SIGMA] = "I", "\u03c3"  # the two that would change length or depend on neighbours
    entries = _lowered("".join(points))
    word = np.fromiter(map(str.isalnum, points), np.bool_, len(points))
    word[ord("_")] = True
    # A capital sigma becomes final after a cased letter, with ignorable characters in between or not.
    cased = _lowered("".join(f"{point}\u03a3 " for point in points))[1::3] == FINAL_SIGMA
    either = _lowered("".join(f"a{point}\u03a3 " for point in points))[2::4] == FINAL_SIGMA
    for mask, flag in ((word, WORD), (cased, CASED), (either & ~cased, IGNORABLE)):
        entries[mask] |= np.uint32(flag)
    table = np.arange(CODE_POINTS, dtype=np.uint32)
    table[known] = entries
    for first, last in _UNSPACED:
        table[first : last + 1] |= np.uint32(UNSPACED)
    table.flags.writeable = False
    return table


def _lowered(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.lower().encode("utf-32-le", "surrogatepass"), np.uint32).copy()

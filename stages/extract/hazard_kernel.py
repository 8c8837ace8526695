"""The compiled pass behind ``hazards``: how deep elements may be nested, and the longest tag, in linear time.

It is no parser. Every ``<name`` counts as opened, in scripts and comments too; an end tag closes something only if an
element of that name (by hash) is open. The depth is therefore an upper bound, up to what HTML's table scoping rules
ignore.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_NAME_BUCKETS = 251

# Elements that are never closed, or that close each other: repeating them does not deepen the tree. Names are compared
# as integers made of their first eight bytes.
_FLAT = (
    "p li dt dd tr td th thead tbody tfoot option optgroup colgroup col br img hr input meta link base area embed "
    "source track wbr param frame command keygen isindex basefont bgsound html head body"
)


def _code(name: str) -> int:
    return int.from_bytes(name.encode(), "big")  # digits keep their bit 32 as well, so h1 stays h1


_FLAT_CODES = np.array(sorted(_code(name) for name in _FLAT.split() if len(name) <= 7), dtype=np.int64)


def scan_markup(page: bytes) -> tuple[int, int]:
    """Upper bound of the nesting, and the most blanks (so, attributes) inside one tag."""
    if not page:
        return 0, 0
    depth, attributes = _scan(np.frombuffer(page, dtype=np.uint8), _FLAT_CODES)
    return int(depth), int(attributes)


@njit(cache=True)
def _scan(page: NDArray[np.uint8], flat: NDArray[np.int64]) -> Any:
    size = page.size
    opened = np.zeros(_NAME_BUCKETS, dtype=np.int64)
    depth = deepest = most = at = 0
    while at < size:
        if page[at] != 60:  # <
            at += 1
            continue
        at += 1
        closing = at < size and page[at] == 47
        at += closing
        code, length = 0, 0
        while at < size and length < 8 and _is_name(page[at], length):
            code = code * 256 + (page[at] | 32)
            length += 1
            at += 1
        blanks = 0
        while length > 0 and at < size and page[at] != 62 and not _starts_tag(page, at):
            blanks += page[at] <= 32 or page[at] == 47
            at += 1
        most = max(most, blanks)
        place = np.searchsorted(flat, code)
        if length == 0 or (place < flat.size and flat[place] == code):
            continue
        bucket = code % _NAME_BUCKETS
        if not closing:
            opened[bucket] += 1
            depth += 1
            deepest = max(deepest, depth)
        elif opened[bucket] > 0:  # a parser ignores the end of what was never opened
            opened[bucket] -= 1
            depth -= 1
    return deepest, most


@njit(cache=True)
def _is_name(byte: int, length: int) -> bool:
    return bool(97 <= (byte | 32) <= 122 or (length > 0 and 48 <= byte <= 57))


@njit(cache=True)
def _starts_tag(page: NDArray[np.uint8], at: int) -> bool:
    if page[at] != 60 or at + 1 >= page.size:
        return False
    after = page[at + 1]
    if after == 47 and at + 2 < page.size:
        after = page[at + 2]
    return bool(97 <= (after | 32) <= 122)

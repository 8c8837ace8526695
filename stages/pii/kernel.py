"""Compiled scanner that finds where personal data could stand, so that Python looks at few bytes of few documents.

One pass over the UTF-8 bytes of a whole batch (about 500 MB/s). It emits candidates: an e-mail address of the right
form, a run of digit groups long enough for a phone or card number, four dotted numbers, a run of hexadecimal groups
and colons, a word that starts like an IBAN. ``stages.pii.kinds`` and ``stages.pii.phone`` decide what they are.

Every look to the left or right is bounded (64 bytes of a mailbox, 255 of a host, 45 of an address), so time is linear
on any input: a megabyte of digits, of at signs, of base64.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

EMAIL, NUMBER, IPV6, IBAN = 0, 1, 2, 3

_MAILBOX, _HOST, _ADDRESS, _ACCOUNT = 64, 255, 45, 34
_LONGEST_GROUP = 19  # digits in a row: the longest payment card
_FEWEST_DIGITS = 7
_MAILBOX_SIGNS = np.zeros(256, np.bool_)
for _sign in b".+-_%'&~":  # what mailboxes hold in practice; RFC 5322 allows more, and web pages glue it to them
    _MAILBOX_SIGNS[_sign] = True


@njit(cache=True)
def _digit(byte: int) -> bool:
    return 48 <= byte <= 57


@njit(cache=True)
def _letter(byte: int) -> bool:
    return 65 <= byte <= 90 or 97 <= byte <= 122


@njit(cache=True)
def _hex(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102


@njit(cache=True)
def _email(data: Bytes, at: int, low: int, high: int) -> tuple[int, int]:
    """Bounds of the e-mail address around the sign at ``at``, or (at, at)."""
    start = at
    while start > low and at - start <= _MAILBOX:
        byte = data[start - 1]
        if not (_digit(byte) or _letter(byte) or _MAILBOX_SIGNS[byte]):
            break
        start -= 1
    while start < at and not (_digit(data[start]) or _letter(data[start]) or data[start] == 95):
        start += 1  # a mailbox starts with a letter, a digit or an underscore: quotes and slashes are not part of it
    if at - start > _MAILBOX or start == at or data[at - 1] == 46:
        return at, at
    end = host_end = at + 1
    label = label_start = end
    while end < high and end - at <= _HOST:
        byte = data[end]
        if byte == 46:
            if end == label:
                break
            label = end + 1
        elif not (_digit(byte) or _letter(byte) or byte == 45):
            break
        end += 1
        if byte not in (45, 46) and label > label_start:
            host_end = end
    return (start, host_end) if host_end > at + 1 else (at, at)


@njit(cache=True)
def _separator(data: Bytes, at: int, high: int) -> int:
    """Bytes of the separator of digit groups at ``at``: a blank that may not break, ( ) + - . / or a dash; 0: none."""
    byte = data[at]
    if byte in (32, 40, 41, 43, 45, 46, 47):
        return 1
    if byte == 0xC2 and at + 1 < high and data[at + 1] == 0xA0:
        return 2
    if byte == 0xE2 and at + 2 < high and data[at + 1] == 0x80:
        return 3 if 0x90 <= data[at + 2] <= 0x93 or data[at + 2] == 0xAF else 0
    return 0


@njit(cache=True)
def _number(data: Bytes, at: int, high: int) -> tuple[int, int, bool]:
    """``(end of the run, end of what was read, worth a look)`` for the digit groups that start at ``at``."""
    digits = dotted = 0
    end = cursor = at
    four = False
    while cursor < high:
        first = cursor
        while cursor < high and _digit(data[cursor]):
            cursor += 1
        length = cursor - first
        if length > _LONGEST_GROUP:
            break
        digits += length
        single_dot = first > at and data[first - 1] == 46 and first - 1 == end
        dotted = (dotted if single_dot else 0) + 1 if length <= 3 else 0
        four |= dotted >= 4
        end = cursor
        gap = 0
        while cursor < high and gap < 4:
            step = _separator(data, cursor, high)
            if step == 0:
                break
            cursor += step
            gap += 1
        if gap == 0 or cursor >= high or not _digit(data[cursor]):
            break
    return end, max(end, cursor), four or (digits >= _FEWEST_DIGITS and not _everyday(data, at, end))


@njit(cache=True)
def _everyday(data: Bytes, start: int, end: int) -> bool:
    """Whether a run is a date (2024-05-01, 1.5.2024), a decimal (0.123456) or a span of years: half of all runs."""
    if end - start > 13:
        return False
    sizes = (0, 0, 0)
    groups = size = 0
    first_gap = gap = 0
    for i in range(start, end + 1):
        if i < end and _digit(data[i]):
            size += 1
            continue
        if groups == 3 or (size == 0 and data[i] < 128):
            return False
        if size > 0:
            sizes = (sizes[1], sizes[2], size)
            groups += 1
            size = 0
        if i < end:
            gap = data[i]
            first_gap = gap if groups == 1 and first_gap == 0 else first_gap
    if groups == 2:
        years = sizes[1] == 4 and sizes[2] == 4 and first_gap in (45, 0xE2)
        return (years and data[start] in (49, 50) and data[end - 4] in (49, 50)) or (
            first_gap == 46 and not (sizes[1] > 1 and data[start] == 48)
        )
    if groups != 3 or first_gap != gap or gap not in (45, 46, 47):
        return False
    first, second, third = sizes
    return second <= 2 and ((first == 4 and third <= 2) or (first <= 2 and third == 4))


@njit(cache=True)
def _ipv6(data: Bytes, at: int, low: int, high: int) -> tuple[int, int]:
    """Bounds of the hexadecimal groups, the last two perhaps as IPv4, around the first colon at ``at``, or (at, at)."""
    start = at
    while start > low and at - start <= 4 and _hex(data[start - 1]):
        start -= 1
    if at - start > 4 or (
        start > low and (_digit(data[start - 1]) or _letter(data[start - 1]) or data[start - 1] > 127)
    ):
        return at, at
    end = at
    colons = 0
    double = False
    while end < high and end - start <= _ADDRESS and (_hex(data[end]) or data[end] == 58):
        if data[end] == 58:
            colons += 1
            double |= end > start and data[end - 1] == 58
        end += 1
    if end + 1 < high and data[end] == 46 and _digit(data[end + 1]):
        colons += colons == 6
        tail = end
        while tail < high and tail - end <= 12 and (_digit(data[tail]) or data[tail] == 46):
            tail += 1
        end = tail - (data[tail - 1] == 46)
    if data[end - 1] == 58 and not (end > 1 and data[end - 2] == 58):
        end -= 1
        colons -= 1
    if end < high and (_digit(data[end]) or _letter(data[end])):
        return at, at
    return (start, end) if colons == 7 or (double and colons >= 2) else (at, at)


@njit(cache=True)
def _starts_ipv6(data: Bytes, at: int, low: int, high: int) -> bool:
    """Whether the colon at ``at`` may be the first of an address: behind a digit, or the first of two."""
    if at > low and _hex(data[at - 1]):
        return True
    return at + 2 < high and data[at + 1] == 58 and _hex(data[at + 2]) and not (at > low and data[at - 1] == 58)


@njit(cache=True)
def _iban_end(data: Bytes, at: int, high: int) -> int:
    """End of an IBAN's longest possible form from ``at`` (two letters, two digits, groups), or ``at``."""
    signs = 0
    end = cursor = at
    while cursor < high and signs < _ACCOUNT:
        byte = data[cursor]
        if _digit(byte) or _letter(byte):
            signs += 1
            cursor += 1
            end = cursor
        elif byte == 32 and cursor > at and data[cursor - 1] != 32:
            cursor += 1
        else:
            break
    return end if signs >= 15 else at


@njit(cache=True)
def _starts_iban(data: Bytes, at: int, low: int, high: int) -> bool:
    if at - low < 2 or at + 1 >= high or not (_digit(data[at + 1]) and _letter(data[at - 1]) and _letter(data[at - 2])):
        return False
    return at - low == 2 or not (_digit(data[at - 3]) or _letter(data[at - 3]))


@njit(cache=True)
def scan(data: Bytes, offsets: Offsets, out: NDArray[np.int64]) -> int:
    """Write candidates ``(row, kind, start, end)`` into ``out``, shape (n, 4), and return how many there are.

    Where there are more than ``n``, the rest is counted only: call again with a larger ``out``.
    """
    count = 0
    for row in range(offsets.size - 1):
        low, high = offsets[row], offsets[row + 1]
        i = low
        number_from = low
        colon_from = low
        while i < high:
            byte = data[i]
            kind, start, end = -1, i, i
            if byte == 64:
                kind = EMAIL
                start, end = _email(data, i, low, high)
            elif byte == 58 and i >= colon_from and _starts_ipv6(data, i, low, high):
                kind = IPV6
                start, end = _ipv6(data, i, low, high)
                colon_from = end
            elif 48 <= byte <= 57 and (i == low or not _digit(data[i - 1])):
                if _starts_iban(data, i, low, high):
                    kind, start, end = IBAN, i - 2, _iban_end(data, i - 2, high)
                elif i >= number_from:
                    end, number_from, found = _number(data, i, high)
                    kind = NUMBER
                    end = end if found else i
            if end > start and kind >= 0:
                if count < out.shape[0]:
                    out[count, 0], out[count, 1], out[count, 2], out[count, 3] = row, kind, start, end
                count += 1
            i += 1
    return count

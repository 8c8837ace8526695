"""Compiled kernel that turns the lines of a host or URL list into hashes: about 4 million lines a second.

Understands what such lists look like in the wild: one host per line, ``hosts`` files (``0.0.0.0 example.com``), leading
``*.`` or ``.``, ``||example.com^``, upper case, ports, comments (#, !, ;). The hashes are those of
``stages.host_kernel``, which looks them up. Entries beyond ASCII are left to ``stages.hostlist``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.host_kernel import PASS, Bytes, Hashes, find_host, host_hash, lower, url_prefix

_ZERO = np.uint64(0)


@njit(cache=True)
def _is_address(data: Bytes, start: int, end: int) -> bool:
    """Whether a token is an IP address, as at the start of a line of a hosts file."""
    dots = colons = 0
    for i in range(start, end):
        byte = lower(data[i])
        dots += byte == 46
        colons += byte == 58
        if not (48 <= byte <= 57 or 97 <= byte <= 102 or byte in (46, 58, 37)):
            return False
        if 97 <= byte <= 102 and colons == 0 and dots > 0:
            return False
    return dots == 3 or colons >= 2


@njit(cache=True)
def _hash_entry(data: Bytes, start: int, end: int, paths: bool) -> tuple[np.uint64, bool]:
    """``(hash, accepted)`` of one list entry: a domain, or with ``paths`` a URL. Accepts *.x, .x, ||x^ and x/."""
    while start < end and data[start] in (42, 46, 124):
        start += 1
    while end > start and data[end - 1] in (94, 124):
        end -= 1
    host, last, stop, state = find_host(data, start, end)
    if state != PASS:
        return _ZERO, False
    if paths:
        return url_prefix(data, host, last, stop, end, np.zeros(0, np.uint64))[1], True
    while end > stop and data[end - 1] == 47:
        end -= 1
    return host_hash(data, host, last), end == stop  # a domain list cannot block one page of a host


@njit(cache=True)
def hash_lines(data: Bytes, paths: bool, out: Hashes) -> tuple[int, int]:
    """Hash the entries of the lines in ``data`` into ``out`` (as long as the data has tokens at most).

    Returns ``(entries, ignored)``. Comments (#, !, ;) and blank lines are neither; a leading IP address (hosts file) is
    skipped; lines with letters beyond ASCII are left to the caller.
    """
    count = ignored = 0
    at = 0
    size = data.size
    while at < size:
        stop = at
        ascii_only = True
        while stop < size and data[stop] != 10:
            ascii_only &= data[stop] < 128
            stop += 1
        if ascii_only:
            entries, others = _hash_line(data, at, stop, paths, out[count:])
            count += entries
            ignored += others
        at = stop + 1
    return count, ignored


@njit(cache=True)
def _hash_line(data: Bytes, at: int, stop: int, paths: bool, out: Hashes) -> tuple[int, int]:
    tokens = count = ignored = 0
    while at < stop:
        while at < stop and data[at] <= 32:
            at += 1
        end = at
        while end < stop and data[end] > 32:
            end += 1
        if at == end or data[at] in (33, 35, 59):
            break
        address = tokens == 0 and _is_address(data, at, end)
        if address:
            rest = end
            while rest < stop and data[rest] <= 32:
                rest += 1
            address = rest < stop and data[rest] not in (33, 35, 59)
        if not address:
            value, accepted = _hash_entry(data, at, end, paths)
            if accepted:
                out[count] = value
                count += 1
            else:
                ignored += 1
        tokens += 1
        at = end
    return count, ignored


def entry_hash(entry: bytes, *, paths: bool) -> int | None:
    """Hash of one list entry, or None where it names no host. For entries that went through ``canonical_host``."""
    value, accepted = _hash_entry(np.frombuffer(entry or b" ", np.uint8), 0, len(entry), paths)
    return int(value) if accepted else None

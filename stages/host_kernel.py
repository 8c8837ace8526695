"""Compiled kernels that find the host in a URL, hash it, and look it up in a sorted list of hashes.

A host is hashed from its last byte to its first, so one pass yields the hash of the host and of every parent domain
(the running value at each dot). A listed URL is hashed forwards, host then path, so one pass yields every path prefix.
Both are FNV-1a with the finaliser of MurmurHash3, 64 bits: among 10 million entries one lookup in 10**12 errs.

Parsing follows what browsers do with an address (WHATWG URL): leading blanks and control characters go, tabs and line
breaks vanish, a backslash is a slash, user names and ports are no part of the host, upper case and a final dot do not
count. Cost: linear in the bytes of the URL, about 1 microsecond per URL and list. Not done here: percent escapes and
letters beyond ASCII in host names; such hosts are reported (``SLOW``) and canonised by ``stages.hostlist``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

PASS, DOMAIN, URL, SLOW, INVALID = 0, 1, 2, 3, 4

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(33)
_MAX_HOST = 253
_MAX_PATH = 4096
_HEX = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)


@njit(cache=True)
def _mix(h: np.uint64) -> np.uint64:
    h ^= h >> _HALF
    h *= _MIX_1
    h ^= h >> _HALF
    h *= _MIX_2
    return h ^ (h >> _HALF)


@njit(cache=True)
def lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@njit(cache=True)
def _dropped(byte: int) -> bool:
    return byte in (9, 10, 13)  # tab and line breaks vanish anywhere in an address


@njit(cache=True)
def _authority(data: Bytes, start: int, end: int) -> int:
    """Where the authority starts, or -1 where the address has none (``javascript:``, ``mailto:``)."""
    while start < end and data[start] <= 32:
        start += 1
    at = start
    while at < end and (48 <= data[at] <= 57 or 97 <= lower(data[at]) <= 122 or data[at] in (43, 45, 46)):
        at += 1
    if at < end and at > start and data[at] == 58 and 97 <= lower(data[start]) <= 122:
        slashes = at + 1
        while slashes < end and (data[slashes] in (47, 92) or _dropped(data[slashes])):
            slashes += 1
        if slashes > at + 1:
            script = at - start == 10 and lower(data[start]) == 106  # javascript://host is no address of a host
            return -1 if script else slashes
        port = at + 1
        while port < end and 48 <= data[port] <= 57:
            port += 1
        followed = port == end or data[port] in (47, 63, 35)
        return start if port > at + 1 and followed else -1  # example.com:80/ against mailto:
    if start + 1 < end and data[start] in (47, 92) and data[start + 1] in (47, 92):
        return start + 2
    return start


@njit(cache=True)
def find_host(data: Bytes, start: int, end: int) -> tuple[int, int, int, int]:
    """``(host start, host end, authority end, state)`` in ``data[start:end]``; state is PASS, SLOW or INVALID."""
    first = _authority(data, start, end)
    if first < 0:
        return start, start, start, INVALID
    stop = first
    host = first
    while stop < end and data[stop] not in (47, 92, 63, 35):
        if data[stop] == 64:
            host = stop + 1
        stop += 1
    last = stop
    if host < stop and data[host] == 91:
        last = host
        while last < stop and data[last] != 93:
            last += 1
        last = min(last + 1, stop)
        closed = data[last - 1] == 93 and last - host > 2
        return host, last, stop, PASS if closed and last - host <= 64 else INVALID
    colon = host
    while colon < stop and data[colon] != 58:
        colon += 1
    last = colon
    while last > host and (data[last - 1] <= 32):
        last -= 1
    if last > host and data[last - 1] == 46:
        last -= 1
    state = _judge_host(data, host, last)
    for i in range(colon + 1, stop):
        if not 48 <= data[i] <= 57 and data[i] > 32:
            state = INVALID  # a port is a number
    return host, last, stop, state


@njit(cache=True)
def _judge_host(data: Bytes, host: int, last: int) -> int:
    """PASS for a host name that DNS could hold, SLOW for one that must be canonised first, else INVALID."""
    state = PASS
    length = 0
    label = 0
    if last - host > 4 * _MAX_HOST:
        return INVALID
    for i in range(host, last):
        byte = data[i]
        if _dropped(byte):
            continue
        length += 1
        if byte == 46:
            if label == 0:
                return INVALID
            label = 0
            continue
        label += 1
        if byte >= 128 or byte == 37:
            state = SLOW
        elif not (48 <= byte <= 57 or 97 <= lower(byte) <= 122 or byte in (45, 95)):
            return INVALID
        if label > 63 and state != SLOW:
            return INVALID
    if length == 0 or label == 0 or (length > _MAX_HOST and state != SLOW):
        return INVALID
    return state


@njit(cache=True)
def listed(table: Hashes, value: np.uint64) -> bool:
    """Whether ``value`` stands in the sorted ``table``."""
    low, high = 0, table.size
    while low < high:
        middle = (low + high) >> 1
        if table[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < table.size and table[low] == value


@njit(cache=True)
def host_hash(data: Bytes, start: int, end: int) -> np.uint64:
    """Hash of the whole host ``data[start:end]``."""
    h = _BASIS
    for back in range(end - start):
        byte = data[end - 1 - back]
        if not _dropped(byte):
            h = (h ^ np.uint64(lower(byte))) * _PRIME
    return _mix(h)


@njit(cache=True)
def listed_suffix(data: Bytes, start: int, end: int, table: Hashes) -> int:
    """Where the shortest listed parent domain (or the host itself) starts, or -1."""
    if table.size == 0:
        return -1
    h = _BASIS
    for back in range(end - start):
        at = end - 1 - back
        byte = data[at]
        if _dropped(byte):
            continue
        if byte == 46 and back > 0 and listed(table, _mix(h)):
            return at + 1
        h = (h ^ np.uint64(lower(byte))) * _PRIME
    return start if end > start and listed(table, _mix(h)) else -1


@njit(cache=True)
def _without_www(data: Bytes, start: int, end: int) -> int:
    if end - start > 4 and data[start + 3] == 46:
        for i in range(start, start + 3):
            if lower(data[i]) != 119:
                return start
        return start + 4
    return start


@njit(cache=True)
def url_prefix(data: Bytes, host: int, last: int, path: int, end: int, table: Hashes) -> tuple[bool, np.uint64]:
    """Look up ``host + path`` and every prefix that ends before a slash or a question mark.

    Returns ``(found, hash of the whole)``; an empty ``table`` is how a listed URL gets its own hash. The fragment and
    final slashes do not count; bytes beyond ASCII are hashed as their percent escapes.
    """
    h = _BASIS
    for i in range(_without_www(data, host, last), last):
        if not _dropped(data[i]):
            h = (h ^ np.uint64(lower(data[i]))) * _PRIME
    end = min(end, path + _MAX_PATH)
    escape = 0
    whole = h
    for i in range(path, end):
        byte = data[i]
        if byte == 35:
            break
        if _dropped(byte):
            continue
        if byte in (47, 63) and i > path and table.size > 0 and listed(table, _mix(whole)):
            return True, _mix(whole)
        if escape > 0 and 97 <= byte <= 102:
            byte -= 32  # %c3 is %C3
        escape = 2 if byte == 37 else max(escape - 1, 0)
        if byte >= 128:
            h = (h ^ np.uint64(37)) * _PRIME
            h = (h ^ np.uint64(_HEX[byte >> 4])) * _PRIME
            h = (h ^ np.uint64(_HEX[byte & 15])) * _PRIME
        else:
            h = (h ^ np.uint64(byte)) * _PRIME
        if byte != 47:
            whole = h
    return table.size > 0 and listed(table, _mix(whole)), _mix(whole)


@njit(cache=True)
def match_urls(
    data: Bytes, offsets: Offsets, domains: Hashes, urls: Hashes
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """State of every URL of a batch (PASS, DOMAIN, URL, SLOW, INVALID), and where its host or listed parent stands."""
    rows = offsets.size - 1
    state = np.zeros(rows, np.int8)
    where = np.zeros((rows, 3), np.int64)
    for row in range(rows):
        host, last, stop, found = find_host(data, offsets[row], offsets[row + 1])
        where[row, 0], where[row, 1], where[row, 2] = host, last, stop
        state[row] = found
        if found != PASS:
            continue
        suffix = listed_suffix(data, host, last, domains)
        if suffix >= 0:
            state[row] = DOMAIN
            where[row, 0] = suffix
        elif urls.size > 0 and url_prefix(data, host, last, stop, offsets[row + 1], urls)[0]:
            state[row] = URL
    return state, where

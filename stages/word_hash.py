"""Compiled tokeniser that turns text into word hashes; what word lists and decontamination compare.

A word is a run of letters and digits, whatever stands between words (punctuation, typographic quotes, blanks,
symbols, emoji). ASCII, Latin-1, Greek and Cyrillic capitals count as small letters. Chinese characters and kana are a
word each, since nothing separates their words. The same function reads the list and the text, so both agree by
construction. Cost: about 80 MB/s. Not done here: stemming, Unicode normalisation, accents (é is not e).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(33)
_NONE = np.uint64(0)
_ONE = np.uint64(1)
ROLL = np.uint64(0x9E3779B97F4A7C15)  # odd: the base of the polynomial over word hashes


@njit(cache=True)
def mix(h: np.uint64) -> np.uint64:
    """Finaliser of MurmurHash3; never 0, which stands for an empty slot."""
    h ^= h >> _HALF
    h *= _MIX_1
    h ^= h >> _HALF
    h *= _MIX_2
    h ^= h >> _HALF
    return h if h != _NONE else _ONE


@njit(cache=True)
def sign(data: Bytes, at: int, end: int) -> tuple[int, int, bool]:
    """``(folded code, bytes, alone)`` of the character at ``at``: code 0 separates words, ``alone`` is a word."""
    byte = int(np.int64(data[at]))
    if byte < 128:
        if 65 <= byte <= 90:
            return byte + 32, 1, False
        return (byte if 97 <= byte <= 122 or 48 <= byte <= 57 else 0), 1, False
    size = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    size = min(size, end - at)
    code = byte & (0x7F >> size)
    for i in range(at + 1, at + size):
        code = (code << 6) | (int(np.int64(data[i])) & 0x3F)
    if size == 2:
        if code < 0xC0 or code in (0xD7, 0xF7):
            return 0, 2, False
        if code <= 0xDE or 0x391 <= code <= 0x3A9 or 0x410 <= code <= 0x42F:
            code += 32
        elif 0x400 <= code <= 0x40F:
            code += 80
        return code, 2, False
    if size == 3:
        separates = 0x2000 <= code <= 0x2BFF or 0x3000 <= code <= 0x3004 or 0x3008 <= code <= 0x3020 or code >= 0xFE10
        return (0 if separates else code), 3, 0x3005 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF
    return (0 if size < 2 or 0x1F000 <= code <= 0x1FAFF else code), size, code >= 0x20000


@njit(cache=True)
def next_word(data: Bytes, at: int, end: int) -> tuple[np.uint64, int]:
    """``(hash, position behind it)`` of the next word in ``data[at:end]``; hash 0 where there is none left."""
    h = _BASIS
    inside = False
    while at < end:
        code, size, alone = sign(data, at, end)
        if code == 0:
            at += size
            if inside:
                return mix(h), at
            continue
        if alone and inside:
            return mix(h), at
        h = (h ^ np.uint64(code)) * _PRIME
        at += size
        inside = True
        if alone:
            return mix(h), at
    return (mix(h) if inside else _NONE), at


@njit(cache=True)
def find_slot(table: Hashes, value: np.uint64) -> int:
    """Slot of ``value`` in an open-addressing table made by ``hash_table``, or -1."""
    mask = table.size - 1
    slot = int(np.int64(value & np.uint64(mask)))
    while table[slot] != _NONE:
        if table[slot] == value:
            return slot
        slot = (slot + 1) & mask
    return -1


@njit(cache=True)
def _insert(table: Hashes, values: Hashes) -> None:
    mask = table.size - 1
    for value in values:
        slot = int(np.int64(value & np.uint64(mask)))
        while table[slot] not in (_NONE, value):
            slot = (slot + 1) & mask
        table[slot] = value


def hash_table(values: Hashes) -> Hashes:
    """Open-addressing table over non-zero ``values``, at most a quarter full: size a power of two."""
    table = np.zeros(1 << max(4, int(len(values) * 4 - 1).bit_length()), np.uint64)
    _insert(table, np.asarray(values, np.uint64))
    return table


@njit(cache=True)
def _hash_words(data: Bytes, out: Hashes) -> int:
    count = at = 0
    while at < data.size:
        value, at = next_word(data, at, data.size)
        if value != _NONE:
            out[count] = value
            count += 1
    return count


def hash_words(text: str) -> Hashes:
    """Hashes of the words of ``text``, in order: for lists and benchmark items, not for the documents."""
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    if len(data) == 0:
        return np.zeros(0, np.uint64)
    out = np.empty(len(data), np.uint64)
    return out[: _hash_words(data, out)]

"""What each Unicode code point is, as one table of bit flags that compiled code can read.

Built once per process from Python's own ``unicodedata`` (about 0.2 s, 2.2 MB), so that the kernel and plain Python
agree on what a letter is. The Unicode version is therefore Python's: 14.0 for 3.11, 15.0 for 3.12.
"""

from __future__ import annotations

import functools
import string
import unicodedata

import numpy as np
from numpy.typing import NDArray

LETTER = 1  # general category L: str.isalpha
NUMBER = 2  # general category N
MARK = 4  # general category M: accents and vowel signs, part of the word they stand in
SPACE = 8  # str.isspace
UPPER = 16  # str.isupper
LOWER = 32  # str.islower, and title-case letters
CJK = 64  # Han, Hiragana, Katakana: written without blanks, each character counts as a word
PUNCTUATION = 128  # general category P, and the ASCII symbols of string.punctuation
INVISIBLE = 256  # no-break and general-punctuation spaces, zero-width and direction marks, soft hyphen, BOM
GARBAGE = 512  # replacement character, white box, private use
STOP = 1024  # ends a sentence in one of the world's larger scripts
TERMINAL = 2048  # ends a line as prose does: a sentence end or a closing quote
BULLET = 4096  # the ten bullets of RedPajama-v2
BREAK = 8192  # interrupts a run of words
TRIGGER = 16384  # may start one of the patterns that stages.signals.patterns looks for

CODE_POINTS = 0x110000
_ASSIGNED = 0x32400  # beyond lie only tags, variation selectors and private use
_SMALL_LETTERS = 0x1F000  # no lower-case mapping lies beyond

BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013"
STOPS = ".!?\u203c\u2047\u2048\u2049\u0589\u061f\u06d4\u0964\u0965\u1362\u17d4\u17d5\u3002\uff01\uff0e\uff1f\uff61"
TERMINALS = ".!?\"'\u2019\u201d\u3002\uff01\uff1f"
BREAKS = ".!?,;\u2013\u2014\u2022|/\u2026\n\u3002\uff01\uff1f\uff0c\uff1b\u3001"
TRIGGERS = "&\uff06<\\lLjJ"
_INVISIBLES = ((0xA0, 0xA0), (0xAD, 0xAD), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0xFEFF, 0xFEFF))
_CJK = ((0x3005, 0x3007), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_CJK_PLANES = (0x20000, 0x3FFFF)
_PRIVATE = ((0xE000, 0xF8FF), (0xF0000, 0x10FFFF))
_MAJOR = {"L": LETTER, "N": NUMBER, "M": MARK, "P": PUNCTUATION}


@functools.cache
def class_table() -> NDArray[np.uint16]:
    """Bit flags of every code point, shape (0x110000,)."""
    table = np.zeros(CODE_POINTS, np.uint16)
    for point in (*range(_ASSIGNED), *range(0xE0000, 0xE0200)):
        table[point] = _flags(chr(point))
    for flag, ranges in ((INVISIBLE, _INVISIBLES), (GARBAGE, _PRIVATE)):
        for first, last in ranges:
            table[first : last + 1] |= flag
    for first, last in (*_CJK, _CJK_PLANES):
        block = table[first : last + 1]
        block[(block & (LETTER | NUMBER)) > 0] |= CJK
    named = ((BULLET, BULLETS), (STOP, STOPS), (TERMINAL, TERMINALS), (BREAK, BREAKS), (TRIGGER, TRIGGERS))
    for flag, members in (*named, (PUNCTUATION, string.punctuation), (GARBAGE, "\ufffd\u25a1")):
        for member in members:
            table[ord(member)] |= flag
    return table


def _flags(character: str) -> int:
    category = unicodedata.category(character)
    flags = _MAJOR.get(category[0], 0)
    if category == "Zs" or character.isspace():
        flags |= SPACE
    if character.isupper():
        flags |= UPPER
    elif character.islower() or category == "Lt":
        flags |= LOWER
    return flags


@functools.cache
def lower_table() -> NDArray[np.int32]:
    """Lower-case form of every code point below 0x1F000; those whose form is not one character keep their own."""
    table = np.arange(_SMALL_LETTERS, dtype=np.int32)
    for point in range(_SMALL_LETTERS):
        lower = chr(point).lower()
        if len(lower) == 1:
            table[point] = ord(lower)
    return table

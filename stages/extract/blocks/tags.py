"""What the tokenizer knows of HTML: elements and their kinds, attributes it reads, character references.

Names are looked up by a 32-bit FNV-1a hash of their lower-case bytes in small open-addressed tables; that two names of
one table collide is excluded when the tables are built. Tables are built once per process (0.3 s, most of it for the
classes of all code points, which ``stages.signals`` shares).
"""

from __future__ import annotations

import functools
import html.entities
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.compiled import Rows, kernel
from stages.extract.blocks.lexicon import BOILER_WORDS, KEYWORDS, STOP_WORDS
from stages.signals import characters

_BLOCK_TAGS_NAMES = (
    "html body div p ul ol li dl dt dd table tbody thead tfoot tr td th section article main aside nav header footer "
    "form fieldset legend figure figcaption blockquote pre address h1 h2 h3 h4 h5 h6 hr center details summary dialog "
    "hgroup menu caption button label option optgroup head title noscript frameset map"
)
BLOCK_TAGS = _BLOCK_TAGS_NAMES.split()
_INLINE_TAGS_NAMES = (
    "a b i em strong span font u s small sup sub code abbr cite q mark time img wbr input acronym big tt var kbd samp "
    "ins del bdi bdo data nobr br meta link script style template svg textarea select iframe object embed source "
    "track param area base col colgroup video audio canvas picture math applet frame strike ruby rt rp xmp noembed "
    "noframes"
)
INLINE_TAGS = _INLINE_TAGS_NAMES.split()
TAGS: dict[str, int] = {name: number for number, name in enumerate((*BLOCK_TAGS, *INLINE_TAGS), 1)}
TAG_NAMES: dict[int, str] = {number: name for name, number in TAGS.items()}
"""Tag ids; 0 is every element that is not listed."""

# kinds of elements, bits of Tables.tag_kinds
IS_BLOCK, IS_VOID, IS_RAW, IS_HEADING, IS_ITEM, IS_CELL, IS_ROW, IS_LIST, IS_BOLD = 1, 2, 4, 8, 16, 32, 64, 128, 256
IS_TYPED, IS_SCRIPT, IS_SCOPE = 512, 1024, 2048
_KINDS: dict[int, str] = {
    IS_BLOCK: " ".join(BLOCK_TAGS),
    IS_VOID: "br hr img input meta link area base col embed source track wbr param frame",
    IS_RAW: "script style noscript template svg textarea select iframe object canvas video audio math applet xmp "
    "noembed noframes",
    IS_HEADING: "h1 h2 h3 h4 h5 h6",
    IS_ITEM: "li dt dd option",
    IS_CELL: "td th",
    IS_ROW: "tr",
    IS_LIST: "ul ol dl menu table",
    IS_BOLD: "b strong em i",
    IS_TYPED: "code tt kbd samp",  # shown as code
    IS_SCRIPT: "script style",  # never text, even where the end is missing
    IS_SCOPE: "td th table caption",  # an end tag inside them closes nothing outside
}

# attributes, values of the attribute table
NAMING, STYLE, HIDDEN, ARIA_HIDDEN, TARGET, PROPERTY, RELATION = 1, 2, 3, 4, 5, 6, 7
_ATTRIBUTES = {
    **dict.fromkeys(("class", "id", "role"), NAMING),
    "style": STYLE,
    "hidden": HIDDEN,
    "aria-hidden": ARIA_HIDDEN,
    "href": TARGET,
    "itemprop": PROPERTY,
    "rel": RELATION,
}

# classes of code points, bits of Tables.classes
WORD, SPACE, CJK, UPPER, NUMBER, SENTENCE, QUOTE, COMMA = 1, 2, 4, 8, 16, 32, 64, 128
_COMMAS = ",;\u3001\uff0c\uff1b\u060c\u061b"
_SPACES = "\u200b\u2060\ufeff"
SOFT_HYPHEN = 0xAD

LEXICON_STOP, LEXICON_BOILER = 1, 2
LEGACY = 1  # low bit of a reference's value: it counts without its semicolon
_SEED, _PRIME = 2166136261, 16777619


class Tables(NamedTuple):
    """Everything that never changes. Keys are hashes, 0 where a slot is free; sizes are powers of two."""

    classes: NDArray[np.uint8]  # by code point
    small: NDArray[np.int32]  # lower-case form by code point
    tag_keys: NDArray[np.uint32]
    tag_ids: NDArray[np.int32]
    tag_kinds: NDArray[np.int32]  # by tag id
    attribute_keys: NDArray[np.uint32]
    attribute_values: NDArray[np.int32]
    keyword_keys: NDArray[np.uint32]
    keyword_bits: NDArray[np.int32]
    lexicon_keys: NDArray[np.uint32]
    lexicon_bits: NDArray[np.int32]
    reference_keys: NDArray[np.uint32]
    reference_values: NDArray[np.int32]  # code point << 1 | LEGACY
    windows: NDArray[np.int32]  # what references to 128..159 mean


@functools.cache
def tables() -> Tables:
    """Build all tables."""
    return Tables(
        _classes(),
        characters.lower_table(),
        *_table(TAGS, 512),
        _tag_kinds(),
        *_table(_ATTRIBUTES, 32),
        *_table(_bits(KEYWORDS.values()), 1024),
        *_table(_lexicon(), 2048, points=True),
        *_table(_references(), 8192),
        np.array([ord(bytes([code]).decode("cp1252", "replace")) for code in range(128, 160)], np.int32),
    )


def numbers_by_tag(groups: tuple[str, ...]) -> NDArray[np.int32]:
    """By tag id: the number of the group of names that it is in, from 1, else 0."""
    table = np.zeros(256, np.int32)
    for number, names in enumerate(groups, 1):
        for name in names.split():
            table[TAGS[name]] = number
    return table


def hash_name(name: str, *, points: bool = False) -> int:
    """FNV-1a over the bytes of ``name``, or (``points``) over its code points, as words of text are hashed."""
    state = _SEED
    for unit in map(ord, name) if points else name.encode():
        state = ((state ^ unit) * _PRIME) & 0xFFFFFFFF
    return state


@kernel()
def look_up(keys: NDArray[np.uint32], values: Rows, key: int) -> int:
    """The value of ``key`` in one of the tables above, 0 where it is not there."""
    slot = key & (keys.size - 1)
    while keys[slot] != 0:
        if keys[slot] == key:
            return int(values[slot])
        slot = (slot + 1) & (keys.size - 1)
    return 0


def _table(values: Mapping[str, int], size: int, *, points: bool = False) -> tuple[np.ndarray, np.ndarray]:
    keys, found = np.zeros(size, np.uint32), np.zeros(size, np.int32)
    for name, value in values.items():
        key = hash_name(name, points=points)
        slot = key & (size - 1)
        while keys[slot]:
            if keys[slot] == key:
                raise ValueError(f"the name {name!r} has the hash of another one")
            slot = (slot + 1) & (size - 1)
        keys[slot], found[slot] = key, value
    return keys, found


def _bits(groups: Iterable[str]) -> dict[str, int]:
    bits: dict[str, int] = {}
    for number, words in enumerate(groups):
        for word in words.split():
            bits[word] = bits.get(word, 0) | 1 << number
    return bits


def _lexicon() -> dict[str, int]:
    return _bits((STOP_WORDS, BOILER_WORDS))


def _tag_kinds() -> NDArray[np.int32]:
    kinds = np.zeros(256, np.int32)
    for bit, names in _KINDS.items():
        for name in names.split():
            kinds[TAGS[name]] |= bit
    return kinds


def _references() -> dict[str, int]:
    """Named references of one character. Those that HTML lists without a semicolon too count without it."""
    names = html.entities.html5
    return {
        name[:-1]: ord(text) << 1 | int(name[:-1] in names)
        for name, text in names.items()
        if name.endswith(";") and len(text) == 1
    }


def _classes() -> NDArray[np.uint8]:
    flags = characters.class_table()
    classes = np.zeros(len(flags), np.uint8)
    for bit, mask in (
        (WORD, characters.LETTER | characters.NUMBER | characters.MARK),
        (SPACE, characters.SPACE),
        (CJK, characters.CJK),
        (UPPER, characters.UPPER),
        (NUMBER, characters.NUMBER),
        (SENTENCE, characters.STOP),
        (QUOTE, characters.TERMINAL),
    ):
        classes[(flags & mask) > 0] |= bit
    classes[[ord(mark) for mark in _COMMAS]] |= COMMA
    classes[[*range(32), 127, *map(ord, _SPACES)]] = SPACE
    classes[ord("'")] &= 255 - QUOTE  # an apostrophe ends no sentence
    return classes

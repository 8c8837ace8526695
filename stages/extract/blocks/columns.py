"""What the tokenizer writes down: the columns of blocks, elements and spans, and the limits of each table.

A *block* is a stretch of visible text between two block-level tags (or two line breaks in a row); an *element* is a
block-level element that was opened; a *span* is a link or a piece of inline code inside a block. All are rows of
``int32``. The compiled passes index the tables with the numbers below, so this page is their only documentation.
"""

from __future__ import annotations

from enum import IntEnum


class Block(IntEnum):
    """Columns of a block."""

    START = 0  # bytes of Page.text: text[START:END]
    END = 1
    ELEMENT = 2  # row of the innermost block-level element around it
    FIRST_WORD = 3  # Page.words[FIRST_WORD : FIRST_WORD + WORDS]
    WORDS = 4  # runs of letters and digits; each CJK character is one
    LINK_WORDS = 5  # of them inside <a>
    CHARACTERS = 6  # visible ones, blanks left out
    LINK_CHARACTERS = 7
    CAPITALS = 8  # words that begin with a capital
    DIGITS = 9  # words that begin with a digit
    LONG_WORDS = 10  # seven characters and more
    STOP_WORDS = 11
    BOILER_WORDS = 12  # words of buttons, menus and notices
    TITLE_WORDS = 13  # words that the page's <title> has too, stop words left out
    CJK = 14  # CJK characters, counted among WORDS
    SENTENCE_MARKS = 15
    COMMAS = 16
    PIPES = 17  # | · » and the like: separators of menus
    LAST_MARK = 18  # how it ends: Ending
    LINKS = 19
    IMAGES = 20  # since the block before
    TAGS = 21  # since the block before
    BREAKS_BEFORE = 22  # <br> between the block before and this one
    BREAKS_AFTER = 23
    SOURCE_START = 24  # bytes of the page
    SOURCE_END = 25
    BOLD = 26  # visible characters inside <b>, <strong>, <em>, <i>
    FIRST_SPAN = 27  # Page.spans[FIRST_SPAN : next block's]


class Ending(IntEnum):
    """What a block ends with."""

    WORD = 0
    SENTENCE = 1  # a sentence mark or a closing quote
    COLON = 2
    OTHER = 3


class Element(IntEnum):
    """Columns of an element. Row 0 is the page itself."""

    PARENT = 0  # row, -1 for the page
    TAG = 1  # id, see stages.extract.blocks.tags
    KEYWORDS = 2  # bits of stages.extract.blocks.lexicon.KEYWORDS, from class, id, role and itemprop
    FLAGS = 3  # HIDDEN, ARIA_HIDDEN, PRE
    DEPTH = 4
    FIRST_CLASS = 5  # Page.classes[FIRST_CLASS : FIRST_CLASS + CLASS_COUNT]
    CLASS_COUNT = 6
    FIRST_BLOCK = 7  # number of blocks before it


HIDDEN, ARIA_HIDDEN, PRE = 1, 2, 4
"""Bits of ``Element.FLAGS``, handed down to the elements inside: not displayed, not read out, white space counts."""


class Span(IntEnum):
    """Columns of a span."""

    KIND = 0  # SpanKind
    START = 1  # bytes of Page.text
    END = 2
    TARGET = 3  # the address of a link as written: bytes TARGET:TARGET_END of the page
    TARGET_END = 4


class SpanKind(IntEnum):
    """What a span is."""

    LINK = 1
    CODE = 2


class Mark(IntEnum):
    """Places of a page where it says something of itself: bytes of the page, 0 where there are none."""

    HEAD_END = 0
    TIME = 1  # the first <time>
    AUTHOR = 2  # the first link or block-level tag with rel or itemprop "author"
    SCRIPT = 3  # begin and end of the first JSON-LD script, then of the next


MOST_SCRIPTS = 20


class Limit(IntEnum):
    """Tables of fixed size. What would not fit is left out, and the page says so in ``Page.capped``."""

    BLOCKS = 0
    ELEMENTS = 1
    DEPTH = 2
    WORDS = 3
    CLASSES = 4
    SPANS = 5


MOST = {
    Limit.BLOCKS: 32_768,
    Limit.ELEMENTS: 65_536,
    Limit.DEPTH: 250,
    Limit.WORDS: 1_048_576,
    Limit.CLASSES: 262_144,
    Limit.SPANS: 32_768,
}
"""Rows per page. The largest page of the crawl sample has a tenth of each."""

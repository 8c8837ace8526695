"""The columns of the feature matrix: 152 numbers per block, and 24 more once a first forest has judged it.

Shares are of the block's words unless said otherwise. *Good* text is what running prose is made of: the characters of
a block of eight words and more with a sentence mark or comma, less twice those inside links. *Kin* are the elements of
the page with the same tag and class names: the posts of a thread, the rows of a list.
"""

from __future__ import annotations

from enum import IntEnum

from stages.extract.blocks.lexicon import KEYWORDS


class Feature(IntEnum):
    """Columns of a block, the same for every page."""

    # the block itself
    WORDS = 0  # a CJK character is half a word
    CHARACTERS = 1
    CHARACTERS_PER_WORD = 2
    LINK_DENSITY = 3  # share of its characters inside links
    COMMAS = 4
    MARKS = 5
    CAPITALS = 6
    DIGITS = 7
    LONG_WORDS = 8
    STOP_WORDS = 9
    STOP_COUNT = 10
    BOILER_WORDS = 11
    TITLE_WORDS = 12
    PIPES = 13
    CJK = 14
    LINKS = 15
    IMAGES = 16
    TAGS = 17
    BREAKS = 18
    ENDING = 19
    BOLD = 20  # share of its characters
    WORD_SCORE = 21  # mean of the learned weights of its words
    WORD_SUM = 22
    GOOD = 23  # good characters
    REPEATS = 24  # blocks of the page that begin alike
    # its place in the page
    POSITION = 25  # 0 first, 1 last block
    GOOD_BEFORE = 26  # share of the page's good text before it
    SINCE_GOOD = 27  # blocks since the last good one
    UNTIL_GOOD = 28
    SINCE_FIRST_GOOD = 29  # blocks since the first good one in the best container
    SINCE_LAST_GOOD = 30
    SINCE_HEADING = 31
    SOURCE_GAP = 32  # bytes of markup between the block before and this one
    # its elements
    OWN_TAG = 33  # kind of element, see TAG_KINDS
    PARENT_TAG = 34
    DEPTH = 35
    HIDDEN = 36
    ARIA_HIDDEN = 37
    PRE = 38
    NEAR_CLASS_SCORE = 39  # learned weights of the class names of its element, parent and grandparent
    ALL_CLASS_SCORE = 40  # of all elements around it
    # the text around it
    PARENT_LINKS = 41  # link density
    GRANDPARENT_LINKS = 42
    PARENT_GOOD = 43  # share of the page's good text
    GRANDPARENT_GOOD = 44
    GREAT_GRANDPARENT_GOOD = 45
    PARENT_GOOD_CHARACTERS = 46
    PARENT_WORDS = 47
    GRANDPARENT_WORDS = 48
    PARENT_BLOCKS = 49
    IN_DENSE = 50  # inside the deepest element that holds most of the page's good text
    DENSE_DISTANCE = 51
    IN_BEST = 52  # inside the element whose children hold most good text
    BEST_DISTANCE = 53
    COMMON_DEPTH = 54  # of the innermost element around both the block and that one
    OWN_KIN = 55
    OWN_KIN_GOOD = 56  # share of the page's good text in all its kin
    PARENT_KIN = 57
    PARENT_KIN_GOOD = 58
    GRANDPARENT_KIN = 59
    GRANDPARENT_KIN_GOOD = 60
    # the page
    PAGE_GOOD = 61
    PAGE_GOOD_BLOCKS = 62
    PAGE_BLOCKS = 63
    PAGE_LINKS = 64  # link density
    LONGEST = 65  # words of its longest block
    OF_LONGEST = 66  # share of those


TAG_KINDS: tuple[str, ...] = (
    "p", "li dd dt option", "td th", "div section article main center", "blockquote pre", "figcaption caption",
    "body", "address button label form", "header", "footer aside nav", "h1", "h2", "h3", "h4", "h5 h6",
)  # fmt: skip
"""Values of OWN_TAG and PARENT_TAG, from 1; 0 is any other element."""

AROUND: tuple[str, ...] = (
    "article", "main", "nav", "aside", "header", "footer", "ul ol", "table", "form", "figure figcaption", "blockquote",
    "section", "dl", "pre", "button", "h1 h2 h3 h4 h5 h6", "p",
)  # fmt: skip
"""Elements whose presence anywhere around a block is a feature of its own."""

FIRST_HEADING = TAG_KINDS.index("h1") + 1
OFFSETS = (-3, -2, -1, 1, 2, 3)
OF_NEIGHBOURS = (
    Feature.WORDS,
    Feature.LINK_DENSITY,
    Feature.STOP_WORDS,
    Feature.GOOD,
    Feature.OWN_TAG,
    Feature.WORD_SCORE,
)
NEAR_KEYWORDS = len(Feature)
ALL_KEYWORDS = NEAR_KEYWORDS + len(KEYWORDS)
FIRST_AROUND = ALL_KEYWORDS + len(KEYWORDS)
NEIGHBOURS = FIRST_AROUND + len(AROUND)

FEATURES: tuple[str, ...] = (
    *(feature.name.lower() for feature in Feature),
    *(f"near_{name}" for name in KEYWORDS),
    *(f"around_{name}" for name in KEYWORDS),
    *(f"inside_{name.replace(' ', '_')}" for name in AROUND),
    *(f"{feature.name.lower()}_{offset:+d}" for offset in OFFSETS for feature in OF_NEIGHBOURS),
)
"""Names of the columns that ``features`` fills."""


class Context(IntEnum):
    """Columns added once every block has a first likelihood. Means are weighted by words."""

    BEFORE_4 = 0  # likelihood of the block four places before, and so on; CONTEXT_REACH
    OWN = 4
    AFTER_4 = 8
    MEAN_3 = 9  # mean over the blocks up to three places away
    MEAN_8 = 10
    MEAN_20 = 11
    PARENT_MEAN = 12
    PARENT_SHARE = 13  # of the page's sum of likelihood times words
    GRANDPARENT_MEAN = 14
    GRANDPARENT_SHARE = 15
    GREAT_GRANDPARENT_MEAN = 16
    GREAT_GRANDPARENT_SHARE = 17
    KIN_MEAN = 18  # over the blocks inside its parent's kin
    OWN_KIN_MEAN = 19
    PAGE_SUM = 20
    BEFORE_SHARE = 21  # share of that sum up to this block
    PAGE_MEAN = 22
    PAGE_MOST = 23


CONTEXT_REACH = 4
CONTEXT: tuple[str, ...] = (
    *(f"likely_{offset:+d}" for offset in range(-CONTEXT_REACH, CONTEXT_REACH + 1)),
    *(column.name.lower() for column in Context if column > Context.AFTER_4),
)
"""Names of the columns that ``context`` adds."""

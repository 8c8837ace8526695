"""Which blocks are kept, once each has its likelihood, and how good the text is expected to be.

``balanced`` keeps the blocks, likeliest first, for which the expected word F1 is greatest. ``precision`` keeps what is
more likely main text than not, ``recall`` all that has a fair chance. The greatest expected F1 is also the page's
*confidence*: it is low where there is no main text at all, and then ``balanced`` is as strict as ``precision``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import Block, Element
from stages.extract.blocks.lexicon import KEYWORDS
from stages.extract.blocks.tokenizer import Page

Mode = Literal["precision", "balanced", "recall"]

LIKELY, FAIR_CHANCE = 0.5, 0.2
HOPELESS = 0.3  # expected F1 of a page that has no main text
COMMENT_SHIFT = 3.0  # log odds in favour of a reader's comment where comments are wanted
COMMENT_WORDS = 4  # a comment has words; fewer are a button
THIN = 100  # words; where less is kept, the main text may stand where it is not looked for at first
MISSED = 2.0  # so many times more text there means that it does
BARE_BLOCKS = 3
_COMMENTS = 1 << list(KEYWORDS).index("comments")


class Selection(NamedTuple):
    """``kept``: by block. ``words`` of the kept ones. ``confidence``: the greatest expected word F1."""

    kept: NDArray[np.bool_]
    words: int
    confidence: float


def select(page: Page, likely: NDArray[np.float32], mode: Mode, comments: bool | None) -> Selection:
    """Choose the blocks to keep.

    ``comments``: None leaves readers' comments to the model, which drops them under articles and keeps the posts of
    forums, unless hardly anything else is on the page; True keeps them wherever class names say that they are comments;
    False drops them unless they are most of the page.
    """
    words = word_counts(page)
    if comments is not None:
        likely = _with_comments(page, likely) if comments else _without_comments(page, likely, words)
    chosen = _cut(likely, words, mode)
    if comments is None and chosen.words < THIN and (page.elements[:, Element.KEYWORDS] & _COMMENTS).any():
        other = _cut(_with_comments(page, likely), words, mode)
        chosen = other if other.words >= max(THIN, MISSED * chosen.words) else chosen
    if not chosen.words and 0 < len(likely) <= BARE_BLOCKS and not page.blocks[:, Block.LINK_WORDS].any():
        # a bare text: there is nothing that it could be told apart from
        return Selection(np.ones(len(likely), np.bool_), int(words.sum()), chosen.confidence)
    return chosen


def _cut(likely: NDArray[np.float32], words: NDArray[np.float64], mode: Mode) -> Selection:
    cut, expected = best_cut(likely, words)
    limits = {"precision": LIKELY, "recall": min(cut, FAIR_CHANCE)}
    kept = likely >= limits.get(mode, min(cut, LIKELY) if expected >= HOPELESS else LIKELY)
    return Selection(kept, int(words[kept].sum()), expected)


def word_counts(page: Page) -> NDArray[np.float64]:
    """Words of each block, at least one; a CJK character is half a word."""
    words: NDArray[np.int32] = page.blocks[:, Block.WORDS] - page.blocks[:, Block.CJK] // 2
    return np.maximum(words, 1).astype(np.float64)


def best_cut(likely: NDArray[np.float32], words: NDArray[np.float64]) -> tuple[float, float]:
    """The least likelihood that is worth keeping for the greatest expected word F1, and that F1.

    Keeping a set of blocks with w words each, likely main text with p each, F1 is expected to be about
    2 sum(p w) / (sum(w) + sum over the whole page of p w). The best set is always the likeliest blocks.
    """
    if not len(likely):
        return 1.0, 0.0
    order = np.argsort(-likely, kind="stable")
    found = np.cumsum((likely * words)[order])
    expected = 2 * found / (np.cumsum(words[order]) + found[-1])
    best = int(expected.argmax())
    return float(likely[order[best]]), float(expected[best])


def _in_comments(page: Page) -> NDArray[np.bool_]:
    """Blocks inside elements whose class names say comments."""
    elements = page.elements
    inside = np.zeros(len(elements), np.bool_)
    own = (elements[:, Element.KEYWORDS] & _COMMENTS) != 0
    for row, parent in enumerate(elements[:, Element.PARENT].tolist()):
        inside[row] = own[row] or (parent >= 0 and inside[parent])
    return inside[page.blocks[:, Block.ELEMENT]]


def _with_comments(page: Page, likely: NDArray[np.float32]) -> NDArray[np.float32]:
    speaking = page.blocks[:, Block.WORDS] - page.blocks[:, Block.LINK_WORDS] >= COMMENT_WORDS
    odds = np.log(np.maximum(likely, 1e-6) / np.maximum(1 - likely, 1e-6))
    raised = 1 / (1 + np.exp(-(odds + COMMENT_SHIFT)))
    return np.where(_in_comments(page) & speaking, raised, likely).astype(np.float32)


def _without_comments(page: Page, likely: NDArray[np.float32], words: NDArray[np.float64]) -> NDArray[np.float32]:
    inside = _in_comments(page)
    text = likely * words
    if text[inside].sum() > text.sum() / 2:
        return likely
    return np.where(inside, 0, likely).astype(np.float32)

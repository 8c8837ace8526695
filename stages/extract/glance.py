"""A glance at a page before anything parses it: the beginning of its visible text, good enough to tell its language.

In a crawl more than half of the pages are in languages that a corpus does not want, and extraction is most of the
cost of a page. One pass over the bytes after ``<body`` leaves out tags, comments, scripts and the like, and stops
after ``LIMIT`` bytes of text: 0.2 ms with the detector, where extraction takes 2 and more. What it sees is mostly
navigation, so it may only say what is beyond doubt: ``surely_unwanted`` names a language when the detector is sure
and finds nothing at all in a wanted one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.language import identify_whole

LIMIT = 2000  # bytes of visible text to look at
ENOUGH = 400  # with fewer no judgement is made
SCANNED = 200_000  # bytes of markup to go through for them

# elements without text of their own, as integers made of the first bytes of their names
_SKIPPED = np.array(
    sorted(int.from_bytes(name[:8].encode(), "big") for name in ("script", "style", "noscript", "template", "svg")),
    dtype=np.int64,
)


def glance(page: bytes) -> str:
    """The first ``LIMIT`` bytes of the visible text of a page in UTF-8, white space collapsed, entities left out."""
    start = max(page.find(b"<body"), page.find(b"<BODY"), 0)
    part = np.frombuffer(page, dtype=np.uint8)[start : start + SCANNED]
    out = np.empty(LIMIT, dtype=np.uint8)
    return out[: int(_visible(part, out, _SKIPPED))].tobytes().decode("utf-8", "ignore")


def surely_unwanted(text: str, wanted: tuple[str, ...]) -> str | None:
    """The language of ``text`` if none of it is in a wanted one, beyond doubt; None otherwise."""
    if not wanted or len(text.encode()) < ENOUGH:
        return None
    found = identify_whole(text)
    return found.language if found.reliable and found.share_of(wanted) == 0.0 else None


@njit(cache=True)
def _visible(page: NDArray[np.uint8], out: NDArray[np.uint8], skipped: NDArray[np.int64]) -> Any:
    size, at, written, blank = page.size, 0, 0, True
    while at < size and written < out.size:
        byte = page[at]
        if byte == 60:  # <
            at = _after_markup(page, at, skipped)
            byte = 32
        elif byte == 38:  # &
            end = at + 1
            while end < size and end < at + 12 and page[end] > 32 and page[end] != 59:
                end += 1
            at = end + 1
            byte = 32
        else:
            at += 1
        if byte > 32:
            out[written] = byte
            written += 1
            blank = False
        elif not blank:
            out[written] = 32
            written += 1
            blank = True
    return written


@njit(cache=True)
def _after_markup(page: NDArray[np.uint8], at: int, skipped: NDArray[np.int64]) -> int:
    """Where the text goes on after the tag, comment or textless element that begins at ``at``."""
    size = page.size
    if at + 3 < size and page[at + 1] == 33 and page[at + 2] == 45 and page[at + 3] == 45:  # <!--
        at += 4
        while at + 2 < size and not (page[at] == 45 and page[at + 1] == 45 and page[at + 2] == 62):
            at += 1
        return at + 3
    name = _name(page, at + 1)
    while at < size and page[at] != 62:
        at += 1
    at += 1
    place = np.searchsorted(skipped, name)
    if place == skipped.size or skipped[place] != name:
        return at
    while at + 1 < size:
        if page[at] == 60 and page[at + 1] == 47 and _name(page, at + 2) == name:
            return at
        at += 1
    return size


@njit(cache=True)
def _name(page: NDArray[np.uint8], at: int) -> int:
    code, length = 0, 0
    while at < page.size and length < 8 and 97 <= (page[at] | 32) <= 122:
        code = code * 256 + (page[at] | 32)
        length += 1
        at += 1
    return code

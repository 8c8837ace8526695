"""Elements of the body that say what they hold: those at a mark of the tokenizer, and those with a word in a class.

Only so far and so often is a word looked for, so that no page takes more than a bounded time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import Mark

BODY_WINDOW = 1 << 16  # bytes behind the head
MOST_PLACES = 60  # of a word in that window
MOST_CONTENT = 600  # bytes of an element's content, and of its attributes
MAX_TEXT = 1000  # characters

_ELEMENT = re.compile(rb"<([\w-]{1,12})\s([^<>]{1,600})>")
_ATTRIBUTE = re.compile(r"(?<![\w:-])([a-zA-Z:-]{3,12})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_NAMING = re.compile(r"(?:class|rel|itemprop|property)\s?=\s?(?:\"([^\"]*)|'([^']*)|(\w+))")
_TAG = re.compile(r"<[^<>]{0,1000}>?")
_BLANKS = re.compile(r"\s+")
# of a comment, of another page, or of another kind of date
_OTHER = re.compile(
    r"comment|reply|prep|related|modif|updated?(?![a-z])|event|avatar|image|copyright|sidebar|widget", re.IGNORECASE
)
# forms ask for a name; the rest hold no text
_WITHOUT_TEXT = frozenset((b"form", b"input", b"label", b"textarea", b"select", b"button", b"link", b"script", b"img"))


def marked_elements(
    source: bytes, marks: NDArray[np.int64], first: Mark, word: bytes, pattern: re.Pattern[str]
) -> Iterator[tuple[dict[str, str], str]]:
    """Attributes and text of the element at the mark ``first``, then of those with ``pattern`` in a class or the like.

    ``word`` is part of all that the pattern finds.
    """
    if marks[first] and (element := _ELEMENT.match(source, int(marks[first]))):
        yield _content(source, element)
    start = int(marks[Mark.HEAD_END])
    stop = start + BODY_WINDOW
    at = source.find(word, start, stop)
    for _ in range(MOST_PLACES):
        if at < 0:
            return
        element = _ELEMENT.match(source, max(start, source.rfind(b"<", max(start, at - 300), at)))
        if element and element.end() > at and element.group(1) not in _WITHOUT_TEXT:
            named = " ".join(map("".join, _NAMING.findall(element.group(2).decode("utf-8", "replace"))))
            if pattern.search(named) and not _OTHER.search(named):
                yield _content(source, element)
        at = source.find(word, at + len(word), stop)


def _content(source: bytes, element: re.Match[bytes]) -> tuple[dict[str, str], str]:
    inside = source[element.end() : element.end() + MOST_CONTENT].partition(b"</" + element.group(1))[0]
    attributes = read_attributes(element.group(2).decode("utf-8", "replace"))
    return attributes, clean_text(_TAG.sub(" ", inside.decode("utf-8", "replace"))) or ""


def read_attributes(inside: str) -> dict[str, str]:
    """Attributes of a tag by name in lower case, those with a name of three to twelve letters and a value."""
    return {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(inside)}


def clean_text(raw: str) -> str | None:
    """Entities decoded, white space collapsed, at most ``MAX_TEXT`` characters; None when nothing is left."""
    return _BLANKS.sub(" ", html.unescape(raw)).strip()[:MAX_TEXT].strip() or None

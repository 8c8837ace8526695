"""A page cut into numbered segments for a labeller: by lxml and a few rules, with nothing of any extraction engine.

A segment is a stretch of visible text between two tags of block-level elements, or between two line breaks in a row;
white space is collapsed. What scripts, styles, drawings and form choices hold is no text. A page's segments are pinned
by a digest, so that another version of lxml that reads a page differently is noticed, not scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree, html

_SKIPPED_NAMES = "script style noscript template svg head select textarea iframe object math canvas"
SKIPPED = frozenset(_SKIPPED_NAMES.split())
_BLOCKS_NAMES = (
    "html body div p ul ol li dl dt dd table caption thead tbody tfoot tr td th section article main aside nav header "
    "footer form fieldset legend figure figcaption blockquote pre address h1 h2 h3 h4 h5 h6 hr center details summary "
    "button label option"
)
BLOCKS = frozenset(_BLOCKS_NAMES.split())


@dataclass(frozen=True, slots=True)
class Segment:
    """``tag``: of the block around it; ``name``: a class or id near it; ``links``: share of its characters in links."""

    text: str
    tag: str
    name: str
    links: float


def cut(page: str) -> list[Segment]:
    """The segments of a decoded page, in order."""
    try:
        root = html.document_fromstring(
            page.encode("utf-8", "replace"), parser=html.HTMLParser(encoding="utf-8", huge_tree=True)
        )
    except (etree.ParserError, ValueError):
        return []
    return list(_segments(root))


def digest(segments: list[Segment]) -> str:
    """Pins the segments of a page."""
    return hashlib.sha1("\n".join(segment.text for segment in segments).encode(), usedforsecurity=False).hexdigest()


def _segments(root: html.HtmlElement) -> Iterator[Segment]:
    pieces: list[tuple[str, bool]] = []
    around: list[html.HtmlElement] = []
    breaks = in_link = skipped = 0

    def flush() -> Iterator[Segment]:
        text = " ".join("".join(piece for piece, _ in pieces).split())
        if text and around:
            letters = sum(len(piece.strip()) for piece, _ in pieces)
            linked = sum(len(piece.strip()) for piece, link in pieces if link)
            yield Segment(text, str(around[-1].tag), _name(around), linked / max(1, letters))
        pieces.clear()

    # lxml's own events: depth is no matter of Python's stack
    for event, element in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        if event in ("comment", "pi"):
            if not skipped and element.tail:
                pieces.append((element.tail, in_link > 0))
            continue
        tag, start = str(element.tag), event == "start"
        if tag in SKIPPED:
            skipped += 1 if start else -1
        elif not skipped:
            in_link += (1 if start else -1) if tag == "a" else 0
            if tag == "br" and start:
                breaks += 1
                pieces.append((" ", False))
            if tag in BLOCKS or breaks == 2:
                yield from flush()
                breaks = 0
            if tag in BLOCKS:
                if start:
                    around.append(element)
                else:
                    around.pop()
            if start and element.text:
                pieces.append((element.text, in_link > 0))
                breaks = breaks if not element.text.strip() else 0
        if not start and not skipped and element.tail:
            pieces.append((element.tail, in_link > 0))
            breaks = breaks if not element.tail.strip() else 0
    yield from flush()


def _name(around: list[html.HtmlElement]) -> str:
    for element in reversed(around[-3:]):
        name = element.get("class") or element.get("id")
        if name and name.strip():
            return str(name.split()[0])[:24]
    return ""

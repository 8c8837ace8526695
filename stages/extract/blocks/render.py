"""Kept blocks as text: plain lines, or Markdown with headings, lists, tables, quotes and code.

Plain text has one line per block; an item of a list begins with ``- ``, the cells of a table row are parted by tabs,
code keeps its line breaks and indents. Markdown is that of CommonMark with GitHub's tables; characters that it could
misread in running text are left as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import PRE, Block, Element, Span, SpanKind
from stages.extract.blocks.compiled import Bytes, Rows, kernel
from stages.extract.blocks.tags import TAGS
from stages.extract.blocks.tokenizer import Page

_UL, _OL, _LI, _DD = TAGS["ul"], TAGS["ol"], TAGS["li"], TAGS["dd"]
_TR, _TD, _TH, _TABLE = TAGS["tr"], TAGS["td"], TAGS["th"], TAGS["table"]
_QUOTE, _PRE_TAG = TAGS["blockquote"], TAGS["pre"]
_HEADINGS = {TAGS[f"h{level}"]: level for level in range(1, 7)}
_REACH = 3  # an item's text stands at most so many elements below it
_FENCE = re.compile(r"`{3,}")
_UNSAFE = re.compile(r"[\s()<>]")  # in the target of a Markdown link
_TICKS = re.compile(r"`+")


def plain_text(page: Page, kept: NDArray[np.bool_]) -> str:
    """The kept blocks, one line each."""
    out = np.empty(len(page.text) + 3 * len(page.blocks), np.uint8)
    return out[: int(_plain(page.text, page.blocks, page.elements, kept, out))].tobytes().decode()


@kernel()
def _plain(text: Bytes, blocks: Rows, elements: Rows, kept: NDArray[np.bool_], out: Bytes) -> int:
    size, last = 0, -1
    for row in range(blocks.shape[0]):
        if not kept[row]:
            continue
        if last >= 0:
            out[size] = 9 if _same_row(blocks[last, Block.ELEMENT], blocks[row, Block.ELEMENT], elements) else 10
            size += 1
        if _begins_item(row, blocks[row, Block.ELEMENT], elements):
            out[size] = 45
            out[size + 1] = 32
            size += 2
        for at in range(blocks[row, Block.START], blocks[row, Block.END]):
            out[size] = text[at]
            size += 1
        last = row
    return size


@kernel()
def _begins_item(row: int, at: int, elements: Rows) -> bool:
    """Whether block ``row`` is the first of a list item."""
    for _ in range(_REACH):
        if at <= 0:
            return False
        if elements[at, Element.TAG] == _LI:
            return bool(elements[at, Element.FIRST_BLOCK] == row)
        at = elements[at, Element.PARENT]
    return False


@kernel()
def _same_row(one: int, other: int, elements: Rows) -> bool:
    """Whether two elements are different cells of one table row."""
    if one == other or elements[one, Element.PARENT] != elements[other, Element.PARENT]:
        return False
    tags_fit = elements[one, Element.TAG] == _TD or elements[one, Element.TAG] == _TH
    tags_fit = tags_fit and (elements[other, Element.TAG] == _TD or elements[other, Element.TAG] == _TH)
    parent = elements[one, Element.PARENT]
    return bool(tags_fit and parent >= 0 and elements[parent, Element.TAG] == _TR)


@dataclass(frozen=True, slots=True)
class _Line:
    """A block on its way to Markdown. ``group``: what it shares with its neighbours (a list, a table row, code)."""

    text: str
    kind: str
    group: int = -1
    parent: int = -1


def markdown(page: Page, kept: NDArray[np.bool_], *, links: bool = False, base: str | None = None) -> str:
    """The kept blocks as Markdown. ``links``: with their targets, made absolute by ``base`` where that is known."""
    lines = [_line(page, row, links, base) for row in np.flatnonzero(kept).tolist()]
    return "\n".join(_join(lines)).strip("\n")


def linked_text(page: Page, kept: NDArray[np.bool_], base: str | None = None) -> str:
    """Plain text in which links are written ``[text](target)``."""
    rows = np.flatnonzero(kept).tolist()
    elements, out = page.elements, ""
    for place, row in enumerate(rows):
        own = int(page.blocks[row, Block.ELEMENT])
        if place:
            out += "\t" if _same_row(int(page.blocks[rows[place - 1], Block.ELEMENT]), own, elements) else "\n"
        out += "- " if _begins_item(row, own, elements) else ""
        out += _inline(page, row, links=True, code=False, base=base)
    return out


def _line(page: Page, row: int, links: bool, base: str | None) -> _Line:
    own = int(page.blocks[row, Block.ELEMENT])
    around = list(_around(page.elements, own))
    tags = [int(page.elements[at, Element.TAG]) for at in around]
    if page.elements[own, Element.FLAGS] & PRE:
        code = around[tags.index(_PRE_TAG)] if _PRE_TAG in tags else own
        return _Line(page.block_text(row), "code", code)
    text = _inline(page, row, links=links, code=True, base=base).replace("\n", "  \n")
    for at, tag in zip(around, tags, strict=True):
        if tag in _HEADINGS:
            return _Line(f"{'#' * _HEADINGS[tag]} {' '.join(text.split())}", "heading")
        if tag in (_TD, _TH) and at == own and len(around) > 1:
            table = next((up for up, name in zip(around, tags, strict=True) if name == _TABLE), -1)
            return _Line(" ".join(text.replace("|", "\\|").split()), "cell", around[1], table)
        if tag == _LI:
            return _item(page, row, at, tags, text)
        if tag == _QUOTE:
            return _Line("\n".join(f"> {part}" for part in text.split("\n")), "quote", at)
    return _Line(text, "text")


def _item(page: Page, row: int, item: int, tags: list[int], text: str) -> _Line:
    depth = max(0, sum(tag in (_UL, _OL) for tag in tags) - 1)
    parent = int(page.elements[item, Element.PARENT])
    ordered = page.elements[parent, Element.TAG] == _OL
    number = 1 + int(
        ((page.elements[:item, Element.PARENT] == parent) & (page.elements[:item, Element.TAG] == _LI)).sum()
    )
    mark = f"{number}. " if ordered else "- "
    first = int(page.elements[item, Element.FIRST_BLOCK]) == row
    indent = "   " * depth
    hanging = indent + " " * len(mark)
    return _Line(f"{indent}{mark}{text}" if first else f"{hanging}{text}", "item")


def _around(elements: NDArray[np.int32], at: int) -> Iterator[int]:
    while at >= 0:
        yield at
        at = int(elements[at, Element.PARENT])


def _inline(page: Page, row: int, *, links: bool, code: bool, base: str | None) -> str:
    """The text of a block with its links and its code marked."""
    block = page.blocks[row]
    last = int(page.blocks[row + 1, Block.FIRST_SPAN]) if row + 1 < len(page.blocks) else len(page.spans)
    start, end = int(block[Block.START]), int(block[Block.END])
    parts, at = [], start
    for kind, first, stop, target, target_end in sorted(
        page.spans[block[Block.FIRST_SPAN] : last].tolist(), key=_place
    ):
        wanted = code if kind == SpanKind.CODE else links
        if not wanted or first < at or stop > end:
            continue  # inside the one before it
        inner = page.text[first:stop].tobytes().decode()
        marked = _code(inner) if kind == SpanKind.CODE else _link(inner, page, target, target_end, base)
        parts += [page.text[at:first].tobytes().decode(), marked]
        at = stop
    return "".join((*parts, page.text[at:end].tobytes().decode()))


def _place(span: list[int]) -> tuple[int, int]:
    return span[Span.START], -span[Span.END]


def _code(text: str) -> str:
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{blank}{text}{blank}{ticks}"


def _link(text: str, page: Page, begin: int, end: int, base: str | None) -> str:
    written = html.unescape(page.source[begin:end].tobytes().decode("utf-8", "replace")).strip()
    try:
        target = urljoin(base, written) if base else written
        scheme = urlsplit(target).scheme
    except ValueError:
        return text
    if not target or target.startswith("#") or scheme not in ("", "http", "https", "mailto", "ftp"):
        return text
    return f"[{text}]({_UNSAFE.sub(lambda found: quote(found.group()), target)})"


def _join(lines: list[_Line]) -> Iterator[str]:
    """Blank lines between paragraphs, none inside lists; rows of tables and pieces of code are put together."""
    at = 0
    while at < len(lines):
        line, start = lines[at], at
        while at < len(lines) and _belongs(line, lines[at]):
            at += 1
        run = lines[start:at]
        if start and not (line.kind == "item" and lines[start - 1].kind == "item"):
            yield ""
        if line.kind == "code":
            text = "\n".join(part.text for part in run)
            fence = "`" * max(3, 1 + max((len(ticks) for ticks in _FENCE.findall(text)), default=0))
            yield f"{fence}\n{text}\n{fence}"
        elif line.kind == "cell":
            yield from _table(run)
        else:
            yield from (part.text for part in run)


def _belongs(first: _Line, other: _Line) -> bool:
    if first.kind == "cell":
        return other.kind == "cell" and other.parent == first.parent
    return other is first or (
        first.kind in ("code", "quote") and (other.kind, other.group) == (first.kind, first.group)
    )


def _table(cells: list[_Line]) -> Iterator[str]:
    rows: dict[int, list[str]] = {}
    for cell in cells:
        rows.setdefault(cell.group, []).append(cell.text)
    width = max(len(row) for row in rows.values())
    for number, row in enumerate(rows.values()):
        yield "| " + " | ".join((*row, *[""] * (width - len(row)))) + " |"
        if number == 0:
            yield "|" + " --- |" * width

"""The stage ``extract``: HTML in, ``content`` out, for every row that has no text yet.

It drops nothing: a page without text is rejected as ``extract/empty@1``, one whose language is surely unwanted as
``language/not_wanted@1`` (before any expensive work), one that no engine survives goes to quarantine with its cause.
Rows that come with text (text sources) pass untouched. The HTML is cleared afterwards: it is most of a batch's memory.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ByteSize, Field

from corpus.schema import add_signals, give_verdict, set_column
from stages.extract.blocks.engine import Options
from stages.extract.blocks.select import Mode
from stages.extract.child import Child
from stages.extract.engines import CHILD_FUNCTION, MIN_CONFIDENCE, EngineName, ExtractionLost, Toolbox, blocks_engine
from stages.extract.page import Extraction, extract_page
from stages.language import NOT_WANTED, unwanted_early
from stages.stage import BatchFunction, Resources, Stage

EMPTY = "extract/empty@1"
_COLUMNS = {
    "published": "date",
    "author": "author",
    "site_name": "site_name",
    "canonical_url": "canonical_url",
    "declared_language": "language",
    "charset": "charset",
    "engine": "engine",
}
MIB = 1 << 20


class Extract(Stage):
    """Decode pages and extract their main text, title and publication date."""

    kind: Literal["extract"] = "extract"
    engine: EngineName = "blocks"
    """``blocks`` (ours, fastest), ``cascade`` (trafilatura in doubt), ``resiliparse``, ``trafilatura`` (dearest)."""
    mode: Mode = "balanced"
    """What ``blocks`` keeps: ``precision`` what is more likely main text than not, ``recall`` all that may be."""
    comments: bool | None = None
    """Readers' comments: null keeps forum posts and drops comments under articles, true keeps, false drops them."""
    links: bool = False
    """Write links as ``[text](target)``."""
    format: Literal["plain", "markdown"] = "plain"
    """Plain lines, or Markdown with headings, lists, tables, quotes and code."""
    languages: tuple[str, ...] = ()
    """The cascade asks trafilatura for no page that is surely in none of these (ISO 639-1). Empty: for any."""
    min_confidence: float = Field(default=MIN_CONFIDENCE, ge=0, le=1)
    """Expected word F1 below which the cascade asks trafilatura. 0: never."""
    cpu_seconds: float = Field(default=10, gt=0)
    """CPU time per page in the child process before the page is given up."""
    memory: ByteSize = Field(default=ByteSize(2048 * MIB), ge=256 * MIB)
    """Address space of the child process."""
    max_html_bytes: ByteSize = ByteSize(64 * MIB)
    """Larger pages go to quarantine as ``quarantine/too_large``."""

    def needs(self) -> frozenset[str]:
        """The page, its Content-Type header and its address."""
        return frozenset({"html", "http_content_type", "url", "content"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """What the page declares, charset, engine; two numbers as signals. All null for rows that came with text."""
        return {
            "title": pa.large_string(),
            "published": pa.string(),
            "author": pa.string(),
            "site_name": pa.string(),
            "canonical_url": pa.string(),
            "declared_language": pa.string(),
            "charset": pa.string(),
            "engine": pa.string(),
            "signals.replacement_ratio": pa.float32(),
            "signals.extract_confidence": pa.float32(),
        }

    def open(self, resources: Resources) -> BatchFunction:
        """Compile the kernels; the child process starts with the first page that needs it."""
        blocks_engine().extract(b"<p>warm</p>")
        refuse = functools.partial(unwanted_early, wanted=self.languages)
        child = Child(CHILD_FUNCTION, self.cpu_seconds, int(self.memory))
        options = Options(self.mode, self.comments, self.links, self.format)
        tools = Toolbox(child, self.min_confidence, options, refuse)
        return lambda batch: _extract_batch(batch, self, tools)


@dataclass(slots=True)
class _Row:
    """What becomes of one row. ``cause`` is a quarantine, ``reason`` a rejection; neither: it lives."""

    found: Extraction | None = None
    reason: str | None = None
    cause: str | None = None
    detail: str | None = None


def _extract_batch(batch: pa.Table, stage: Extract, tools: Toolbox) -> pa.Table:
    pages = batch.column("html")
    headers = batch.column("http_content_type")
    urls = batch.column("url")
    ready = batch.column("content").is_valid().to_pylist()
    rows = [
        _Row() if has_text else _extract_row(pages[at].as_py(), headers[at].as_py(), urls[at].as_py(), stage, tools)
        for at, has_text in enumerate(ready)
    ]
    batch = _with_columns(batch, rows, ready)
    detail = [row.detail for row in rows]
    # a page that lives on may carry a note too: how its bytes were read, which engine gave up on it
    notes = pa.array(detail, pa.large_string())
    batch = set_column(batch, "detail", pc.coalesce(notes, batch.column("detail").combine_chunks()))
    rejected = np.array([row.reason is not None for row in rows], dtype=np.bool_)
    batch = give_verdict(batch, rejected, [row.reason for row in rows], detail=detail)
    lost = np.array([row.cause is not None for row in rows], dtype=np.bool_)
    return give_verdict(batch, lost, [row.cause for row in rows], outcome="quarantined", detail=detail)


def _extract_row(page: bytes | None, header: str | None, url: str | None, stage: Extract, tools: Toolbox) -> _Row:
    if page is None:
        return _Row(reason=EMPTY, detail="neither HTML nor text")
    if len(page) > stage.max_html_bytes:
        return _Row(cause="quarantine/too_large", detail=f"{len(page)} bytes of HTML")
    try:
        found = extract_page(page, header, stage.engine, tools, url)
    except ExtractionLost as lost:
        return _Row(cause=f"quarantine/{lost.cause}", detail=lost.detail)
    if found.refused_language:
        return _Row(found, NOT_WANTED, detail=f"{found.refused_language}, stopped before full extraction")
    if not found.text.strip():
        return _Row(found, EMPTY, detail=found.note)
    return _Row(found, detail=found.note)


def _with_columns(batch: pa.Table, rows: list[_Row], ready: list[bool]) -> pa.Table:
    def values(name: str) -> list[Any]:
        return [getattr(row.found, name) if row.found else None for row in rows]

    before = batch.column("content").to_pylist() if any(ready) else [None] * len(rows)
    texts = [old if kept else new for old, new, kept in zip(before, values("text"), ready, strict=True)]
    batch = set_column(batch, "content", pa.array(texts, pa.large_string()))
    batch = set_column(batch, "html", pa.nulls(len(rows), pa.large_binary()))
    batch = _set_or_fill(batch, "title", pa.array(values("title"), pa.large_string()))
    for column, name in _COLUMNS.items():
        batch = _set_or_fill(batch, column, pa.array(values(name), pa.string()))
    numbers = {"replacement_ratio": "replacement_ratio", "extract_confidence": "confidence"}
    return add_signals(batch, {signal: pa.array(values(name), pa.float32()) for signal, name in numbers.items()})


def _set_or_fill(batch: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """Set a column; where the source already brought one (titles of text sources), keep what it holds."""
    if name in batch.column_names:
        kept = batch.column(name).cast(values.type)
        values = pa.chunked_array([values]) if kept.null_count == len(kept) else _coalesce(kept, values)
    return set_column(batch, name, values)


def _coalesce(first: pa.ChunkedArray, second: pa.Array) -> pa.ChunkedArray:
    return pc.coalesce(first, second)

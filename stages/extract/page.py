"""One page from bytes to ``Extraction``: decode, look for hazards, run an engine, read title and date."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from stages.extract.charset import decode_html
from stages.extract.child import Child
from stages.extract.engines import CHILD_FUNCTION, EngineName, Found, Toolbox, check_engine, run_engine
from stages.extract.hazards import look_for_hazards
from stages.extract.metadata import read_metadata
from stages.read.text import sanitise_text


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a page says.

    ``text``: lines of main text, without blank ones; empty when the page has none. ``title`` and ``date``
    (``YYYY-MM-DD``, publication) as the page declares them. ``engine``: whose text it is, ``resiliparse``,
    ``trafilatura``, or ``glance`` (the beginning of the visible text of a page refused for its language).
    ``confidence``: expected word F1 of the fast engine's text, 0..1 (1 where nothing estimated it). ``charset``: Python
    codec. ``note``: what went wrong on the way to the text. ``refused_language``: set when the cascade stopped early
    because of the language.
    """

    text: str
    title: str | None
    date: str | None
    engine: str
    confidence: float
    charset: str
    replacement_ratio: float
    note: str | None = None
    refused_language: str | None = None


def extract_html(html: bytes, url: str | None = None, engine: str = "cascade") -> Extraction:
    """Main text, title and date of a page.

    ``url`` is accepted for engines that can use it; none does today. Raises ``UnknownEngineError`` for an unknown
    ``engine`` and ``ExtractionLost`` for the rare page that no engine survives.
    """
    return extract_page(html, None, check_engine(engine), shared_tools())


def extract_page(body: bytes, content_type: str | None, engine: EngineName, tools: Toolbox) -> Extraction:
    """As ``extract_html``, with the HTTP Content-Type and the caller's own tools."""
    decoded = decode_html(body, content_type)
    source = (
        body if decoded.charset == "utf-8" and not decoded.replacements else decoded.text.encode("utf-8", "replace")
    )
    found = _refused_at_a_glance(source, tools) if engine == "cascade" else None
    if found is None:
        found = run_engine(engine, decoded.text, look_for_hazards(source), tools)
    metadata = read_metadata(decoded.text)
    return Extraction(
        text=sanitise_text(found.text),
        title=sanitise_text(metadata.title) if metadata.title else None,
        date=metadata.date,
        engine=found.engine,
        confidence=found.confidence,
        charset=decoded.charset,
        replacement_ratio=decoded.replacement_ratio,
        note=found.note,
        refused_language=found.refused_language,
    )


def _refused_at_a_glance(source: bytes, tools: Toolbox) -> Found | None:
    """What was seen of a page that is surely in an unwanted language; None if it must be extracted to tell."""
    from stages.extract.glance import glance

    seen = glance(source)
    refused = tools.refuse_at_a_glance(seen)
    return Found(seen, "glance", 0.0, refused_language=refused) if refused else None


@functools.cache
def shared_tools() -> Toolbox:
    """The tools of ``extract_html``: one child per process, started when needed."""
    return Toolbox(Child(CHILD_FUNCTION))

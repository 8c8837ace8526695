"""One page from bytes to ``Extraction``: decode, run an engine, read its metadata."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from stages.extract.blocks.engine import BALANCED, Options
from stages.extract.charset import decode_html
from stages.extract.child import Child
from stages.extract.engines import CHILD_FUNCTION, EngineName, Toolbox, blocks_engine, check_engine, run_engine
from stages.extract.metadata import read_metadata
from stages.read.text import sanitise_text


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a page says.

    ``text``: the main text, empty when the page has none. ``title`` and ``date`` (``YYYY-MM-DD``, publication) as the
    page declares them, as are ``author``, ``language`` (of the page: ``en``), ``site_name`` and ``canonical_url``.
    ``engine``: whose text it is, ``blocks``, ``resiliparse`` or ``trafilatura``. ``confidence``: expected word F1 of
    the text, 0..1: low where the page has no main text at all (1 where nothing estimated it). ``charset``: Python
    codec. ``note``: what went wrong on the way to the text. ``refused_language``: set when the cascade did not ask
    trafilatura because of the language.
    """

    text: str
    title: str | None
    date: str | None
    author: str | None
    language: str | None
    site_name: str | None
    canonical_url: str | None
    engine: str
    confidence: float
    charset: str
    replacement_ratio: float
    note: str | None = None
    refused_language: str | None = None


def extract_html(
    html: bytes,
    url: str | None = None,
    engine: str = "blocks",
    options: Options = BALANCED,
) -> Extraction:
    """Main text of a page, and what it declares of itself.

    ``url``: where the page came from; links are made absolute by it. ``options``: what to keep and how to write it, for
    the engines ``blocks`` and ``cascade``. Raises ``UnknownEngineError`` for an unknown ``engine`` and
    ``ExtractionLost`` for the rare page that ``resiliparse`` or ``trafilatura`` does not survive.
    """
    return extract_page(html, None, check_engine(engine), replace(shared_tools(), options=options), url)


def extract_page(
    body: bytes, content_type: str | None, engine: EngineName, tools: Toolbox, url: str | None = None
) -> Extraction:
    """As ``extract_html``, with the HTTP Content-Type and the caller's own tools."""
    decoded = decode_html(body, content_type)
    source = (
        body if decoded.charset == "utf-8" and not decoded.replacements else decoded.text.encode("utf-8", "replace")
    )
    found = run_engine(engine, source, tools, url)
    metadata = read_metadata(source, found.own or blocks_engine().extract(source), url)
    return Extraction(
        text=sanitise_text(found.text),
        title=_sanitised(metadata.title),
        date=metadata.date,
        author=_sanitised(metadata.author),
        language=metadata.language,
        site_name=_sanitised(metadata.site_name),
        canonical_url=_sanitised(metadata.canonical_url),
        engine=found.engine,
        confidence=found.confidence,
        charset=decoded.charset,
        replacement_ratio=decoded.replacement_ratio,
        note=found.note,
        refused_language=found.refused_language,
    )


def _sanitised(text: str | None) -> str | None:
    return sanitise_text(text) if text else None


@functools.cache
def shared_tools() -> Toolbox:
    """The tools of ``extract_html``: one child per process, started when needed."""
    return Toolbox(Child(CHILD_FUNCTION))

"""The extraction engines: ``blocks`` (default), ``cascade``, ``resiliparse``, ``trafilatura``.

Each takes a page and answers with text; charset, title and the like are the same for all and live elsewhere.

``blocks``       our own: compiled, no parser, linear time on any input (``stages.extract.blocks``)
``cascade``      ``blocks``, and trafilatura where the expected quality is below a limit
``resiliparse``  its main-content extraction; in the killable child where the page looks dangerous
``trafilatura``  in favour of precision, always in the killable child; ``blocks`` where it fails

The order of events depends on the page alone, so the same page always takes the same way. trafilatura runs with
``deduplicate=False``: its deduplication keeps state between pages and would make the result depend on their order. Its
metadata (htmldate) is not used either: it reads today's date.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from corpus.errors import StageError
from stages.extract.blocks.engine import BALANCED, BlocksEngine, MainText, Options
from stages.extract.child import Child, Overrun
from stages.extract.hazards import Hazards, clamp_spans, look_for_hazards

EngineName = Literal["blocks", "cascade", "resiliparse", "trafilatura"]

WORTH_DOUBTING = 50  # words: with less text than this on the page no engine finds an article
MIN_CONFIDENCE = 0.35
CHILD_FUNCTION = "stages.extract.engines:serve"


class UnknownEngineError(StageError, ValueError):
    """No engine of that name."""


class ExtractionLost(Exception):  # noqa: N818 - an outcome that becomes a quarantine cause
    """No engine could get text out of this page. ``cause`` is the name of the quarantine."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause, self.detail = cause, detail


@dataclass(frozen=True, slots=True)
class Found:
    """What an engine found. ``engine`` is the one whose text it is; ``note`` says what went wrong on the way.

    ``own``: what ``blocks`` found, if it was asked: it knows where the page says something of itself.
    """

    text: str
    engine: str
    confidence: float
    note: str | None = None
    refused_language: str | None = None
    own: MainText | None = None


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What engines work with: the child, the limit of doubt, what to keep, and a test for unwanted languages."""

    child: Child
    min_confidence: float = MIN_CONFIDENCE
    options: Options = BALANCED
    refuse: Callable[[str], str | None] = lambda text: None


def check_engine(name: str) -> EngineName:
    """``name`` if it is an engine. Raises ``UnknownEngineError`` with a suggestion."""
    known: tuple[EngineName, ...] = get_args(EngineName)
    for engine in known:
        if engine == name:
            return engine
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"
    raise UnknownEngineError(f"there is no extraction engine {name!r}", fix=hint)


def run_engine(name: EngineName, source: bytes, tools: Toolbox, url: str | None = None) -> Found:
    """Extract the text of a page in UTF-8. Raises ``ExtractionLost`` when nothing could be had."""
    if name == "blocks":
        return _blocks(source, tools, url)
    if name == "cascade":
        return _cascade(source, tools, url)
    page = source.decode("utf-8", "replace")
    if name == "resiliparse":
        return Found(_compact(_fast(page, look_for_hazards(source), tools)), "resiliparse", 1.0)
    return _careful_first(source, page, tools, url)


_local = threading.local()


def blocks_engine() -> BlocksEngine:
    """The engine of this thread: its memory serves one page at a time."""
    if not hasattr(_local, "engine"):
        _local.engine = BlocksEngine()
    engine: BlocksEngine = _local.engine
    return engine


def fast_text(page: str) -> str:
    """resiliparse's own plain text of the main content, without comments and descriptions of images."""
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(page, main_content=True, alt_texts=False, comments=False, list_bullets=False)
    return text


def careful_text(page: str, *, precise: bool, comments: bool) -> str:
    """trafilatura's text: ``precise`` favours precision, otherwise its balanced default. Only ever in the child."""
    import trafilatura

    text: str | None = trafilatura.extract(
        page, favor_precision=precise, include_comments=comments, deduplicate=False, with_metadata=False
    )
    return text or ""


def serve(request: dict[str, Any]) -> dict[str, Any]:
    """What the child does: one of the two above, by ``request["do"]``."""
    page = request["page"]
    if request["do"] == "careful":
        return {"text": careful_text(page, precise=request["precise"], comments=request["comments"])}
    return {"text": fast_text(page)}


def _blocks(source: bytes, tools: Toolbox, url: str | None) -> Found:
    found = blocks_engine().extract(source, tools.options, url)
    return Found(found.text, "blocks", found.confidence, found.note, own=found)


def _cascade(source: bytes, tools: Toolbox, url: str | None) -> Found:
    found = _blocks(source, tools, url)
    words = len(found.text.split())
    if found.confidence >= tools.min_confidence or words < WORTH_DOUBTING:
        return found
    refused = tools.refuse(found.text)
    if refused:
        return replace(found, refused_language=refused)
    hazards = look_for_hazards(source)
    if hazards.too_deep_for_libxml2:
        return found
    try:
        page = source.decode("utf-8", "replace")
        text = _careful(page, tools, precise=False, comments=tools.options.comments is True)
    except Overrun as overrun:
        return replace(found, note=f"trafilatura failed: {overrun}")
    if 4 * len(text.split()) < words:  # it gave up; a text is better than a stump
        return found
    return replace(found, text=text, engine="trafilatura")


def _careful_first(source: bytes, page: str, tools: Toolbox, url: str | None) -> Found:
    hazards = look_for_hazards(source)
    if hazards.too_deep_for_libxml2:
        return replace(_blocks(source, tools, url), note=f"nested {hazards.depth} deep: more than libxml2 reads")
    try:
        return Found(_careful(page, tools, precise=True, comments=tools.options.comments is True), "trafilatura", 1.0)
    except Overrun as overrun:
        return replace(_blocks(source, tools, url), note=f"trafilatura failed: {overrun}")


def _fast(page: str, hazards: Hazards, tools: Toolbox) -> str:
    """The fast engine, in the worker where the page looks harmless and in the child where it does not."""
    if hazards.safe_in_worker:
        return fast_text(page)
    try:
        return str(tools.child.ask({"do": "text", "page": page})["text"])
    except Overrun as overrun:
        raise _lost(overrun, hazards) from None


def _careful(page: str, tools: Toolbox, *, precise: bool, comments: bool) -> str:
    request = {"do": "careful", "page": clamp_spans(page), "precise": precise, "comments": comments}
    try:
        return str(tools.child.ask(request)["text"])
    except Overrun as overrun:
        if overrun.cause == "wall":  # says something about the machine, so it may not change the text
            raise ExtractionLost("extract_timeout", str(overrun)) from None
        raise


def _lost(overrun: Overrun, hazards: Hazards) -> ExtractionLost:
    causes = {"cpu": "extract_timeout", "wall": "extract_timeout", "memory": "extract_memory"}
    cause = causes.get(overrun.cause, "extract_crash")
    if hazards.too_deep_for_libxml2 and overrun.cause == "cpu":
        cause = "too_deep"
    return ExtractionLost(cause, f"{overrun} (depth {hazards.depth}, {hazards.size} bytes)")


def _compact(text: str) -> str:
    """No blank lines, no trailing blanks."""
    return "\n".join(line for line in map(str.rstrip, text.split("\n")) if line)

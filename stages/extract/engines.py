"""The extraction engines: ``resiliparse`` (fast), ``trafilatura`` (careful), ``cascade`` (fast, careful in doubt).

Each takes decoded HTML and answers with text; charset, title and date are the same for all and live elsewhere. The
cascade is the default; ``page`` ends it before it begins where a glance shows a language that is surely unwanted:

1. resiliparse takes the main content, the line judge removes boilerplate (1 ms a page);
2. fewer than ``THIN`` words left: the judge reads the whole page instead (forums, pages marked up against the grain);
   where that finds at least twice as much, the main content was missed and the wide text stands;
3. still fewer, and the page holds elements that swallow what follows them: they are closed, and all begins anew;
4. a page whose confidence is below the limit goes to trafilatura, in the killable child; what trafilatura cannot do
   leaves the fast text, with a note.

The order of events depends on the page alone, so the same page always takes the same way. trafilatura runs with
``deduplicate=False``: its deduplication keeps state between pages and would make the result depend on their order. Its
metadata (htmldate) is not used either: it reads today's date.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from corpus.errors import StageError
from stages.extract.child import Child, Overrun
from stages.extract.hazards import Hazards, clamp_spans
from stages.extract.line_judge import Judged, judge

EngineName = Literal["cascade", "resiliparse", "trafilatura"]

THIN = 100  # words of main content below which the whole page is looked at
MISSED = 2.0  # so many times more text on the whole page means that the main content was missed
WORTH_DOUBTING = 50  # words: with less text than this on the page no engine finds an article
MIN_CONFIDENCE = 0.35
_SELF_CLOSED = re.compile(
    r"<(iframe|script|style|textarea|title|noframes|noembed|xmp)\b([^<>]{0,2000}?)\s*/>", re.IGNORECASE
)
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
    """What an engine found. ``engine`` is the one whose text it is; ``note`` says what went wrong on the way."""

    text: str
    engine: str
    confidence: float
    note: str | None = None
    refused_language: str | None = None


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What engines work with: the child, the limit of doubt, and a test that says a page's language is not wanted."""

    child: Child
    min_confidence: float = MIN_CONFIDENCE
    refuse: Callable[[str], str | None] = lambda text: None
    refuse_at_a_glance: Callable[[str], str | None] = lambda text: None


def check_engine(name: str) -> EngineName:
    """``name`` if it is an engine. Raises ``UnknownEngineError`` with a suggestion."""
    known: tuple[EngineName, ...] = get_args(EngineName)
    for engine in known:
        if engine == name:
            return engine
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"
    raise UnknownEngineError(f"there is no extraction engine {name!r}", fix=hint)


def run_engine(name: EngineName, page: str, hazards: Hazards, tools: Toolbox) -> Found:
    """Extract the text of a decoded page. Raises ``ExtractionLost`` when nothing could be had."""
    if name == "trafilatura":
        return _careful_first(page, hazards, tools)
    if name == "resiliparse":
        return Found(_compact(_fast(page, hazards, tools, "text")), "resiliparse", 1.0)
    return _cascade(page, hazards, tools)


def fast_markup(page: str, *, wide: bool) -> str:
    """resiliparse's minimal HTML of the main content, or (``wide``) of everything that is visible."""
    from resiliparse.extract.html2text import extract_plain_text

    markup: str = extract_plain_text(
        page,
        preserve_formatting="minimal_html",
        main_content=not wide,
        links=True,
        alt_texts=False,
        comments=wide,
        noscript=wide,  # forum software keeps its posts for readers without scripts there
    )
    return markup


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
    """What the child does: one of the three above, by ``request["do"]``."""
    page = request["page"]
    if request["do"] == "careful":
        return {"text": careful_text(page, precise=request["precise"], comments=request["comments"])}
    return {"text": fast_text(page) if request["do"] == "text" else fast_markup(page, wide=request["do"] == "wide")}


def mend_swallowed(page: str) -> str:
    """Close what was written as ``<iframe ... />``: HTML knows no such thing and takes the rest for its text."""
    return _SELF_CLOSED.sub(r"<\1\2></\1>", page)


def _cascade(page: str, hazards: Hazards, tools: Toolbox) -> Found:
    try:
        narrow = judge(_fast(page, hazards, tools, "main"))
    except ExtractionLost as lost:
        return _careful_instead(page, hazards, tools, lost)
    found = Found(narrow.text, "resiliparse", narrow.confidence)
    refused = tools.refuse(narrow.text)
    if refused:
        return replace(found, refused_language=refused)
    best, missed = narrow, False
    if narrow.words < THIN:
        best, missed = _wider(page, hazards, tools, narrow)
        found = Found(best.text, "resiliparse", best.confidence)
        mended = mend_swallowed(page) if best.words < THIN else page
        if mended != page:
            return _cascade(mended, hazards, tools)
    if best.words < WORTH_DOUBTING or found.confidence >= tools.min_confidence or hazards.too_deep_for_libxml2:
        return found
    return _careful_if_better(page, found, best.words, tools, comments=missed)


def _wider(page: str, hazards: Hazards, tools: Toolbox, narrow: Judged) -> tuple[Judged, bool]:
    """The judgement of the whole page where it shows that the main content was missed, else ``narrow``."""
    wide = judge(_fast(page, hazards, tools, "wide"))
    if wide.words < THIN or wide.words < MISSED * narrow.words:
        return narrow, False
    return wide, True


def _fast(page: str, hazards: Hazards, tools: Toolbox, do: Literal["main", "wide", "text"]) -> str:
    """The fast engine, in the worker where the page looks harmless and in the child where it does not."""
    if hazards.safe_in_worker:
        return fast_text(page) if do == "text" else fast_markup(page, wide=do == "wide")
    try:
        return str(tools.child.ask({"do": do, "page": page})["text"])
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


def _careful_if_better(page: str, fast: Found, words: int, tools: Toolbox, *, comments: bool) -> Found:
    try:
        text = _careful(page, tools, precise=False, comments=comments)
    except Overrun as overrun:
        return replace(fast, note=f"trafilatura failed: {overrun}")
    if 4 * len(text.split()) < words:  # it gave up; a text is better than a stump
        return fast
    return replace(fast, text=text, engine="trafilatura")


def _careful_first(page: str, hazards: Hazards, tools: Toolbox) -> Found:
    if hazards.too_deep_for_libxml2:
        text = judge(_fast(page, hazards, tools, "main"))
        return Found(text.text, "resiliparse", text.confidence, f"nested {hazards.depth} deep: more than libxml2 reads")
    try:
        return Found(_careful(page, tools, precise=True, comments=False), "trafilatura", 1.0)
    except Overrun as overrun:
        text = judge(_fast(page, hazards, tools, "main"))
        return Found(text.text, "resiliparse", text.confidence, f"trafilatura failed: {overrun}")


def _careful_instead(page: str, hazards: Hazards, tools: Toolbox, lost: ExtractionLost) -> Found:
    """The fast engine failed on this page: trafilatura is the last hope, unless libxml2 would cut the page."""
    if hazards.too_deep_for_libxml2 or (lost.cause == "extract_timeout" and "wall" in lost.detail):
        raise lost
    try:
        text = _careful(page, tools, precise=True, comments=False)
    except Overrun as overrun:
        raise ExtractionLost(lost.cause, f"{lost.detail}; trafilatura: {overrun}") from None
    return Found(text, "trafilatura", 0.0, f"resiliparse failed: {lost}")


def _lost(overrun: Overrun, hazards: Hazards) -> ExtractionLost:
    causes = {"cpu": "extract_timeout", "wall": "extract_timeout", "memory": "extract_memory"}
    cause = causes.get(overrun.cause, "extract_crash")
    if hazards.too_deep_for_libxml2 and overrun.cause == "cpu":
        cause = "too_deep"
    return ExtractionLost(cause, f"{overrun} (depth {hazards.depth}, {hazards.size} bytes)")


def _compact(text: str) -> str:
    """No blank lines, no trailing blanks."""
    return "\n".join(line for line in map(str.rstrip, text.split("\n")) if line)

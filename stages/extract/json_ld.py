"""What a page says of itself in JSON-LD (schema.org): the object that stands for the page, in a bounded search.

Pages are untrusted: so many scripts, so many bytes of each and so many objects are looked at, in the order in which
they stand, without recursion. JSON that does not parse is passed over: many templates write a comma too many.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

MOST_BYTES = 1 << 18  # of one script
MOST_OBJECTS = 2000
MOST_TEXT = 1000  # characters of a value
_NO_BREAKS = str.maketrans("\n\t\r", "   ")
_WRAPPINGS = ("<!--", "-->", "//<![CDATA[", "//]]>", "<![CDATA[", "]]>", "/*<![CDATA[*/", "/*]]>*/")
_ARTICLE_KINDS = (
    "Article NewsArticle BlogPosting Report ReportageNewsArticle TechArticle ScholarlyArticle AnalysisNewsArticle "
    "OpinionNewsArticle LiveBlogPosting DiscussionForumPosting SocialMediaPosting"
)
_ARTICLES = frozenset(_ARTICLE_KINDS.split())
_PAGES = frozenset(("WebPage", "ItemPage", "AboutPage", "CollectionPage", "ProfilePage", "Product", "Recipe", "Book"))
_SITES = frozenset(("WebSite", "Organization", "NewsMediaOrganization"))


@dataclass(frozen=True, slots=True)
class Declared:
    """Values as written, None where there are none. ``site``: name of publisher or web site."""

    title: str | None = None
    date: str | None = None
    authors: tuple[str, ...] = ()
    language: str | None = None
    site: str | None = None
    url: str | None = None


def read_json_ld(scripts: Iterable[str]) -> Declared:
    """The declarations in the JSON-LD scripts of a page. Any texts will do; never raises."""
    articles: list[dict[str, Any]] = []
    pages: list[dict[str, Any]] = []
    sites: list[dict[str, Any]] = []
    for found in _objects(scripts):
        kinds = _kinds(found)
        for kind, known in ((_ARTICLES, articles), (_PAGES, pages), (_SITES, sites)):
            if kinds & kind:
                known.append(found)
                break
    best = next(iter((*articles, *pages)), {})
    publisher = best.get("publisher")
    site = _name(publisher) or next((name for name in map(_name, sites) if name), None)
    return Declared(
        title=_text(best.get("headline")) or (_text(best.get("name")) if articles or pages else None),
        date=_text(best.get("datePublished")) or _text(best.get("dateCreated")),
        authors=_names(best.get("author") or best.get("creator")) if articles else (),
        language=_text(best.get("inLanguage")),
        site=site,
        url=_text(best.get("url")) or _reference(best.get("mainEntityOfPage")),
    )


def _objects(scripts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """All JSON objects of all scripts, outer ones first."""
    left = MOST_OBJECTS
    for script in scripts:
        try:
            waiting: list[Any] = [orjson.loads(_unwrapped(script).encode("utf-8", "replace"))]
        except orjson.JSONDecodeError:
            continue
        while waiting and left > 0:
            value = waiting.pop(0) if len(waiting) < 64 else waiting.pop()
            left -= 1
            if isinstance(value, dict):
                yield value
                waiting += [inner for inner in value.values() if isinstance(inner, dict | list)]
            elif isinstance(value, list):
                waiting += value[:MOST_OBJECTS]


def _unwrapped(script: str) -> str:
    """Without the comments that hide it from old browsers; line breaks inside values are forgiven."""
    text = script.strip()
    for wrapping in _WRAPPINGS:
        text = text.removeprefix(wrapping).removesuffix(wrapping).strip()
    return text.translate(_NO_BREAKS)


def _kinds(value: dict[str, Any]) -> frozenset[str]:
    kinds = value.get("@type")
    named = kinds if isinstance(kinds, list) else [kinds]
    return frozenset(kind for kind in named if isinstance(kind, str))


def _text(value: Any) -> str | None:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("name") or value.get("@value")
    return html.unescape(value).strip()[:MOST_TEXT] or None if isinstance(value, str) else None


def _name(value: Any) -> str | None:
    if isinstance(value, list) and value:
        value = value[0]
    return _text(value.get("name")) if isinstance(value, dict) else None


def _names(value: Any) -> tuple[str, ...]:
    """Names of one or several people: texts, objects with a name, or a list of these."""
    entries = value if isinstance(value, list) else [value]
    found = [_text(entry.get("name") if isinstance(entry, dict) else entry) for entry in entries[:20]]
    return tuple(dict.fromkeys(name for name in found if name))


def _reference(value: Any) -> str | None:
    return _text(value.get("@id") or value.get("url")) if isinstance(value, dict) else _text(value)

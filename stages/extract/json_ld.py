"""What a page says of itself in JSON-LD (schema.org): the objects that stand for the page, in a bounded search.

Pages are untrusted: so many bytes of each script and of all, and so many objects are looked at, in the order
in which they stand and without recursion. JSON that does not parse is passed over, for many templates write a comma too
many; only its date of publication is still looked for.
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

MOST_BYTES = 1 << 18  # of one script
MOST_IN_ALL = 1 << 20  # characters
MOST_OBJECTS = 2000
MOST_TEXT = 1000  # characters of a value
MOST_NAMES = 20

_WRAPPINGS = ("<!--", "-->", "//<![CDATA[", "//]]>", "<![CDATA[", "]]>", "/*<![CDATA[*/", "/*]]>*/")
_BLANKS = str.maketrans("\n\t\r", "   ")
_DATE = re.compile(r"\"datePublished\"\s{0,20}:\s{0,20}\"([^\"]{4,40})\"")
_ARTICLE_KINDS = (
    "Article NewsArticle BlogPosting Report ReportageNewsArticle TechArticle ScholarlyArticle AnalysisNewsArticle "
    "OpinionNewsArticle ReviewNewsArticle LiveBlogPosting DiscussionForumPosting SocialMediaPosting"
)
_ARTICLES = frozenset(_ARTICLE_KINDS.split())
_PAGES = frozenset(("WebPage", "ItemPage", "AboutPage", "ProfilePage", "Product", "Recipe", "Book", "VideoObject"))
_SITES = frozenset(("WebSite",))
_ORGANIZATIONS = frozenset(("Organization", "NewsMediaOrganization"))
# other pages that this one names
_ELSEWHERE = frozenset(
    ("itemListElement", "blogPost", "comment", "hasPart", "isPartOf", "mentions", "citation", "review", "relatedLink")
)


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
    """The declarations in the scripts of a page: of its article where there is one, else of the page. Never raises."""
    texts = list(_bounded(scripts))
    objects = list(_objects(texts))
    articles, pages, sites, makers = (
        [found for found in objects if _kinds(found) & kinds] for kinds in (_ARTICLES, _PAGES, _SITES, _ORGANIZATIONS)
    )
    best = articles + pages
    keyed = ((found.get("@id"), _text(found.get("name"))) for found in objects)
    names = {key: name for key, name in keyed if isinstance(key, str) and name}
    written = next((match.group(1) for match in map(_DATE.search, texts) if match), None)
    titles = (_text(found.get("headline")) or _text(found.get("name")) for found in best)
    dates = (_text(found.get("datePublished")) or _text(found.get("dateCreated")) for found in best)
    authors = (_names(found.get("author") or found.get("creator"), names) for found in best)
    publishers = (name for found in best for name in _names(found.get("publisher"), names))
    urls = (_text(found.get("url")) or _reference(found.get("mainEntityOfPage")) for found in best)
    return Declared(
        title=next(filter(None, titles), None),
        date=next(filter(None, dates), None) or written,
        authors=next(filter(None, authors), ()),
        language=next(filter(None, (_text(found.get("inLanguage")) for found in best + sites)), None),
        site=next(publishers, None) or next(filter(None, (_text(site.get("name")) for site in sites + makers)), None),
        url=next(filter(None, urls), None),
    )


def _bounded(scripts: Iterable[str]) -> Iterator[str]:
    """Scripts without the comments that hide them from old browsers; line breaks inside values are forgiven."""
    left = MOST_IN_ALL
    for script in scripts:
        left -= len(script)
        if left < 0:
            return
        text = script.strip()
        for wrapping in _WRAPPINGS:
            text = text.removeprefix(wrapping).removesuffix(wrapping).strip()
        yield text.translate(_BLANKS) if "\n" in text or "\t" in text or "\r" in text else text


def _objects(texts: list[str]) -> Iterator[dict[str, Any]]:
    """All JSON objects of all texts that speak of this page, outer ones first."""
    left = MOST_OBJECTS
    for text in texts:
        try:  # nesting deeper than 1024 is an error, too
            waiting: deque[Any] = deque((orjson.loads(text.encode("utf-8", "replace")),))
        except orjson.JSONDecodeError:
            continue
        while waiting and left > 0:
            value = waiting.popleft()
            left -= 1
            if isinstance(value, dict):
                yield value
                waiting.extend(
                    inner for key, inner in value.items() if isinstance(inner, dict | list) and key not in _ELSEWHERE
                )
            elif isinstance(value, list):
                waiting.extend(value[:left])


def _kinds(value: dict[str, Any]) -> frozenset[str]:
    """Types, without the address of the vocabulary before them."""
    kinds = value.get("@type")
    named = kinds if isinstance(kinds, list) else [kinds]
    return frozenset(kind.rpartition("/")[2].rpartition(":")[2] for kind in named if isinstance(kind, str))


def _text(value: Any) -> str | None:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("name") or value.get("@value")
    return html.unescape(value[:MOST_TEXT]).strip() or None if isinstance(value, str) else None


def _names(value: Any, known: dict[str, str]) -> tuple[str, ...]:
    """Names of one or several people: texts, objects with a name, references to ``known`` objects, a list of these."""
    found = []
    for entry in (value if isinstance(value, list) else [value])[:MOST_NAMES]:
        reference = entry.get("@id") if isinstance(entry, dict) else None
        found.append(_text(entry) or (known.get(reference) if isinstance(reference, str) else None))
    return tuple(dict.fromkeys(name for name in found if name))


def _reference(value: Any) -> str | None:
    return _text(value.get("@id") or value.get("url")) if isinstance(value, dict) else _text(value)

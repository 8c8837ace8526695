"""What a page says of itself: title, author, date, language, site, canonical address. No parser, a few searches.

Each is the first that the page declares, in this order:

``title``          og:title, else ``<title>``; a site name behind it is left alone, for where it starts is a guess
``author``         JSON-LD, citation_author, author meta tags, a link with rel=author
``date``           publication meta tags, JSON-LD, the first ``<time datetime>``; as ``YYYY-MM-DD``
``language``       ``<html lang>``, content-language, og:locale, JSON-LD; the primary subtag, as ``en``
``site_name``      og:site_name, application-name, JSON-LD's publisher or web site
``canonical_url``  ``<link rel=canonical>``, og:url, JSON-LD; absolute, http or https

Declared is not true: what a page declares may be wrong. Dates in prose and in URLs are not looked for.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from stages.extract.dates import normalise_date
from stages.extract.json_ld import Declared, read_json_ld

HEAD_WINDOW = 1 << 18  # characters searched for meta tags
MAX_TITLE = 1000
MAX_NAME = 120
MAX_URL = 2048

_META = re.compile(r"<meta\s([^>]{1,2000})>", re.IGNORECASE)
_LINK = re.compile(r"<link\s([^>]{1,2100})>", re.IGNORECASE)
_HTML = re.compile(r"<html\b([^>]{1,1000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([a-zA-Z:_-]{3,12})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_TITLE = re.compile(r"<title\b[^>]{0,200}>([^<]{0,2000})", re.IGNORECASE)
_HEAD_END = re.compile(r"<body\b|</head\s*>", re.IGNORECASE)
_JSON_DATE = re.compile(r"\"datePublished\"\s{0,20}:\s{0,20}\"([^\"]{4,40})\"")
_TIME = re.compile(r"<time\b[^>]{0,300}?\bdatetime\s{0,5}=\s{0,5}[\"']?([^\"'>]{4,40})", re.IGNORECASE)
_AUTHOR_LINK = re.compile(r"rel\s{0,3}=\s{0,3}[\"']?author\b[^>]{0,500}>([^<]{2,150})", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_BY = re.compile(r"^(?:by|von|par|por|di|door)[:\s]\s*", re.IGNORECASE)
_NO_NAME = re.compile(r"https?:|www\.|[@<>{}\[\]|_]|\d{3}")
_LANGUAGE = re.compile(r"\s*([A-Za-z]{2,3})(?:[-_].*)?\s*$")

_DATE_NAMES = (
    "article:published_time", "og:article:published_time", "og:published_time", "datepublished", "date_published",
    "pubdate", "publishdate", "publish_date", "publish-date", "publication_date", "sailthru.date", "parsely-pub-date",
    "dc.date.issued", "dcterms.created", "dcterms.issued", "dcterms.date", "dc.date", "dc.date.created", "dc.created",
    "citation_publication_date", "citation_date", "article.published", "article_date_original",
    "originalpublicationdate", "cxenseparse:recs:publishtime", "shareaholic:article_published_time", "date",
)  # fmt: skip
_AUTHOR_NAMES = (
    "citation_author", "author", "article:author", "og:article:author", "dc.creator", "dcterms.creator", "byl",
    "byline", "parsely-author", "sailthru.author", "shareaholic:article_author_name", "article.author", "creator",
)  # fmt: skip
_NOBODY = frozenset(
    ("admin", "administrator", "author", "editor", "webmaster", "root", "user", "guest", "unknown", "none")
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """``date`` is ``YYYY-MM-DD``; several authors are parted by ``; ``. None where the page does not say."""

    title: str | None
    date: str | None
    author: str | None = None
    language: str | None = None
    site_name: str | None = None
    canonical_url: str | None = None


def read_metadata(page: str, url: str | None = None) -> Metadata:
    """What a page declares; ``url`` makes its canonical address absolute. Any text will do; never raises."""
    head = page[:HEAD_WINDOW]
    end = _HEAD_END.search(head)
    head = head[: end.start()] if end else head  # drawings in the body have <title> too
    tags = _meta_tags(head)
    declared = read_json_ld(page)
    site = _first(tags, ("og:site_name", "application-name")) or declared.site
    return Metadata(
        title=_title(head, tags),
        date=_date(page, tags, declared),
        author=_author(page, tags, declared, site),
        language=_language(head, tags, declared),
        site_name=_clean(site) if site else None,
        canonical_url=_canonical(head, tags, declared, url),
    )


def _meta_tags(head: str) -> dict[str, str]:
    """Content of the named meta tags, first one wins; names in lower case."""
    tags: dict[str, str] = {}
    for match in _META.finditer(head):
        inside = match.group(1)
        if "ontent" not in inside and "ONTENT" not in inside:
            continue
        found = _attributes(inside)
        name = found.get("property") or found.get("name") or found.get("itemprop") or found.get("http-equiv")
        if name and found.get("content"):
            tags.setdefault(name.lower(), found["content"])
    return tags


def _attributes(inside: str) -> dict[str, str]:
    return {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(inside)}


def _first(tags: dict[str, str], names: Iterable[str]) -> str | None:
    return next((tags[name] for name in names if name in tags), None)


def _clean(raw: str) -> str:
    return _BLANKS.sub(" ", html.unescape(raw)).strip()[:MAX_TITLE]


def _title(head: str, tags: dict[str, str]) -> str | None:
    declared = clean_title(tags.get("og:title", ""))
    if declared:
        return declared
    found = _TITLE.search(head)
    return clean_title(found.group(1)) if found else None


def clean_title(raw: str) -> str | None:
    """Entities decoded, white space collapsed, at most ``MAX_TITLE`` characters; None when nothing is left."""
    return _clean(raw) or None


def _date(page: str, tags: dict[str, str], declared: Declared) -> str | None:
    for name in _DATE_NAMES:
        if name in tags:
            date = normalise_date(tags[name])
            if date:
                return date
    if declared.date and (date := normalise_date(declared.date)):
        return date
    # also where the JSON around it does not parse
    for pattern, token in ((_JSON_DATE, '"datePublished"'), (_TIME, "<time")):
        at = page.find(token)
        found = pattern.search(page, at, at + HEAD_WINDOW) if at >= 0 else None
        date = normalise_date(found.group(1)) if found else None
        if date:
            return date
    return None


def _author(page: str, tags: dict[str, str], declared: Declared, site: str | None) -> str | None:
    candidates: list[tuple[str, ...]] = [declared.authors]
    candidates += [(tags[name],) for name in _AUTHOR_NAMES if name in tags]
    if 'rel="author"' in page or "rel='author'" in page or "rel=author" in page:
        found = _AUTHOR_LINK.search(page)
        candidates.append((found.group(1),) if found else ())
    for names in candidates:
        people = [person for person in (_person(name, site) for name in names) if person]
        if people:
            return "; ".join(dict.fromkeys(people))
    return None


def _person(raw: str, site: str | None) -> str | None:
    """A name without "By" in front; None where it plainly is no name."""
    name = _BY.sub("", _clean(raw)).strip(" ,;:-\u2013\u2014")
    if not 2 <= len(name) <= MAX_NAME or _NO_NAME.search(name) or name.lower() in _NOBODY:
        return None
    return None if site and name.lower() == _clean(site).lower() else name


def _language(head: str, tags: dict[str, str], declared: Declared) -> str | None:
    found = _HTML.search(head)
    root = _attributes(found.group(1).replace(" lang", " html-lang")) if found else {}
    written = (root.get("html-lang"), root.get("xml:html-lang"), root.get("xml:lang"))
    metas = (_first(tags, (name,)) for name in ("content-language", "language", "dc.language", "og:locale"))
    for value in (*written, *metas, declared.language):
        match = _LANGUAGE.match(value) if value else None
        if match:
            return match.group(1).lower()
    return None


def _canonical(head: str, tags: dict[str, str], declared: Declared, url: str | None) -> str | None:
    links = (_attributes(match.group(1)) for match in _LINK.finditer(head)) if "canonical" in head else iter(())
    linked = next((link.get("href") for link in links if link.get("rel", "").lower() == "canonical"), None)
    for value in (linked, tags.get("og:url"), declared.url):
        absolute = _absolute(value, url) if value else None
        if absolute:
            return absolute
    return None


def _absolute(raw: str, url: str | None) -> str | None:
    try:
        target = urljoin(url or "", html.unescape(raw).strip())
        parts = urlsplit(target)
    except ValueError:
        return None
    sound = parts.scheme in ("http", "https") and parts.netloc and len(target) <= MAX_URL and not _BLANKS.search(target)
    return target if sound else None

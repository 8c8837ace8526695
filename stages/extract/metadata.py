"""What a page says of itself: title, author, date, language, site, canonical address.

Nothing is searched for in the page: where all of it stands is known from the pass that extracts the text.

Each is the first that the page declares, in this order:

``title``          og:title, else ``<title>``; a site name behind it is left alone, for where it starts is a guess
``author``         author meta tags, JSON-LD, what is marked as rel=author or itemprop=author
``date``           publication meta tags, JSON-LD, the first ``<time datetime>``, the address; as ``YYYY-MM-DD``
``language``       ``<html lang>``, content-language, og:locale, JSON-LD; the primary subtag, as ``en``
``site_name``      og:site_name, application-name, JSON-LD's publisher or web site
``canonical_url``  ``<link rel=canonical>``, og:url, JSON-LD; absolute, http or https

Declared is not true: what a page declares may be wrong. Dates in prose are not looked for.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import Mark
from stages.extract.dates import normalise_date
from stages.extract.json_ld import MOST_BYTES, Declared, read_json_ld

HEAD_WINDOW = 1 << 18  # characters searched for meta tags
MAX_TITLE = 1000
MAX_NAME = 120
MAX_URL = 2048
NEARBY = 2000  # bytes looked at from a mark

_META = re.compile(r"<meta\s([^>]{1,2000})>", re.IGNORECASE)
_LINK = re.compile(r"<link\s([^>]{0,2100}?canonical[^>]{0,2100})>", re.IGNORECASE)
_HTML = re.compile(r"<html\b([^>]{1,1000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([a-zA-Z:_-]{3,12})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_TITLE = re.compile(r"<title\b[^>]{0,200}>([^<]{0,2000})", re.IGNORECASE)
_JSON_DATE = re.compile(r"\"datePublished\"\s{0,20}:\s{0,20}\"([^\"]{4,40})\"")
_TIME = re.compile(r"<time\b[^>]{0,300}?\bdatetime\s{0,5}=\s{0,5}[\"']?([^\"'>]{4,40})", re.IGNORECASE)
_MARKED = re.compile(r"<[^>]{0,500}>(?:\s*<[^>]{1,500}>){0,3}([^<]{2,150})")
_NAME = re.compile(r"(?:property|name|itemprop|http-equiv)\s{0,3}=\s{0,3}[\"']?([a-zA-Z][\w:.-]{2,40})", re.IGNORECASE)
_CONTENT = re.compile(r"\bcontent\s{0,3}=\s{0,3}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)
_LANG = re.compile(r"\blang\s{0,3}=\s{0,3}[\"']?([A-Za-z_-]{2,12})", re.IGNORECASE)
_URL_DATE = re.compile(r"/((?:19|20)\d\d)[/-](\d\d?)[/-](\d\d?)(?=\D|$)")
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
_OTHER_NAMES = (
    "og:title", "og:site_name", "application-name", "og:url", "content-language", "language", "dc.language",
    "og:locale",
)  # fmt: skip
_WANTED = frozenset((*_DATE_NAMES, *_AUTHOR_NAMES, *_OTHER_NAMES))
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


def read_metadata(source: bytes, marks: NDArray[np.int64], url: str | None = None) -> Metadata:
    """What a page in UTF-8 declares. ``marks``: where, as the tokenizer found it; ``url`` makes addresses absolute.

    Any page will do; never raises.
    """
    head = _decoded(source, 0, min(int(marks[Mark.HEAD_END]) or HEAD_WINDOW, HEAD_WINDOW))
    tags = _meta_tags(head)
    date, author, language = _tag_date(tags), _tag_author(tags), _language(head, tags)
    site, canonical = _first(tags, ("og:site_name", "application-name")), _canonical(head, tags, url)
    scripts = _scripts(source, marks)
    declared = read_json_ld(scripts)
    site = site or declared.site
    return Metadata(
        title=_title(head, tags),
        date=date or _later_date(source, marks, scripts, declared, url),
        author=_authors((author or "",), site)
        or _authors(declared.authors, site)
        or _marked_author(source, marks, site),
        language=language or _primary(declared.language),
        site_name=clean_title(site) if site else None,
        canonical_url=canonical or _absolute(declared.url, url),
    )


def _decoded(source: bytes, begin: int, end: int) -> str:
    return source[begin:end].decode("utf-8", "replace")


def _scripts(source: bytes, marks: NDArray[np.int64]) -> list[str]:
    """The JSON-LD of a page, as far as it is not unreasonably long."""
    places = zip(marks[Mark.SCRIPT :: 2].tolist(), marks[Mark.SCRIPT + 1 :: 2].tolist(), strict=True)
    return [_decoded(source, begin, end) for begin, end in places if 0 < begin < end <= begin + MOST_BYTES]


def _meta_tags(head: str) -> dict[str, str]:
    """Content of the meta tags that are looked at, first one wins; names in lower case."""
    tags: dict[str, str] = {}
    for match in _META.finditer(head):
        inside = match.group(1)
        named = _NAME.search(inside)
        name = named.group(1).lower() if named else ""
        if name in _WANTED and name not in tags:
            content = _CONTENT.search(inside)
            value = content and (content.group(1) or content.group(2) or content.group(3))
            if value:
                tags[name] = value
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


def _tag_date(tags: dict[str, str]) -> str | None:
    return next((date for name in _DATE_NAMES if name in tags and (date := normalise_date(tags[name]))), None)


def _later_date(
    source: bytes, marks: NDArray[np.int64], scripts: list[str], declared: Declared, url: str | None
) -> str | None:
    time = _decoded(source, int(marks[Mark.TIME]), int(marks[Mark.TIME]) + NEARBY) if marks[Mark.TIME] else ""
    # scripts once more, for the JSON that does not parse
    raw = (declared.date, *(_group(_JSON_DATE.search(script)) for script in scripts), _group(_TIME.match(time)))
    for value in raw:
        if value and (date := normalise_date(value)):
            return date
    found = _URL_DATE.search(url) if url else None
    return normalise_date("-".join(found.groups())) if found else None


def _group(found: re.Match[str] | None) -> str | None:
    return found.group(1) if found else None


def _tag_author(tags: dict[str, str]) -> str | None:
    return next((tags[name] for name in _AUTHOR_NAMES if name in tags and _person(tags[name], None)), None)


def _marked_author(source: bytes, marks: NDArray[np.int64], site: str | None) -> str | None:
    """The text behind the first tag that is marked as the author, over up to three tags inside it."""
    at = int(marks[Mark.AUTHOR])
    name = _group(_MARKED.match(_decoded(source, at, at + NEARBY))) if at else None
    return _person(name, site) if name else None


def _authors(names: Iterable[str], site: str | None) -> str | None:
    return "; ".join(dict.fromkeys(person for person in (_person(name, site) for name in names) if person)) or None


def _person(raw: str, site: str | None) -> str | None:
    """A name without "By" in front; None where it plainly is no name."""
    name = _BY.sub("", _clean(raw)).strip(" ,;:-\u2013\u2014")
    if not 2 <= len(name) <= MAX_NAME or _NO_NAME.search(name) or name.lower() in _NOBODY:
        return None
    return None if site and name.lower() == _clean(site).lower() else name


def _language(head: str, tags: dict[str, str]) -> str | None:
    found = _HTML.search(head)
    lang = _LANG.search(found.group(1)) if found else None
    named = (tags.get(name) for name in ("content-language", "language", "dc.language", "og:locale"))
    return next((code for value in (lang and lang.group(1), *named) if (code := _primary(value))), None)


def _primary(value: str | None) -> str | None:
    """The primary subtag of a language as declared, in lower case."""
    match = _LANGUAGE.match(value) if value else None
    return match.group(1).lower() if match else None


def _canonical(head: str, tags: dict[str, str], url: str | None) -> str | None:
    links = (_attributes(match.group(1)) for match in _LINK.finditer(head)) if "anonical" in head else iter(())
    linked = next((link.get("href") for link in links if link.get("rel", "").lower() == "canonical"), None)
    return _absolute(linked, url) or _absolute(tags.get("og:url"), url)


def _absolute(raw: str | None, url: str | None) -> str | None:
    if not raw:
        return None
    try:
        target = urljoin(url or "", html.unescape(raw).strip())
        parts = urlsplit(target)
    except ValueError:
        return None
    sound = parts.scheme in ("http", "https") and parts.netloc and len(target) <= MAX_URL and not _BLANKS.search(target)
    return target if sound else None

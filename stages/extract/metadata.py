"""What a page says of itself: title, author, date, language, site, canonical address.

The tokenizer has marked where most of it stands; the body is searched for the rest where that leaves something open.

Each is the first that the page declares, in this order:

``title``          og:title, twitter:title, else ``<title>``; a site name behind it is left alone, for where it starts
                   is a guess; JSON-LD's headline, Dublin Core
``author``         JSON-LD, author meta tags, what the body marks as the author; never the name of the site
``date``           the day in the page's address, publication meta tags, JSON-LD, what the body marks as a date
                   or time, a short line around the headline; as ``YYYY-MM-DD``. The address first: it is the
                   publisher's own day, tags are often in UTC
``language``       ``<html lang>``, content-language, og:locale, JSON-LD; the primary subtag, as ``en``
``site_name``      og:site_name, application-name, JSON-LD's publisher or web site, Dublin Core's publisher
``canonical_url``  ``<link rel=canonical>``, og:url, JSON-LD; absolute, http or https

Declared is not true: what a page declares may be wrong. Names and dates in prose are not looked
for.
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
from stages.extract.blocks.engine import MainText
from stages.extract.dates import date_in_address, normalise_date
from stages.extract.json_ld import MOST_BYTES, Declared, read_json_ld
from stages.extract.marked import clean_text, marked_elements, read_attributes

HEAD_WINDOW = 1 << 18  # bytes searched for meta tags
HTML_WINDOW = 4000  # characters searched for <html>
MOST_NAMES = 1000  # characters of all authors
MAX_NAME = 200
MAX_BYLINE = 60
MAX_URL = 2048

# a value in quotes may hold what ends a tag elsewhere; what was read is never read again
_META = re.compile(r"<meta\s((?:[^<>\"']++|\"[^\"]{0,4000}+\"|'[^']{0,4000}+'|[\"'])*+)>", re.IGNORECASE)
_HTML = re.compile(r"<html\s([^<>]{1,1000})>", re.IGNORECASE)
_LINK = re.compile(r"<link\s([^<>]{1,3000})>", re.IGNORECASE)
_TITLE = re.compile(r"<title\b[^<>]{0,200}>([^<]{0,2000})", re.IGNORECASE)
_BY = re.compile(
    r"^(?:(?:posted|written|published|publiziert|ver\u00f6ffentlicht|geschrieben|beitrag|publi\u00e9)\s+)?"
    r"(?:by|von|vom|par|por|di|door|author|autor|auteur)(?:\s*:\s*|\s+|$)",
    re.IGNORECASE,
)
_CONTACT = re.compile(r"[^\s@]{1,100}@\S{1,100}|(?:https?://|\bwww\.)\S{1,500}")
_NO_NAME = re.compile(r"[@<>{}\[\]|_=]|\d{3}")
_AND = re.compile(r"\s(?:and|und|et|&)\s")
_BYLINE_END = re.compile(r"\s*(?:[|·•(,\d/]|\s[-\u2013\u2014]\s|\s(?:on|am|le|el|at|in)(?:\s|$)).*", re.DOTALL)
_LANGUAGE = re.compile(r"\s*([A-Za-z]{2,3})(?:[-_].*)?\s*$")
_AUTHOR_MARK = re.compile(r"(?<![a-z])(?:author|byline)(?![a-z])", re.IGNORECASE)
_DATE_MARK = re.compile(r"(?<![a-z])(?:date|datepublished|pubdate|publishdate|publishingdate|published)(?![a-z])", re.I)

_RIGHTS = re.compile("\u00a9|copyright", re.IGNORECASE)

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
_SITE_NAMES = ("og:site_name", "application-name")
_LANGUAGE_NAMES = ("content-language", "language", "dc.language", "og:locale")
_WRITTEN_BY = frozenset(
    ("written by", "verfasst von", "geschrieben von", "\u00e9crit par", "escrito por", "scritto da")
)
_NOBODY = frozenset((
    "admin", "administrator", "author", "autor", "auteur", "editor", "webmaster", "root", "user", "guest", "unknown",
    "none", "null", "name", "website", "link", "posted", "published", "publiziert", "ver\u00f6ffentlicht",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metadata:
    """``date`` is ``YYYY-MM-DD``; several authors are parted by ``; ``. None where the page does not say."""

    title: str | None
    date: str | None
    author: str | None = None
    language: str | None = None
    site_name: str | None = None
    canonical_url: str | None = None


def read_metadata(source: bytes, found: MainText, url: str | None = None) -> Metadata:
    """What a page in UTF-8 says of itself. ``found``: what ``blocks`` makes of it; ``url`` makes addresses absolute.

    Any page will do; never raises.
    """
    marks = found.marks
    head = source[: min(int(marks[Mark.HEAD_END]) or HEAD_WINDOW, HEAD_WINDOW)].decode("utf-8", "replace")
    tags = _meta_tags(head)
    declared = read_json_ld(_scripts(source, marks))
    names = (*(tags.get(name) for name in _SITE_NAMES), declared.site, tags.get("dc.publisher"))
    sites = [site for name in names if name and (site := clean_text(name))]
    addresses = (_absolute(raw, url) for raw in (_linked(head), tags.get("og:url"), declared.url) if raw)
    canonical = next(filter(None, addresses), None)
    languages = (_root_language(head), *(tags.get(name) for name in _LANGUAGE_NAMES), declared.language)
    return Metadata(
        title=_title(head, tags, declared),
        date=_date(tags, declared, url or canonical) or _marked_date(source, marks) or _dateline(found.datelines),
        author=_author(tags, declared, sites) or _marked_author(source, marks, sites),
        language=next(filter(None, map(_primary, filter(None, languages))), None),
        site_name=sites[0] if sites else None,
        canonical_url=canonical,
    )


def _scripts(source: bytes, marks: NDArray[np.int64]) -> list[str]:
    """The JSON-LD of a page, as far as it is not unreasonably long."""
    places = zip(marks[Mark.SCRIPT :: 2].tolist(), marks[Mark.SCRIPT + 1 :: 2].tolist(), strict=True)
    sound = ((begin, end) for begin, end in places if 0 < begin < end <= begin + MOST_BYTES)
    return [source[begin:end].decode("utf-8", "replace") for begin, end in sound]


def _meta_tags(head: str) -> dict[str, str]:
    """Contents by name in lower case: the first of each, but all authors."""
    tags: dict[str, str] = {}
    for match in _META.finditer(head):
        inside = match.group(1)
        if "ontent" not in inside and "ONTENT" not in inside:
            continue
        found = read_attributes(inside)
        name = found.get("property") or found.get("name") or found.get("itemprop") or found.get("http-equiv")
        value = found.get("content")
        if not name or not value:
            continue
        name = name.lower()
        if name == "twitter:data1" and tags.get("twitter:label1", "").lower() in _WRITTEN_BY:
            name = "author"
        if name in _AUTHOR_NAMES and name in tags and len(tags[name]) < MOST_NAMES:
            tags[name] += "; " + value
        tags.setdefault(name, value)
    return tags


def _root_language(head: str) -> str | None:
    found = _HTML.search(head, 0, HTML_WINDOW)
    root = read_attributes(found.group(1)) if found else {}
    return root.get("lang") or root.get("xml:lang")


def _linked(head: str) -> str | None:
    """The address in the first of a few tags that speak of a canonical one."""
    at = head.find("canonical")
    for _ in range(5):
        if at < 0:
            break
        link = _LINK.match(head, max(0, head.rfind("<", max(0, at - MAX_URL), at)))
        found = read_attributes(link.group(1)) if link else {}
        if "canonical" in found.get("rel", "").lower().split() and "href" in found:
            return found["href"]
        at = head.find("canonical", at + 9)
    return None


def _title(head: str, tags: dict[str, str], declared: Declared) -> str | None:
    for name in ("og:title", "twitter:title"):
        if found := clean_text(tags.get(name, "")):
            return found
    titled = _TITLE.search(head)
    others = (titled.group(1) if titled else "", declared.title or "", tags.get("dc.title", ""))
    return next(filter(None, map(clean_text, others)), None)


def _date(tags: dict[str, str], declared: Declared, url: str | None) -> str | None:
    written = (*(tags[name] for name in _DATE_NAMES if name in tags), declared.date or "")
    return (date_in_address(url) if url else None) or next(filter(None, map(normalise_date, written)), None)


def _marked_date(source: bytes, marks: NDArray[np.int64]) -> str | None:
    for values, text in marked_elements(source, marks, Mark.TIME, b"date", _DATE_MARK):
        for value in (values.get("content"), values.get("datetime"), values.get("title"), text[:100]):
            if value and (found := normalise_date(value)):
                return found
    return None


def _dateline(texts: tuple[str, ...]) -> str | None:
    """The first date in texts around a headline; not the one of a copyright notice."""
    sound = (text for text in texts if not _RIGHTS.search(text))
    return next(filter(None, map(normalise_date, sound)), None)


def _author(tags: dict[str, str], declared: Declared, sites: list[str]) -> str | None:
    tagged = (_people((tags[name],), sites) for name in _AUTHOR_NAMES if name in tags)
    return _people(declared.authors, sites) or next(filter(None, tagged), None)


def _marked_author(source: bytes, marks: NDArray[np.int64], sites: list[str]) -> str | None:
    for _, text in marked_elements(source, marks, Mark.AUTHOR, b"author", _AUTHOR_MARK):
        name = _BYLINE_END.sub("", _BY.sub("", text[:MAX_NAME]))
        found = _people((name,), sites) if len(name) <= MAX_BYLINE and len(name.split()) <= 6 else None
        if found:
            return found
    return None


def _people(written: Iterable[str], sites: list[str]) -> str | None:
    people: list[str] = []
    for names in written:
        for name in html.unescape(names[:MOST_NAMES]).split(";"):
            parts = _AND.split(name)
            people += parts if all(" " in part.strip() for part in parts) else [name]
    sound = (person for name in people if (person := _person(name, sites)))
    return "; ".join(dict.fromkeys(sound)) or None


def _person(raw: str, sites: list[str]) -> str | None:
    """A name without "By" in front, addresses and what parts it from others; None where it plainly is no name."""
    name = _BY.sub("", _CONTACT.sub("", " ".join(raw[:MOST_NAMES].split()))).strip(" ,;:-\u2013\u2014()")
    if not 2 <= len(name) <= MAX_NAME or _NO_NAME.search(name) or name.lower() in _NOBODY:
        return None
    return None if name.lower() in map(str.lower, sites) else name


def _primary(value: str) -> str | None:
    """The primary subtag of a language as declared, in lower case."""
    match = _LANGUAGE.match(value[:100])
    return match.group(1).lower() if match else None


def _absolute(raw: str, url: str | None) -> str | None:
    try:
        target = html.unescape(raw).strip()
        target = target if target.startswith(("https://", "http://")) else urljoin(url or "", target)
        parts = urlsplit(target)
    except ValueError:
        return None
    sound = parts.scheme in ("http", "https") and parts.netloc and len(target) <= MAX_URL and not target.split()[1:]
    return target if sound else None

"""Websites: a host with a name, a subject, a look, and the frame it puts around every page.

Seven looks live in ``skins/*.html``: newspaper, weblog, discussion board, shop, documentation, wiki, and a table layout
of the nineties. Navigation, footers, cookie notes and teasers come in the language of the site, the same on each of its
pages, so that boilerplate behaves as it does on the web. Hosts end in ``.example`` and can never resolve.
"""

from __future__ import annotations

import functools
import html
import random
from dataclasses import dataclass, field

from .banks import read_text, seeded

CHARSET_SLOT = "[[meta]]"
"""Stays in the HTML until the page is encoded: the charset label is decided there."""

_WORDS = (
    "skip",
    "cookies",
    "accept",
    "search",
    "home",
    "popular",
    "about",
    "contact",
    "privacy",
    "archive",
    "register",
    "login",
    "reply",
    "sections",
)
_STEMS = ("harbour", "tallgrass", "northpier", "copper", "lantern", "meadow", "granite", "juniper", "willow", "kestrel")
_TAILS = {
    "newspaper": ("herald", "courier", "gazette", "observer"),
    "weblog": ("notes", "diary", "letters", "notebook"),
    "board": ("forum", "talk", "board", "community"),
    "shop": ("store", "supplies", "goods", "outlet"),
    "docs": ("docs", "manual", "handbook", "reference"),
    "wiki": ("wiki", "lexicon", "compendium", "almanac"),
    "tables": ("home", "pages", "online", "archive"),
}
SKINS = tuple(_TAILS)


@dataclass(frozen=True)
class Site:
    """One website."""

    host: str
    name: str
    skin: str
    topic: str
    language: str = "en"


@dataclass(slots=True)
class Page:
    """A page before it is encoded and sent. ``text`` is the main text as written; empty where a page has none."""

    kind: str
    url: str
    html: str
    text: str = ""
    title: str = ""
    language: str = "en"
    planted: dict[str, object] = field(default_factory=dict)


def make_site(rng: random.Random, skin: str, topic: str, language: str = "en") -> Site:
    """One of forty sites of that look, subject and language."""
    stem, tail = rng.choice(_STEMS), rng.choice(_TAILS[skin])
    host = f"www.{stem}-{topic}-{tail}.example" if language == "en" else f"{stem}-{tail}.{language.lower()}.example"
    name = f"{stem.title()} {tail.title()}" if language == "en" else f"{stem.title()}.{language}"
    return Site(host, name, skin, topic, language)


@functools.cache
def labels(language: str) -> dict[str, str]:
    """Words of the page frame, by name."""
    lines = read_text("banks/labels.txt").splitlines()
    return dict(zip(_WORDS, lines[lines.index(f"[{language}]") + 1].split("|"), strict=True))


@functools.cache
def _skin(name: str) -> str:
    return read_text(f"skins/{name}.html")


@functools.cache
def _navigation(site: Site) -> str:
    rng = seeded(site.host)
    entries = [labels(site.language)["home"], *labels(site.language)["sections"].split(","), site.topic.title()]
    return "".join(f'<li><a href="/{rng.randrange(10, 99)}/">{html.escape(entry)}</a></li>' for entry in entries)


def frame(
    site: Site,
    *,
    title: str,
    main: str,
    url: str,
    date: str,
    teasers: list[str],
    comments: str = "",
) -> str:
    """The whole HTML page. ``title`` and ``teasers`` are plain text, ``main`` and ``comments`` are HTML."""
    safe = html.escape(title)
    slots = {
        "lang": site.language,
        "title": safe,
        "site": html.escape(site.name),
        "url": html.escape(url),
        "date": date,
        "year": date[:4],
        "section": site.topic,
        "description": safe,
        "nav": _navigation(site),
        "related": "".join(f'<li><a href="/a/{at}">{html.escape(line)}</a></li>' for at, line in enumerate(teasers)),
        "comments": comments,
        **{f"w:{name}": html.escape(word) for name, word in labels(site.language).items()},
        "main": main,
    }
    page = _skin(site.skin)
    for name, value in slots.items():
        page = page.replace(f"[[{name}]]", value)
    return page

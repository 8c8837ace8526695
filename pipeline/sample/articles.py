"""Pages with a text worth keeping: news, blogs, guides, encyclopedia entries, and pages in other languages.

Each builder takes a random generator and returns a ``Page``; ``publish`` puts a given text on a site, so that copies
and near copies of an article can appear elsewhere in another frame.
"""

from __future__ import annotations

import html
import random
import re

from .banks import Voice
from .prose import LANGUAGES, TOPICS, english_voice, foreign_paragraphs, foreign_title, paragraphs, title
from .site import Page, Site, frame, make_site

_LOOKS = {
    "news": ("newspaper", "tables"),
    "blog": ("weblog",),
    "guide": ("weblog", "newspaper"),
    "encyclopedia": ("wiki",),
}


def slug(text: str) -> str:
    """The part of a URL made from a title."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "page"


def page_date(rng: random.Random) -> str:
    """A publication date, before both crawls."""
    return f"20{rng.randrange(12, 24)}-{rng.randrange(1, 12):02d}-{rng.randrange(1, 29):02d}"


def address(rng: random.Random, site: Site, heading: str) -> str:
    """The URL of a page, in one of the usual styles."""
    name, number = slug(heading), rng.randrange(10_000, 999_999)
    styles = (f"{site.topic}/{name}", f"{number}/{name}.html", f"?p={number}", f"articles/{number}")
    return f"https://{site.host}/{rng.choice(styles[:2] if rng.random() < 0.7 else styles)}"


def dress(rng: random.Random, lines: list[str], *, heads: list[str] | None = None) -> str:
    """Paragraphs as HTML, with links, emphasis and, before some of them, sub-headings."""
    made: list[str] = []
    for at, line in enumerate(lines):
        text = html.escape(line, quote=False)
        if heads and at and at % 4 == 0:
            made.append(f"<h2>{html.escape(heads[at // 4 % len(heads)])}</h2>")
        if rng.random() < 0.3:
            text = _mark(rng, text)
        made.append(f"<p>{text}</p>")
        if rng.random() < 0.08:
            made.append('<div class="ad-slot" id="gpt-ad"></div><script>track("slot");</script>')
    return "\n".join(made)


def _mark(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    if len(words) < 8:
        return text
    at = rng.randrange(len(words) - 4)
    opening, closing = rng.choice((('<a href="/more">', "</a>"), ("<em>", "</em>"), ("<b>", "</b>")))
    return " ".join([*words[:at], opening + " ".join(words[at : at + 3]) + closing, *words[at + 3 :]])


def discussion(voice: Voice, handles: Voice) -> str:
    """A block of reader comments."""
    said = [(handles.phrase("handle"), voice.sentence("comment")) for _ in range(voice.rng.randrange(2, 5))]
    items = "".join(f'<li class="comment"><cite>{who}</cite><p>{html.escape(text)}</p></li>' for who, text in said)
    return f'<div id="comments" class="comments-area"><h3>Comments</h3><ol class="comment-list">{items}</ol></div>'


def publish(rng: random.Random, site: Site, *, kind: str, heading: str, lines: list[str]) -> Page:
    """Put an English text on a site."""
    voice = english_voice(rng, site.topic)
    url = address(rng, site, heading)
    heads = [title(voice) for _ in range(4)] if kind in ("guide", "encyclopedia") else None
    main = dress(rng, lines, heads=heads)
    if kind == "encyclopedia":
        parts = (_infobox, 0.4), (_data_table, 0.4), (_references, 0.6)
        box, table, references = (make(voice) if rng.random() < share else "" for make, share in parts)
        main = box + main + table + references
    comments = discussion(voice, Voice(rng, "thin")) if kind in ("blog", "news") and rng.random() < 0.6 else ""
    teasers = [title(voice) for _ in range(rng.randrange(3, 8))]
    page = frame(site, title=heading, main=main, url=url, date=page_date(rng), teasers=teasers, comments=comments)
    return Page(kind, url, page, "\n".join(lines), heading)


def article(rng: random.Random, kind: str) -> Page:
    """A new English article of ``kind``: news, blog, guide or encyclopedia."""
    site = make_site(rng, rng.choice(_LOOKS[kind]), rng.choice(TOPICS))
    voice = english_voice(rng, site.topic)
    lines = paragraphs(voice, kind, rng.randrange(130, 620))
    return publish(rng, site, kind=kind, heading=title(voice), lines=lines)


def _infobox(voice: Voice) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(voice.phrase(section))}</td></tr>"
        for name, section in (
            ("Region", "place"),
            ("First mention", "year"),
            ("Material", "stuff"),
            ("Known for", "things"),
        )
    )
    return f'<table class="infobox">{rows}</table>\n'


def _data_table(voice: Voice) -> str:
    rows = "".join(
        f"<tr><td>{voice.phrase('year')}</td><td>{html.escape(voice.phrase('things'))}</td>"
        f"<td>{voice.phrase('thousands')}</td><td>{voice.phrase('percent')} %</td></tr>"
        for _ in range(voice.rng.randrange(3, 9))
    )
    return f'<table class="wikitable"><tr><th>Year</th><th>Kind</th><th>Number</th><th>Share</th></tr>{rows}</table>\n'


def _references(voice: Voice) -> str:
    items = "".join(
        f'<li id="cite-{at}"><a href="#ref-{at}">^</a> <i>{html.escape(title(voice))}</i>, {voice.phrase("year")}, '
        f"p. {voice.rng.randrange(3, 400)}.</li>"
        for at in range(voice.rng.randrange(3, 7))
    )
    return f'<h2>References</h2><ol class="references">{items}</ol>\n'


def foreign(rng: random.Random, language: str | None = None) -> Page:
    """A page in another language."""
    language = language or rng.choice(LANGUAGES)
    site = make_site(rng, rng.choice(("newspaper", "weblog", "tables")), rng.choice(TOPICS), language)
    heading = foreign_title(rng, language)
    lines = foreign_paragraphs(rng, language, rng.randrange(3, 9))
    url = f"https://{site.host}/{language.lower()}/{rng.randrange(10_000, 999_999)}.html"
    teasers = [foreign_title(rng, language) for _ in range(4)]
    page = frame(site, title=heading, main=dress(rng, lines), url=url, date=page_date(rng), teasers=teasers)
    return Page("foreign", url, page, "\n".join(lines), heading, language)

"""HTML that parsers stumble over: deep nesting, huge spans, unclosed tags, broken entities, and pages of great length.

Every such page carries a proper article, so that a stage which loses the page loses text worth keeping.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from .articles import article, publish
from .prose import TOPICS, english_voice, paragraphs, title
from .site import Page, make_site

_NEST = 3000
_LONG_TEXT = 300_000


def deep_nesting(rng: random.Random) -> Page:
    """Three thousand elements inside one another around the article."""
    page = _article(rng, "deep_nesting")
    opening = "".join(rng.choice(("<div>", "<span>", "<font>")) for _ in range(_NEST))
    page.html = page.html.replace('<div class="article-body">', opening + '<div class="article-body">', 1)
    return page


def huge_colspan(rng: random.Random) -> Page:
    """A table whose cells claim to span a hundred million columns and rows."""
    page = _article(rng, "huge_colspan")
    table = '<table><tr><td colspan="100000000" rowspan="65534">total</td></tr><tr><td colspan="-7">1</td></tr></table>'
    page.html = page.html.replace("</article>", table + "</article>", 1)
    return page


def unclosed_tags(rng: random.Random) -> Page:
    """No closing tag of a paragraph, a list, an emphasis; no closing body."""
    page = _article(rng, "unclosed_tags")
    page.html = re.sub(r"</(?:p|li|ul|em|b|a|div|article|main|body|html)>", "", page.html)
    return page


def broken_entities(rng: random.Random) -> Page:
    """References to characters that do not exist, or that never end."""
    page = _article(rng, "broken_entities")
    broken = ("&nbsp", "&#xFFFFFFF;", "&#0;", "&bogus;", "&amp;amp;", "&#150;", "&#xD800;", "&")
    page.html = re.sub(r", ", lambda _: f", {rng.choice(broken)} ", page.html)
    return page


def open_quotes(rng: random.Random) -> Page:
    """An attribute without its closing quote, tags inside attributes, a comment that never ends."""
    page = _article(rng, "open_quotes")
    page.html = page.html.replace(
        '<div class="article-body">', '<div class="article-body" title="a <b> c"><img alt="x src=y>"><p>', 1
    )
    page.html = page.html.replace("</body>", "<!-- the end", 1)
    return page


def null_bytes(rng: random.Random) -> Page:
    """NUL and other control characters in the text."""
    page = _article(rng, "null_bytes")
    page.html = page.html.replace(". ", ".\x00 ").replace(" and ", " an\x08d\x1f ")
    return page


def heavy_script(rng: random.Random) -> Page:
    """An article under two hundred kilobytes of inline script."""
    page = _article(rng, "heavy_script")
    script = ";".join(f"var v{at}=[{at},'<p>not a paragraph</p>',{rng.random():.6f}]" for at in range(4000))
    page.html = page.html.replace("</head>", f"<script>{script}</script></head>", 1)
    return page


def very_long(rng: random.Random) -> Page:
    """Three hundred thousand characters of text."""
    site = make_site(rng, "newspaper", rng.choice(TOPICS))
    lines: list[str] = []
    size = 0
    while size < _LONG_TEXT:
        part = paragraphs(english_voice(rng, rng.choice(TOPICS)), "news", 500)
        lines += part
        size += sum(map(len, part)) + len(part)
    return publish(rng, site, kind="very_long", heading=title(english_voice(rng, site.topic)), lines=lines)


def _article(rng: random.Random, kind: str) -> Page:
    page = article(rng, "news")
    while 'class="article-body"' not in page.html:
        page = article(rng, "news")
    page.kind = kind
    return page


KINDS: dict[str, Callable[[random.Random], Page]] = {
    "deep_nesting": deep_nesting,
    "huge_colspan": huge_colspan,
    "unclosed_tags": unclosed_tags,
    "broken_entities": broken_entities,
    "open_quotes": open_quotes,
    "null_bytes": null_bytes,
    "heavy_script": heavy_script,
    "very_long": very_long,
}
"""Builders by kind."""

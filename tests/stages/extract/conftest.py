"""Pages written for these tests: an article in its furniture, a forum that hides its posts, a login form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SENTENCES = [
    "The harbour of the old town was closed on Monday morning, because a barge lost its cargo of timber in the fog.",
    "Fishermen who had waited since dawn, some with ice melting in their boxes, sold their catch from the pier.",
    "According to the harbour master, the clearing will take two days, and the ferry will sail from the northern quay.",
    "Nobody was hurt, although a crane driver said that he had never seen so many logs move so quietly in the dark.",
    "The company that owns the barge has promised to pay for the damage, which the town puts at forty thousand crowns.",
    "In the afternoon the sun came out, and children began to build small rafts from the pieces that drifted ashore.",
]

FURNITURE = """<nav><ul>
<li><a href="/">Home</a></li><li><a href="/news">News</a></li><li><a href="/shop">Shop</a></li></ul></nav>"""
FOOTER = """<footer>
<p><a href="/terms">Terms of use</a> | <a href="/privacy">Privacy policy</a></p><p>Copyright 2020</p></footer>"""
RELATED = """<h3>Related articles</h3><ul><li><a href="/a">Ten harbours you must see</a></li>
<li><a href="/b">Why fog comes in spring</a></li></ul><p><a href="/s">Subscribe to our newsletter</a></p>"""


def _article(*, extra: str = "", paragraphs: list[str] | None = None) -> str:
    body = "".join(f"<p>{sentence}</p>" for sentence in (SENTENCES if paragraphs is None else paragraphs))
    return f"""<!DOCTYPE html><html><head><meta charset="utf-8"><title>Timber in the harbour | The Pier</title>
<meta property="og:title" content="Timber in the harbour">
<meta property="article:published_time" content="2020-03-02T08:00:00Z">
</head><body>{FURNITURE}<main><article><h1>Timber in the harbour</h1><p>Share this on social media</p>{body}{extra}
{RELATED}</article></main>{FOOTER}</body></html>"""


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """The six paragraphs of the article."""
    return SENTENCES


@pytest.fixture(scope="session")
def article() -> Callable[..., str]:
    """Makes the article's page: ``extra`` HTML behind its text, or other ``paragraphs``."""
    return _article


@pytest.fixture(scope="session")
def article_page() -> bytes:
    return _article().encode()

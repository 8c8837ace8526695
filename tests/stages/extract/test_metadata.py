"""Title and publication date as pages declare them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.dates import normalise_date
from stages.extract.engines import blocks_engine
from stages.extract.metadata import Metadata, clean_title
from stages.extract.metadata import read_metadata as read_with_marks


def read_metadata(page: str, url: str | None = None) -> Metadata:
    source = page.encode("utf-8", "replace")
    return read_with_marks(source, blocks_engine().marks(source), url)


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>A page - Some Site</title>", "A page - Some Site"),
        ('<title>T</title><meta property="og:title" content="Better &amp; shorter">', "Better & shorter"),
        ("<meta content='Order does not matter' property='og:title'>", "Order does not matter"),
        ('<TITLE lang="en">\n  Spread \t over\n lines </TITLE>', "Spread over lines"),
        ('<meta property="og:title" content=" "><title>Fallback</title>', "Fallback"),
        ("<title></title>", None),
        ("<p>none</p>", None),
        ("<body><svg><title>icon</title></svg>", None),
        ("<title>never closed", "never closed"),
    ],
)
def test_the_title_is_the_one_the_page_declares(page: str, title: str | None) -> None:
    assert read_metadata(page).title == title


@pytest.mark.parametrize(
    "page",
    [
        '<meta property="article:published_time" content="2024-01-31T08:00:00+02:00">',
        "<meta name=DC.date.issued content=2024-01-31>",
        '<meta itemprop="datePublished" content="2024-01-31">',
        '<script type="application/ld+json">{"datePublished" : "2024-01-31T08:00Z"}</script>',
        '<article><time class="x" datetime="2024-01-31">yesterday</time>',
        '<meta name="date" content="Wed, 31 Jan 2024 08:00:00 GMT">',
        '<meta name="date" content="not a date"><time datetime="2024-01-31 08:00">',
    ],
)
def test_the_date_is_found_wherever_pages_put_it(page: str) -> None:
    assert read_metadata(page).date == "2024-01-31"


def test_the_publication_date_comes_before_json_and_time_elements() -> None:
    page = (
        '<time datetime="2020-01-01"></time><script type="application/ld+json">{"datePublished":"2021-01-01"}</script>'
        '<meta property="article:published_time" content="2022-01-01">'
    )
    assert read_metadata(page).date == "2022-01-01"


@pytest.mark.parametrize(
    ("raw", "date"),
    [
        ("20240131", "2024-01-31"),
        ("2024/1/5", "2024-01-05"),
        ("January 31st, 2024", "2024-01-31"),
        ("31 January 2024", "2024-01-31"),
        ("1989-12-31", None),
        ("1990-01-01", "1990-01-01"),
        ("2099-12-31", "2099-12-31"),
        ("2100-01-01", None),
        ("2024-13-01", None),
        ("2024-02-30", None),
        ("2024-01-310", None),
        ("1706684400", None),
        ("", None),
    ],
)
def test_dates_are_normalised_or_refused(raw: str, date: str | None) -> None:
    assert normalise_date(raw) == date


@given(st.text(alphabet="<>/meta tile=\"'contprgy:20-4", max_size=300))
def test_any_text_has_metadata_or_none(page: str) -> None:
    found = read_metadata(page)
    assert found.title is None or found.title == clean_title(found.title)
    assert found.date is None or normalise_date(found.date) == found.date


@pytest.mark.parametrize("unit", ["<meta ", "<title", '"datePublished"', "<time ", "<meta a='", "<time datetime="])
def test_repeated_fragments_cost_linear_time(unit: str) -> None:
    assert read_metadata(unit * 50_000).date is None  # with a quadratic pattern this takes hours


@pytest.mark.parametrize(
    ("page", "author"),
    [
        ('<meta name="author" content="By Ada Brook">', "Ada Brook"),
        ('<meta name="author" content="ada@example.org"><meta name="dc.creator" content="Ada Brook">', "Ada Brook"),
        ('<meta name="author" content="admin">', None),
        ('<meta property="article:author" content="https://example.org/ada">', None),
        ('<meta name="author" content="The Pier"><meta property="og:site_name" content="The Pier">', None),
        ('<body><a rel="author" href="/ada">Ada Brook</a>', "Ada Brook"),
        ('<body><div itemprop="author"><b>Ada Brook</b></div>', "Ada Brook"),
        ("<body>an author of note</body>", None),
    ],
)
def test_the_author_is_a_name(page: str, author: str | None) -> None:
    assert read_metadata(page).author == author


@pytest.mark.parametrize(
    ("page", "language"),
    [
        ('<html lang="en-GB">', "en"),
        ('<html class="no-js" xml:lang="de" dir=ltr>', "de"),
        ('<html><meta http-equiv="Content-Language" content="fr, en">', None),
        ('<meta http-equiv="content-language" content="fr">', "fr"),
        ('<meta property="og:locale" content="pt_BR">', "pt"),
        ('<html lang="">', None),
    ],
)
def test_the_language_is_a_primary_subtag(page: str, language: str | None) -> None:
    assert read_metadata(page).language == language


@pytest.mark.parametrize(
    ("page", "canonical"),
    [
        ('<link rel="canonical" href="https://example.org/a?b=1&amp;c=2">', "https://example.org/a?b=1&c=2"),
        ("<link href=/a rel=canonical>", "https://example.org/a"),
        ('<link rel="alternate canonical-ish" href="/no">', None),
        (
            '<link rel="canonical" href="javascript:alert(1)"><meta property="og:url" content="/b">',
            "https://example.org/b",
        ),
        ('<link rel="canonical" href="https://[broken">', None),
        (f'<link rel="canonical" href="/{"a" * 2100}">', None),
    ],
)
def test_the_canonical_address_is_absolute_and_of_the_web(page: str, canonical: str | None) -> None:
    assert read_metadata(page, "https://example.org/d/x").canonical_url == canonical


def script(text: str) -> str:
    return f'<html><body><script type="application/ld+json">{text}</script>'


def test_json_ld_speaks_where_the_head_is_silent() -> None:
    article = (
        '{"@context": "https://schema.org", "@graph": [{"@type": "WebSite", "name": "The Pier"}, '
        '{"@type": ["NewsArticle"], "headline": "Timber", "author": [{"name": "Ada Brook"}, {"name": "By Bo Lund"}],'
        '"datePublished": "2024-01-31T08:00Z", "inLanguage": "en-US", "publisher": {"name": "Pier &amp; Co"}, '
        '"url": "https://example.org/timber"}]}'
    )
    found = read_metadata(script(article))
    assert (found.author, found.date, found.language) == ("Ada Brook; Bo Lund", "2024-01-31", "en")
    assert (found.site_name, found.canonical_url) == ("Pier & Co", "https://example.org/timber")


def test_json_that_does_not_parse_is_passed_over_but_its_date_is_found() -> None:
    found = read_metadata(script('{"@type": "Article", "author": "Ada", "datePublished": "2024-01-31",}'))
    assert (found.author, found.date) == (None, "2024-01-31")
    wrapped = read_metadata(script('<!-- {"@type": "Article", "author": "Ada Brook"} -->'))
    assert wrapped.author == "Ada Brook"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 900 + "]" * 900,
        "null",
        "[[],{}]",
        '{"@type": 3, "author": [[1]]}',
        '{"@type": "Article", "author": {"name": {"name": 1}}, "publisher": [], "url": {}, "inLanguage": [null]}',
    ],
)
def test_odd_json_is_survived(text: str) -> None:
    assert read_metadata(script(text)).author is None


def test_only_so_many_scripts_and_objects_are_looked_at() -> None:
    nothing = '<script type="application/ld+json">{}</script>' * 30
    assert read_metadata(nothing + script('{"@type": "Article", "author": "Ada Brook"}')).author is None
    crowd = "[" + "{}," * 5000 + '{"@type": "Article", "author": "Ada Brook"}]'
    assert read_metadata(script(crowd)).author is None


def test_the_address_gives_a_date_where_nothing_else_does() -> None:
    assert read_metadata("<p>x", "https://example.org/2024/01/31/timber").date == "2024-01-31"
    assert read_metadata("<p>x", "https://example.org/2024/13/31/timber").date is None


PIECES = (
    *("<meta ", "<link ", "rel=canonical ", "href='", "name=author ", "content=", '"', ">", "Ada ", "author", "2024"),
    *(
        "<html lang=",
        'rel="author"',
        "<script type=application/ld+json>",
        '{"@type":"Article"',
        "</script>",
        "<time datetime=",
    ),
)


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_markup_is_survived(parts: list[str]) -> None:
    found = read_metadata("".join(parts), "http://example.org/")
    assert found.canonical_url is None or found.canonical_url.startswith("http")

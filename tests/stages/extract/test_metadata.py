"""What pages declare of themselves: title, date, author, language, site, canonical address."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.dates import date_in_address, normalise_date
from stages.extract.engines import blocks_engine
from stages.extract.metadata import Metadata
from stages.extract.metadata import read_metadata as read_beside


def read_metadata(page: str, url: str | None = None) -> Metadata:
    source = page.encode("utf-8", "replace")
    return read_beside(source, blocks_engine().extract(source), url)


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
        '<body><abbr class="published date" title="2024-01-31T08:00:00+0100">last week</abbr>',
        '<body><span class="entry-date"><a href="/">31. Januar 2024</a></span>',
        '<body><div itemprop="datePublished">31.01.2024 08:00</div>',
        '<body><span class="comment-date">1 May 2020</span><b class="update">1.1.2021</b><i class="date">31.1.2024</i>',
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


PROSE = "<p>" + "The timber came down the river in spring, and nobody knew who had sent it or why. " * 8 + "</p>"


@pytest.mark.parametrize(
    ("page", "date"),
    [
        (f"<h1>Timber</h1><p>Ada Brook | 31. Januar 2024</p>{PROSE}", "2024-01-31"),
        (f"<div>January 31, 2024</div><h1>Timber</h1>{PROSE}<div>Bo, May 1, 2024</div>", "2024-01-31"),
        (f"<h1>Timber</h1>{PROSE}<div>Erstellt am: 31.01.2024</div>", "2024-01-31"),
        (f"<h1>Timber</h1>{PROSE}<div>Copyright © 31.01.2024 by the mill</div>", None),
        (f"<h1>Timber</h1>{PROSE.replace('spring', 'spring, on 31 January 2024')}", None),
        (f"<h1>Timber</h1>{PROSE}{'<i></i>' * 1000}<div>31.01.2024</div>", None),
    ],
)
def test_an_undeclared_date_is_that_of_a_short_line_near_the_headline(page: str, date: str | None) -> None:
    assert read_metadata(f"<title>Timber</title><body>{page}").date == date


@pytest.mark.parametrize(
    ("raw", "date"),
    [
        ("20240131", "2024-01-31"),
        ("2024/1/5", "2024-01-05"),
        ("2024年1月5日", "2024-01-05"),
        ("31.1.2024", "2024-01-31"),
        ("31/01/2024", "2024-01-31"),
        ("01/31/2024 8:00", "2024-01-31"),
        ("05/05/2024", "2024-05-05"),
        ("03/04/2024", None),
        ("26.10.13", None),
        ("Mittwoch, 5. M\u00e4rz 2014", "2014-03-05"),
        ("1er juillet 2020", "2020-07-01"),
        ("5 de enero de 2020", "2020-01-05"),
        ("30 giugno 2021", "2021-06-30"),
        ("15 \u0430\u0432\u0433\u0443\u0441\u0442\u0430 2016, 13:43", "2016-08-15"),
        ("7 pa\u017adziernika 2019", "2019-10-07"),
        ("5 maj 2020", "2020-05-05"),
        ("31 Smarch 2024", None),
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


@pytest.mark.parametrize(
    ("url", "date"),
    [
        ("https://example.org/2024/01/31/timber", "2024-01-31"),
        ("https://example.org/news/2024-1-31-timber.html", "2024-01-31"),
        ("https://example.org/20240131-timber", "2024-01-31"),
        ("https://example.org/2024/01/timber", None),
        ("https://example.org/202401311", None),
        ("https://example.org/2024/13/31/timber", None),
    ],
)
def test_dates_in_addresses(url: str, date: str | None) -> None:
    assert date_in_address(url) == date


@given(st.text(alphabet="<>/meta tile=\"'contprgy:20-4", max_size=300))
def test_any_text_has_metadata_or_none(page: str) -> None:
    found = read_metadata(page)
    assert found.title is None or found.title == " ".join(found.title.split())
    assert found.date is None or normalise_date(found.date) == found.date


LD_JSON = '<script type="application/ld+json">'


@pytest.mark.parametrize(
    "unit",
    (
        *("<meta ", "<meta a='", '<meta a="', "<meta content=''>", "<title", "<html ", "<time ", "<time datetime="),
        *(
            "<link ",
            "<link rel=canonical ",
            "canonical",
            'rel="author"',
            '<a rel="author">',
            '<i class="date">',
            "date",
        ),
        *(LD_JSON, LD_JSON + "[", LD_JSON + "</script>", LD_JSON + '{"@type":"Article","a":[]}</script>', "<i class="),
    ),
)
def test_repeated_fragments_cost_linear_time(unit: str) -> None:
    source = (unit * (4_000_000 // len(unit))).encode()
    text = blocks_engine().extract(source)
    began = time.process_time()
    read_beside(source, text, "https://example.org/")
    assert time.process_time() - began < 1  # with a quadratic pattern this takes minutes


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
        ('<body><span class="author vcard">by <a href="/ada">Ada Brook</a></span>', "Ada Brook"),
        ('<body><p class="author">Von Ada Brook am 31. Januar 2024</p>', "Ada Brook"),
        ('<body><p class="comment-author">Bo Lund</p><label class="author">Name</label>', None),
        (
            '<meta name="citation_author" content="Ada Brook"><meta name="citation_author" content="Bo Lund">',
            "Ada Brook; Bo Lund",
        ),
        ('<meta name="author" content="Ada Brook and Bo Lund">', "Ada Brook; Bo Lund"),
        ('<meta name="author" content="Marks and Sons">', "Marks and Sons"),
        ('<meta name="author" content="Ada Brook &lt;ada@example.org&gt;">', "Ada Brook"),
        ('<meta name="author" content="Ada Brook, ada@example.org">', "Ada Brook"),
        (
            '<meta name="twitter:label1" content="Written by"><meta name="twitter:data1" content="Ada Brook">',
            "Ada Brook",
        ),
        (f'<meta name="author" content="{"Ada " * 60}">', None),
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


def test_references_are_followed_and_other_pages_are_not() -> None:
    graph = (
        '{"@graph": [{"@type": "WebPage", "mainEntity": '
        '{"@type": "https://schema.org/Article", "author": {"@id": "#a"}}},'
        '{"@type": "Person", "@id": "#a", "name": "Ada Brook"}]}'
    )
    assert read_metadata(script(graph)).author == "Ada Brook"
    teasers = '{"@type": "ItemList", "itemListElement": [{"@type": "Article", "author": "Bo Lund"}]}'
    assert read_metadata(script(teasers)).author is None
    publisher = '{"@type": "Article", "author": {"name": "The Pier"}, "publisher": {"name": "The Pier"}}'
    assert read_metadata(script(publisher)).author is None


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
    heavy = '<script type="application/ld+json">{"a": "' + "x" * 200_000 + '"}</script>'
    assert read_metadata(heavy * 6 + script('{"@type": "Article", "author": "Ada Brook"}')).author is None
    crowd = "[" + "{}," * 5000 + '{"@type": "Article", "author": "Ada Brook"}]'
    assert read_metadata(script(crowd)).author is None


def test_the_day_in_the_address_is_the_publishers_own() -> None:
    tagged = '<meta property="article:published_time" content="2024-02-01T02:00:00Z">'
    assert read_metadata(tagged, "https://example.org/2024/01/31/timber").date == "2024-01-31"
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

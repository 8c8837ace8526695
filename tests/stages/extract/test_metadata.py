"""Title and publication date as pages declare them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.dates import normalise_date
from stages.extract.metadata import clean_title, read_metadata


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
        '<time datetime="2020-01-01"></time>{"datePublished":"2021-01-01"}'
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

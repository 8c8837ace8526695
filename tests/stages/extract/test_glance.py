"""The look at a page before extraction: sees text, never markup, and judges only what is beyond doubt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.engines import Toolbox
from stages.extract.glance import ENOUGH, LIMIT, glance, surely_unwanted
from stages.extract.page import extract_page, shared_tools

GERMAN = "Der Fischer fuhr am frühen Morgen hinaus auf den See, und seine Frau wartete am Ufer auf ihn. "
ENGLISH = "The fisherman went out on the lake early in the morning, and his wife waited for him on the shore. "
SHUT = ("script", "style", "noscript", "template", "svg", "SCRIPT")


@pytest.mark.parametrize("name", SHUT)
def test_elements_without_text_are_left_out(name):
    page = f"<html><head><title>no</title></head><body>seen <{name} a='1'>hidden </p> text</{name}> too</body>"
    assert glance(page.encode()).split() == ["seen", "too"]


def test_comments_tags_and_entities_are_left_out_and_blanks_collapsed():
    page = b"<body>one<!-- > hidden -->\n\n two&nbsp;three <a href='x'>four</a>&#x30E1;"
    assert glance(page).split() == ["one", "two", "three", "four"]


@pytest.mark.parametrize("page", [b"", b"<", b"<body", b"<body><!--", b"<body>x<script>", b"<body>&", b"<body>x</"])
def test_a_page_that_ends_in_the_middle_of_something_is_survived(page):
    assert glance(page).strip() in ("", "x")


@given(st.binary(max_size=3000))
def test_any_bytes_give_a_bounded_text(page):
    assert len(glance(page).encode()) <= LIMIT


@given(
    st.lists(st.sampled_from(["<", ">", "</", "<!--", "-->", "<script>", "</script>", "é", "字", "&", ";", " ", "a"]))
)
def test_any_markup_gives_text_without_angle_brackets_that_opened(parts):
    assert "<" not in glance("".join(parts).encode())


def test_only_enough_text_wholly_in_other_languages_is_refused():
    assert surely_unwanted(GERMAN * 10, ("en",)) == "de"
    assert surely_unwanted(GERMAN * 10, ("de", "en")) is None
    assert surely_unwanted(GERMAN * 10, ()) is None
    assert surely_unwanted((GERMAN * 10)[: ENOUGH - 10], ("en",)) is None
    assert surely_unwanted(ENGLISH * 10, ("en",)) is None
    assert surely_unwanted(GERMAN * 6 + ENGLISH * 6, ("en",)) is None


def test_a_refused_page_is_not_extracted_and_says_its_language():
    tools = Toolbox(shared_tools().child, refuse_at_a_glance=lambda text: surely_unwanted(text, ("en",)))
    page = f"<html><body><p>{GERMAN * 10}</p></body></html>".encode()
    found = extract_page(page, "text/html; charset=utf-8", "cascade", tools)
    assert (found.engine, found.refused_language) == ("glance", "de")
    kept = extract_page(page, "text/html; charset=utf-8", "resiliparse", tools)
    assert (kept.engine, kept.refused_language) == ("resiliparse", None)

"""What makes a page dangerous is seen before it is parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.hazards import (
    LIBXML2_DEPTH,
    WORKER_ATTRIBUTES,
    WORKER_BYTES,
    WORKER_DEPTH,
    Hazards,
    clamp_spans,
    look_for_hazards,
)


@pytest.mark.parametrize(
    ("page", "depth"),
    [
        (b"", 0),
        (b"<div>" * 300, 300),
        (b"<div></div>" * 300, 1),
        (b"<div></x>" * 300, 300),
        (b"<DIV></div>" * 300, 1),
        (b"<p>a<br><img src=x><li>b<td>c" * 300, 0),
        (b"<section><p>" * 10 + b"</section>" * 10, 10),
        (b"<h1>x</h1>" * 50, 1),
        (b"1 < 2 << 3 <>< / <!-- -->", 0),
        (b"<", 0),
        (b"</", 0),
        (b"<custom-element>" * 20, 20),
    ],
)
def test_nesting_is_counted_from_above(page: bytes, depth: int) -> None:
    assert look_for_hazards(page).depth == depth


@pytest.mark.parametrize(
    ("page", "attributes"),
    [
        (b"<a b c d>", 3),
        (b"<a" + b" x=1" * 5000 + b">", 5000),
        (b"<p <1 <2 <3>", 3),
        (b"a b c d", 0),
        (b"<i/><b/a/b>", 2),
    ],
)
def test_attributes_are_counted_from_above(page: bytes, attributes: int) -> None:
    assert look_for_hazards(page).attributes == attributes


@pytest.mark.parametrize(
    ("hazards", "safe", "deep"),
    [
        (Hazards(LIBXML2_DEPTH, 0, 0), True, False),
        (Hazards(LIBXML2_DEPTH + 1, 0, 0), True, True),
        (Hazards(WORKER_DEPTH, WORKER_ATTRIBUTES, WORKER_BYTES), True, True),
        (Hazards(WORKER_DEPTH + 1, 0, 0), False, True),
        (Hazards(0, WORKER_ATTRIBUTES + 1, 0), False, False),
        (Hazards(0, 0, WORKER_BYTES + 1), False, False),
    ],
)
def test_each_limit_counts_on_its_far_side_only(hazards: Hazards, safe: bool, deep: bool) -> None:
    assert (hazards.safe_in_worker, hazards.too_deep_for_libxml2) == (safe, deep)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<td colspan="9007199254740991">', '<td colspan="1000">'),
        ("<td ROWSPAN = 99999>", "<td ROWSPAN = 1000>"),
        ("<td colspan='999'>", "<td colspan='999'>"),
        ("<td colspan='1000'>", "<td colspan='1000'>"),
        ("<td colspan=1" + "0" * 5000 + ">", "<td colspan=1000>"),
        ("the year 12345", "the year 12345"),
    ],
)
def test_huge_spans_are_clamped_and_nothing_else_is_touched(before: str, after: str) -> None:
    assert clamp_spans(before) == after


@given(st.binary(max_size=400) | st.text(alphabet="<>/ divp=\"'!-1", max_size=400).map(str.encode))
def test_any_bytes_are_scanned_within_their_bounds(page: bytes) -> None:
    hazards = look_for_hazards(page)
    assert 0 <= hazards.depth <= page.count(b"<")
    assert 0 <= hazards.attributes <= len(page)

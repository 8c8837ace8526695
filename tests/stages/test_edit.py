"""Line editing: each line rule on both sides of its bound, presets, counts, and the emptied document."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.schema import TRAVEL
from stages.edit import LINE_RULES, PRESETS, Edit


def edit(text: str, **settings: Any) -> tuple[str, dict[str, int]]:
    result, counts = Edit(**settings).edit(pa.array([text], pa.large_string()))
    return result[0].as_py(), {name.removeprefix("edit_lines_"): int(n[0]) for name, n in counts.items() if n[0]}


PROSE = "This line is good prose."


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("javascript", "Please enable JavaScript to go on."),
        ("policy", "Read our Privacy Policy before you go."),
        ("policy", "This site uses cookies to work."),
        ("min_words", "Two words"),
        ("max_word_length", "a word " + "x" * 1001 + " too long"),
        ("max_word_length", "a word " + "é" * 1001 + " too long"),
        ("colon", "The following three things:"),
        ("colon", "The following three things："),
    ],
)
def test_the_wanjuan_preset_drops(rule: str, line: str) -> None:
    assert edit(f"{PROSE}\n{line}") == (PROSE, {rule: 1})
    kept, counts = edit(f"{PROSE}\n{line}", disable=(rule,))
    assert kept.endswith(line) and not counts


@pytest.mark.parametrize(
    "line",
    [
        "Three words here",
        "The policy on privacy is long.",
        "Java scripts are no concern.",
        "a word " + "x" * 1000 + " long enough",
        "a word " + "é" * 1000 + " long enough",
        "No stop at the end of it",
        "See note [12] for more on it.",
        "He used cookiesheets all day.",
    ],
)
def test_the_wanjuan_preset_keeps(line: str) -> None:
    assert edit(f"{PROSE}\n\n{line}") == (f"{PROSE}\n\n{line}", {})


def test_lines_keep_their_indent_and_the_text_begins_without() -> None:
    code = "  for row in rows:\n    for cell in row:  \n\t\tprint (a cell)"
    assert edit(code) == ("for row in rows:\n    for cell in row:\n\t\tprint (a cell)", {})
    assert edit(f"x\n  {PROSE}\n  y\n    {PROSE}")[0] == f"{PROSE}\n    {PROSE}"


@pytest.mark.parametrize(
    ("line", "expected", "rule"),
    [
        ("It has no end here", "", "terminal"),
        ("It trails off here...", "", "terminal"),
        ("It says “so it is.”", "It says “so it is.”", None),
        ("It asks 'is it?'", "It asks 'is it?'", None),
        ("It is known[12] to be [citation needed] so.[3]", "It is known to be so.", "citation"),
        ("History of the thing [edit]", "", "terminal"),
        ("[1]", "", "citation"),
        ("[12 ] and [x] both stay.", "[12 ] and [x] both stay.", None),
    ],
)
def test_the_c4_preset_follows_c4(line: str, expected: str, rule: str | None) -> None:
    assert edit(line, preset="c4") == (expected, {rule: 1} if rule else {})


def test_paragraphs_survive_the_loss_of_lines_between_them() -> None:
    text = f"short\n\n{PROSE}\nmenu item\n\n\n  another menu\n{PROSE}\nlast\n"
    assert edit(text) == (f"{PROSE}\n\n{PROSE}", {"min_words": 4})


def test_last_lines_go_until_none_ends_in_a_colon() -> None:
    assert edit(f"{PROSE}\n\nOne of these here:\nTwo of these here:") == (PROSE, {"colon": 2})
    assert edit("All of it ends:") == ("", {"colon": 1})


def test_the_least_number_of_words_can_be_set() -> None:
    assert edit("one two three four", min_words=4) == ("one two three four", {})
    assert edit("one two three four", min_words=5) == ("", {"min_words": 1})


def test_an_emptied_document_is_rejected_and_keeps_its_text() -> None:
    columns = {field.name: pa.nulls(4, field.type) for field in TRAVEL}
    texts = ["Home\nAbout", PROSE, "", None]
    batch = pa.table(columns | {"content": pa.array(texts, pa.large_string())}, schema=TRAVEL)
    after = Edit().open(None)(batch)  # type: ignore[arg-type]
    assert after.column("reason").to_pylist() == ["edit/empty@1", None, "edit/empty@1", "edit/empty@1"]
    assert after.column("detail").to_pylist() == [
        "all 2 lines dropped",
        None,
        "all 0 lines dropped",
        "all 0 lines dropped",
    ]
    assert after.column("content").to_pylist() == texts
    assert {f"signals.{field.name}": field.type for field in after.schema.field("signals").type} == Edit().adds()


def test_an_unknown_line_rule_is_refused() -> None:
    with pytest.raises(ValidationError):
        Edit(enable=("terminals",))  # type: ignore[arg-type]


def test_the_presets_name_rules_that_exist() -> None:
    names = {rule.name for rule in LINE_RULES}
    assert all(preset <= names for preset in PRESETS.values())


@given(
    st.lists(
        st.sampled_from([PROSE, "menu", "", " ", "a b c:", "x y [1] z.", "Use cookies now please.", "ü"]), max_size=12
    )
)
def test_editing_again_changes_nothing_and_lines_keep_their_order(lines: list[str]) -> None:
    once, _ = edit("\n".join(lines), preset="c4", enable=("colon",))
    assert edit(once, preset="c4", enable=("colon",)) == (once, {})
    kept = [line for line in once.split("\n") if line]
    places = iter([line.replace(" [1]", "") for line in lines])
    assert all(line in places for line in kept)

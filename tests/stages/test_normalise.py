"""Normalisation: what each edit does, that it is counted, and that doing it twice changes nothing."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.schema import TRAVEL
from stages.normalise import COUNTS, Normalise, compose, decode_entities, normalise
from stages.normalise_kernel import INERT


def one(text: str) -> tuple[str, dict[str, int]]:
    result, counts = normalise(pa.array([text], pa.large_string()))
    return result[0].as_py(), {name.removeprefix("normalise_"): int(n[0]) for name, n in counts.items() if n[0]}


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        ("clean already.\n\nTwo paragraphs.", "clean already.\n\nTwo paragraphs.", {}),
        ("", "", {}),
        (" \n\t ", "", {"newlines": 1, "spaces": 3}),
        ("  a  b  \n   c ", "a b\n   c", {"spaces": 6}),
        ("a\u00a0b\u3000\u2003c", "a b c", {"spaces": 3}),
        ("a \t b\tc", "a\tb\tc", {"spaces": 2}),
        ("a\n\nb", "a\n\nb", {}),
        ("a\n\n\nb", "a\n\nb", {"newlines": 1}),
        ("a\n \n\t\n \nb", "a\n\nb", {"newlines": 2, "spaces": 3}),
        ("a\r\nb\rc\u2028d\x0ce\x85f", "a\nb\nc\nd\ne\nf", {"line_breaks": 5}),
        ("a\r\n\r\n\r\nb", "a\n\nb", {"line_breaks": 3, "newlines": 1}),
        ("a\u200bb\u00adc\ufeffd\x00e\x07f\u202eg\U000e0041", "abcdefg", {"invisible": 7}),
        ("x\u200dy", "xy", {"invisible": 1}),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469", {}),
        ("می\u200cخواهم", "می\u200cخواهم", {}),
        ("cafe\u0301", "café", {"nfc": 1}),
        ("e\u200b\u0301", "é", {"invisible": 1, "nfc": 1}),
        ("a&nbsp;&amp;&#8230;&lt;b&gt;", "a &…<b>", {"entities": 5, "spaces": 1}),
        ("&amp;amp;amp;nbsp;x &amp;lt;", "x <", {"entities": 2, "spaces": 1}),
        ("R&D, a=1&copy=2 &unknown; &", "R&D, a=1&copy=2 &unknown; &", {}),
        ("&amp;\u200bamp;&am\u200bp;", "&&", {"invisible": 2, "entities": 3}),
        ("&#0;&#xD800;&#x110000;", "\ufffd" * 3, {"entities": 3}),
    ],
)
def test_each_edit_is_made_and_counted(text: str, expected: str, counts: dict[str, int]) -> None:
    assert one(text) == (expected, counts)


MESSY = st.lists(
    st.one_of(
        st.sampled_from(
            [
                " ",
                "\n",
                "\t",
                "\r\n",
                "\u00a0",
                "\u200b",
                "\u200d",
                "e",
                "\u0301",
                "&amp;",
                "amp;",
                "&lt;",
                "&#38;",
                "ㄱ",
                "ᄀ",
                "ᅡ",
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=40,
).map("".join)


@given(st.lists(MESSY, max_size=5))
@example(["\u1fef\u200d", "\u212b\u200d", "가\u11a8", "\u2000a"])
def test_normalising_again_changes_nothing(texts: list[str]) -> None:
    once, _ = normalise(pa.array(texts, pa.large_string()))
    twice, counts = normalise(once)
    assert twice.equals(once)
    assert not any(values.any() for values in counts.values())
    for text in once.to_pylist():
        assert unicodedata.is_normalized("NFC", text)
        assert text == text.strip(" \n\t")
        assert not any(bad in text for bad in ("\n\n\n", " \n", "\t\n", "\r", "\u00a0", "\ufeff", "\x00"))
        assert not any("  " in line.lstrip(" \t") for line in text.split("\n"))


@pytest.mark.parametrize(
    ("text", "wanted", "spaces"),
    [
        ("def f():\n    return 1\n\n\tpass", "def f():\n    return 1\n\n\tpass", 0),
        ("a\r\n \t b  c  \n   \n  d ", "a\n \t b c\n\n  d", 7),
        ("  a\n\u3000\u3000b\n \u00a0 c", "a\nb\n  c", 5),
        ("a\n\u200b  b", "a\n  b", 0),
    ],
)
def test_lines_keep_the_plain_blanks_they_begin_with(text: str, wanted: str, spaces: int) -> None:
    found, counts = one(text)
    assert (found, counts.get("spaces", 0)) == (wanted, spaces)


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N")), max_size=60))
def test_letters_and_digits_are_only_composed(text: str) -> None:
    assert one(text)[0] == unicodedata.normalize("NFC", text)


def test_the_ranges_said_to_be_inert_are() -> None:
    forms = [unicodedata.normalize("NFD", chr(p)) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    seconds = {form[-1] for form in forms if len(form) > 1}
    for first, last in INERT:
        for character in map(chr, range(first, last + 1)):
            assert unicodedata.is_normalized("NFC", character), hex(ord(character))
            assert not unicodedata.combining(character) and character not in seconds, hex(ord(character))


@pytest.mark.parametrize("unit", ["&amp;", "&", "amp;", " ", "\n", "\r", "e\u0301", "\u0301", "&#38;#", "\u200b"])
def test_a_megabyte_of_one_thing_is_no_trap(unit: str) -> None:
    once, _ = one(unit * (1_000_000 // len(unit)))
    assert len(once) <= 1_000_000


def test_entities_and_composition_report_what_they_did() -> None:
    assert decode_entities("&lt;&amp;lt;&nope;") == ("<<&nope;", 2)
    assert compose("abc") == ("abc", 0)


def test_the_stage_adds_what_it_declares_and_keeps_null() -> None:
    columns = {field.name: pa.nulls(3, field.type) for field in TRAVEL}
    batch = pa.table(columns | {"content": pa.array(["a  b", None, "c"], pa.large_string())}, schema=TRAVEL)
    after = Normalise().open(None)(batch)  # type: ignore[arg-type]
    assert after.column("content").to_pylist() == ["a b", None, "c"]
    assert after.schema.field("content").type == pa.large_string()
    assert {f"signals.{field.name}": field.type for field in after.schema.field("signals").type} == Normalise().adds()
    assert set(Normalise().adds()) == {f"signals.{name}" for name in COUNTS}

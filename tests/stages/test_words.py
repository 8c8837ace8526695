"""The word list: tokenising, phrases, and the ratio rule on both sides of its bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import StageError
from stages.word_hash import hash_words
from stages.words import UNSAFE_WORDS, WordIndex, Words


class Files:
    """Resources of a stage that needs local files only."""

    def scorer(self, model):
        raise LookupError(model)

    def local_path(self, location: str) -> Path:
        return Path(location)


def batch(texts) -> pa.Table:
    empty = pa.nulls(len(texts), pa.string())
    columns = {"content": pa.array(texts, pa.large_string()), "outcome": empty, "reason": empty}
    return pa.table({**columns, "detail": pa.nulls(len(texts), pa.large_string())})


def run(tmp_path, entries: str, texts, **settings) -> pa.Table:
    (tmp_path / "list.txt").write_text(entries, encoding="utf-8")
    stage = Words(bundled=False, lists=(str(tmp_path / "list.txt"),), **settings)
    return stage.open(Files())(batch(texts))


def counts(entries: list[str], text: str) -> tuple[int, int, int, int]:
    found, _ = WordIndex.build(entries).count(pa.array([text], pa.large_string()))
    return tuple(found[0].tolist())


def same(a: str, b: str) -> bool:
    return hash_words(a).tolist() == hash_words(b).tolist()


def test_words_are_split_at_everything_that_is_no_letter_or_digit():
    assert same("One, two;three", "one two three")
    assert same("Janet\u2019s “ducks”\u2014lay\u00a016\u3000eggs!", "janet s ducks lay 16 eggs")
    assert same("a😀b", "a b")
    assert not same("ab", "a b")
    assert len(hash_words("")) == len(hash_words(" \n.")) == 0


def test_capitals_count_as_small_letters_in_latin_greek_and_cyrillic():
    assert same("ÉCOLE ÀÖÞ ΩΣ ЖЁЯ ABC", "école àöþ ωσ жёя abc")
    assert not same("ecole", "école")


def test_chinese_characters_and_kana_are_words_of_their_own():
    assert len(hash_words("今天很好。ab")) == 5
    assert len(hash_words("カタカナ")) == 4


def test_only_whole_words_count():
    assert counts(["ass"], "Ass, passes; class ass") == (4, 2, 2, 1)


def test_phrases_count_their_words_and_the_longest_entry_wins():
    assert counts(["blue", "blue waffle"], "a Blue-Waffle and a blue car") == (7, 3, 2, 2)
    assert counts(["a b c"], "a b a b c") == (5, 3, 1, 1)
    assert counts(["a b", "b c"], "a b c") == (3, 2, 1, 1)


def test_an_empty_text_has_the_ratio_zero(tmp_path):
    out = run(tmp_path, "bad\n", ["", None, "..."])
    assert [tuple(row.values()) for row in out["signals"].to_pylist()] == [(0, 0)] * 3
    assert out["outcome"].null_count == 3


def test_the_ratio_must_be_exceeded_and_enough_different_entries_must_occur(tmp_path):
    entries = "one\ntwo\nthree\n"
    at_bound = "one two three " + "word " * 297  # 3 of 300 words: exactly 0.01
    above = "one two three " + "word " * 296
    repeated = "one two one two one two " + "word " * 10
    out = run(tmp_path, entries, [at_bound, above, repeated])
    assert out["reason"].to_pylist() == [None, UNSAFE_WORDS, None]
    assert out["detail"].to_pylist()[1] == "0.0100 of 299 words: one, two, three"
    assert out["outcome"].to_pylist() == [None, "rejected", None]


def test_min_hits_can_be_lowered(tmp_path):
    texts = ["one two " + "word " * 10]
    assert run(tmp_path, "one\ntwo\n", texts, min_hits=2)["reason"].to_pylist() == [UNSAFE_WORDS]
    assert run(tmp_path, "one\ntwo\n", texts, min_hits=3)["reason"].to_pylist() == [None]


def test_signals_have_the_declared_types(tmp_path):
    out = run(tmp_path, "bad\n", ["bad word here and there"])
    declared = {name.removeprefix("signals."): kind for name, kind in Words().adds().items()}
    assert {field.name: field.type for field in out["signals"].type} == declared
    assert out["signals"].to_pylist() == [{"unsafe_word_ratio": pytest.approx(0.2), "unsafe_word_count": 1}]


def test_the_bundled_list_turns_down_pages_of_smut_and_no_others():
    smut = "horny milf porn with bdsm orgy and hentai " * 5 + "for you to watch now " * 10
    medicine = "Breast cancer and sexual health: the penis, the vagina and the rectum are examined by a doctor. " * 5
    out = Words().open(Files())(batch([smut, medicine]))
    assert out["reason"].to_pylist() == [UNSAFE_WORDS, None]


def test_a_stage_without_words_is_an_error():
    with pytest.raises(StageError, match="no words"):
        Words(bundled=False).open(Files())


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "a " * 500_000, "a b " * 250_000, " " * 1_000_000, "好" * 300_000, "é" * 500_000]
)
def test_a_megabyte_of_the_same_is_counted_in_one_pass(text):
    words, covered, hits, different = counts(["a b c d", "a a a a a b"], text)
    assert words == len(hash_words(text))
    assert (covered, hits, different) == (0, 0, 0)


@given(
    st.lists(st.text(max_size=60), max_size=6),
    st.lists(st.text(alphabet="ab é", min_size=1, max_size=8), min_size=1, max_size=5),
)
@settings(max_examples=150)
def test_counts_are_consistent_on_any_text(texts, entries):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    found, shown = WordIndex.build(entries).count(pa.array(texts, pa.large_string()))
    assert found.shape == (len(texts), 4)
    words, covered, hits, different = found.T
    assert ((different <= hits) & (hits <= covered) & (covered <= words)).all()
    assert [len(hash_words(text)) for text in texts] == words.tolist()
    assert ((shown >= 0).sum(1) == np.minimum(different, 5)).all()


@given(st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=30))
@settings(max_examples=100)
def test_single_words_are_counted_as_python_counts_them(words):
    listed = {"two", "four"}
    hits = [word for word in words if word in listed]
    assert counts(sorted(listed), " ".join(words)) == (len(words), len(hits), len(hits), len(set(hits)))

"""How texts are cut and tokenised: exact on known texts, safe on any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality_models.function_words import FUNCTION_WORDS
from quality_models.views import VIEWS, grammar_view, words_view
from quality_models.windows import Windows, combine_windows, cut_windows

ANY_TEXT = st.text(alphabet=st.characters(), max_size=300)  # every code point, lone surrogates too


def test_the_words_view_is_small_letters_marks_and_no_numbers() -> None:
    tokens = words_view("Save 50% NOW! Only £9.99 — don’t wait…\nCafé #1").split()
    assert [token.decode() for token in tokens] == [
        "save", "%", "now", "!", "only", "$", "don't", "wait", "café",
    ]  # fmt: skip


def test_the_grammar_view_keeps_function_words_and_hides_all_others() -> None:
    line = grammar_view("The dogs aren't RUNNING to 12,345 Cats.\nNot now.\n\nEnd").decode()
    assert line == "the ~gs aren't ^^ng to 00 , 000 ^ts . |1| not now . |2| ^nd"


def test_the_grammar_view_does_not_see_the_topic() -> None:
    assert grammar_view("The old dog barks at the tall man.") == grammar_view("The cold fog sparks at the small van.")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("text", ["", " \t ", "\u00a0", "\ufeff"])
def test_a_text_without_tokens_is_an_empty_line(view: str, text: str) -> None:
    assert VIEWS[view](text) == b""


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("text", ["</s> word", "__label__yes word", "a __label__no"])
def test_text_cannot_speak_fasttext(view: str, text: str) -> None:
    assert not {b"</s>", b"__label__yes", b"__label__no"} & set(VIEWS[view](text).split())


@given(ANY_TEXT)
def test_any_text_becomes_one_valid_line(text: str) -> None:
    for view in VIEWS.values():
        line = view(text)
        line.decode("utf-8")
        assert b"\n" not in line
        assert line == line.strip()


@given(st.binary(max_size=200))
def test_the_kernel_stays_inside_its_output_for_any_bytes(data: bytes) -> None:
    from quality_models import views
    from quality_models.grammar_kernel import write_tokens

    kinds, table = views._byte_kinds(), views._function_word_table()
    out = np.full(4 * len(data) + 8 + 64, 0xAA, np.uint8)  # 64 bytes behind the room that the view gives
    used = write_tokens(np.frombuffer(data, np.uint8), kinds, table, out)
    assert used <= 4 * len(data) + 8
    assert (out[used:] == 0xAA).all()


def test_every_function_word_is_found_by_the_kernel() -> None:
    for word in sorted(FUNCTION_WORDS - {"n't"}):
        assert grammar_view(word) == word.encode()
        assert grammar_view(word.upper()) == word.encode()


def test_a_word_of_a_million_letters_becomes_many_short_tokens() -> None:
    line = grammar_view("a" * 1_000_000)
    assert max(map(len, line.split())) <= 3


def test_a_short_text_is_its_own_only_window() -> None:
    assert cut_windows("short text", Windows()) == ["short text"]
    assert cut_windows("", Windows()) == [""]


def test_a_long_text_shows_head_middle_and_tail() -> None:
    text = "head " * 400 + "middle " * 400 + "tail " * 400
    windows = cut_windows(text, Windows(count=3, characters=500))
    assert [window.split()[0] for window in windows] == ["head", "middle", "tail"]
    assert all(len(window) <= 500 for window in windows)
    assert windows[0].startswith("head")
    assert windows[-1].rstrip().endswith("tail")


@given(ANY_TEXT, st.integers(1, 5), st.integers(50, 80))
def test_windows_are_pieces_of_the_text_and_never_too_many(text: str, count: int, size: int) -> None:
    windows = cut_windows(text * 3, Windows(count=count, characters=size))
    assert 1 <= len(windows) <= count
    assert all(window in text * 3 and len(window) <= size for window in windows)


def test_windows_fold_into_documents_by_max_or_mean() -> None:
    values = np.array([0.1, 0.9, 0.2, 0.5])
    assert combine_windows(values, [2, 1, 1], combine="max").tolist() == [0.9, 0.2, 0.5]
    assert combine_windows(values, [2, 1, 1], combine="mean").tolist() == [0.5, 0.2, 0.5]
    assert combine_windows(np.zeros(0), [], combine="max").tolist() == []

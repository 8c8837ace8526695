"""The line judge: what the kernel counts, and which lines it keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import ModelError
from stages.extract.engines import fast_markup
from stages.extract.line_features import FEATURES, features
from stages.extract.line_judge import judge, probabilities, read_weights, shipped_weights
from stages.extract.line_kernel import (
    CHARACTERS,
    COMMAS,
    ENDING,
    HEADING,
    ITEM,
    KIND,
    LINK_WORDS,
    LINKS,
    PARAGRAPH,
    PREFORMATTED,
    TEXT,
    UPPER,
    WORD_WEIGHT,
    WORDS,
    bucket_of,
    read_lines,
)

NO_WEIGHTS = np.zeros(4, np.float32)


def lines_of(markup: str) -> list[str]:
    text, spans, _ = read_lines(markup, NO_WEIGHTS)
    return [text[start:end].decode() for start, end in spans.tolist()]


@pytest.mark.parametrize(
    ("markup", "lines"),
    [
        ('<h1>Title</h1>\n\n<p>One <a href="/x?a>b">two</a>.</p>', ["Title", "One two."]),
        ("<p>a &lt;b&gt; &amp;amp; &quot;c&quot; &copy; &</p>", ['a <b> &amp; "c" &copy; &']),
        ("<ul>\n  <li>first</li>\n  <li>second</li>\n</ul>", ["first", "second"]),
        ("<pre>  kept\n    indent</pre>", ["  kept", "    indent"]),
        ("one<br>\ntwo\n\n\n---\nthree", ["one", "two", "three"]),
        ("“quoted” don’t… stop", ["“quoted” don’t… stop"]),
        ("tail <a", ["tail"]),
        ("<", []),
        ("&l", ["&l"]),
        ("", []),
    ],
)
def test_tags_go_and_the_words_stay(markup: str, lines: list[str]) -> None:
    assert lines_of(markup) == lines


def test_the_counts_of_a_line_are_what_a_reader_would_count() -> None:
    _, _, counts = read_lines("<p>The NATO, said <a href=''>Anna Berg</a>, has 31 members.</p>", NO_WEIGHTS)
    row = counts[0]
    assert [row[at] for at in (WORDS, LINK_WORDS, LINKS, COMMAS, UPPER)] == [8, 2, 1, 2, 1]
    assert row[ENDING] == 1
    assert row[CHARACTERS] == len("The NATO, said Anna Berg, has 31 members.")


def test_kinds_of_lines_are_told_apart_and_links_end_with_their_line() -> None:
    markup = "<h2>h</h2>\n<p>p</p>\n<li>l</li>\n<pre>x\ny</pre>\nplain <a href=''>open\nfree"
    _, _, counts = read_lines(markup, NO_WEIGHTS)
    assert counts[:, KIND].tolist() == [HEADING, PARAGRAPH, ITEM, PREFORMATTED, PREFORMATTED, TEXT, TEXT]
    assert counts[:, LINK_WORDS].tolist() == [0, 0, 0, 0, 0, 1, 0]


def test_chinese_characters_count_as_half_words() -> None:
    _, _, counts = read_lines("今天的天气很好。", NO_WEIGHTS)
    assert counts[0, WORDS] == 4
    assert counts[0, ENDING] == 1


def test_words_get_their_weight_whatever_their_case() -> None:
    weights = np.arange(4096, dtype=np.float32)
    _, _, counts = read_lines("Share\nSHARE\nshare", weights)
    assert len(set(counts[:, WORD_WEIGHT].tolist())) == 1
    assert 0 <= bucket_of(np.uint64(2**64 - 1), 4096) < 4096


@settings(max_examples=300)
@given(st.text(alphabet="<>/apreli h1&;ltquom\"'\n\t .,é今“ ", max_size=200))
def test_any_markup_is_read_within_its_bounds(markup: str) -> None:
    text, spans, counts = read_lines(markup, NO_WEIGHTS)
    assert len(spans) == len(counts)
    edges = [0, *spans.ravel().tolist(), len(text)]
    assert edges == sorted(edges)
    assert (counts[:, WORDS] > 0).all()
    assert (counts[:, LINK_WORDS] <= counts[:, WORDS]).all()
    likely = probabilities(counts, shipped_weights())
    assert features(counts).shape == (len(counts), FEATURES)
    assert np.isfinite(likely).all()


@given(st.text(max_size=200))
def test_text_without_markup_keeps_its_visible_characters(text: str) -> None:
    plain = "".join(c for c in text if c not in "<>&" and (c.isalnum() or c in " \n"))
    kept = [line for line in plain.split("\n") if any((c.isascii() and c.isalnum()) or ord(c) > 0x2100 for c in line)]
    found = lines_of(plain)
    assert all(line.rstrip() in plain for line in found)
    assert len(found) >= len(kept)


def test_prose_is_kept_and_furniture_is_not(article_page: bytes) -> None:
    judged = judge(fast_markup(article_page.decode(), wide=True))
    assert "sold their catch from the pier" in judged.text
    assert "drifted ashore" in judged.text
    for furniture in ("Subscribe to our newsletter", "Privacy policy", "Share this", "Home"):
        assert furniture not in judged.text
    assert judged.confidence > 0.8
    assert abs(judged.words - len(judged.text.split())) <= 3


def test_a_page_is_judged_the_same_at_any_time(article_page: bytes) -> None:
    markup = fast_markup(article_page.decode(), wide=False)
    first = judge(markup)
    judge("<p>something else entirely</p>")
    assert judge(markup) == first


def test_nothing_is_judged_to_be_nothing() -> None:
    judged = judge("<a href=''></a>")
    assert (judged.text, judged.words, judged.confidence) == ("", 0, 0.0)


@pytest.mark.parametrize(("copies", "times"), [(1, 1), (2, 1), (3, 3)])
def test_a_text_that_stands_twice_on_its_page_is_kept_once(copies: int, times: int, sentences: list[str]) -> None:
    body = "".join(f"<p>{sentence}</p>\n" for sentence in sentences)
    judged = judge(body * copies)
    assert [judged.text.count(sentence) for sentence in sentences] == [times] * len(sentences)


def test_a_sentence_or_two_said_twice_are_no_copy(sentences: list[str]) -> None:
    body = "".join(f"<p>{sentence}</p>\n" for sentence in [*sentences, *sentences[:2]])
    assert judge(body).text.count(sentences[0]) == 2


def test_weights_of_another_layout_never_reach_the_compiled_loops() -> None:
    document = {"words": [0.0] * 8, "inner": [[0.0] * 3] * 5, "inner_bias": [0.0] * 3, "outer": [0.0] * 3}
    with pytest.raises(ModelError, match="do not fit"):
        read_weights(json.dumps({**document, "outer_bias": 0.0}))

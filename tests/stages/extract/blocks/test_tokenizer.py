"""The tokenizer: what is text, where blocks end, what a tag closes, and that no page is too odd or takes too long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.blocks.columns import HIDDEN, MOST, PRE, Block, Element, Ending, Limit, Span, SpanKind
from stages.extract.blocks.lexicon import KEYWORDS
from stages.extract.blocks.memory import Register
from stages.extract.blocks.tags import TAG_NAMES, hash_name
from stages.extract.blocks.tokenizer import Page, Tokenizer, tokenize
from tests.stages.extract.blocks.fuzz import PIECES, SEEDS, TOKENS, check_page


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


def texts(page: Page) -> list[str]:
    return [page.block_text(row) for row in range(len(page.blocks))]


def tag_of(page: Page, row: int) -> str:
    return TAG_NAMES[int(page.elements[page.blocks[row, Block.ELEMENT], Element.TAG])]


@pytest.mark.parametrize(
    ("html", "blocks"),
    [
        ("<p>one<p>two", ["one", "two"]),
        ("  a \n\t b  ", ["a b"]),
        ("a<br>b<br><br>c", ["a\nb", "c"]),
        ("a<br> <br/>b", ["a", "b"]),
        ("<br><br>a<br>", ["a"]),
        ("<b>bo</b>ld <i>x</i>", ["bold x"]),
        ("<ul><li>1<li>2</ul>3", ["1", "2", "3"]),
        ("<pre>\n  a\n\n\tb \n</pre>", ["  a\n\n\tb"]),
        ("<pre>a<br>b</pre>", ["a\nb"]),
        ("a<script>b<p>c</script>d", ["ad"]),
        ("a<script src=x />b</script>c", ["ac"]),  # its end tag comes next: not empty
        ("a<script src=x /><p>b</p>", ["a", "b"]),
        ("a<iframe src=x /> b", ["a b"]),
        ("a<iframe> b", ["a b"]),  # an end that is missing
        ("a<script> b", ["a"]),
        ("a<style>x</STYLE >b", ["ab"]),
        ("a<scripty>b</scripty>", ["ab"]),
        ("a<!-- > b -->c", ["ac"]),
        ("a<!-->b", ["ab"]),
        ("a<!-- b <p>c", ["a b", "c"]),
        ("a<!doctype x>b<?php y ?>c", ["abc"]),
        ("a<![CDATA[b", ["ab"]),
        ("1 < 2 <3", ["1 < 2 <3"]),
        ("x</>y</ z>w", ["xyw"]),
        ("<p title='a>b'>c", ["c"]),
        ('<p title="a>b', ["b"]),  # a quote that nobody closes
        ("<a href=x/y>z</a>", ["z"]),
        ("a<div", ["a"]),
        ("<title>t &amp; u</title>x", ["x"]),
        ("<noscript>n</noscript>x", ["x"]),
        ("<select><option>1<option>2</select>x", ["x"]),
        ("<textarea>1</textarea>x", ["x"]),
        ("", []),
        ("<p> &nbsp;</p>", []),
    ],
)
def test_blocks_of_a_page(tokenizer, html, blocks):
    assert texts(tokenizer.read(html.encode())) == blocks


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("&amp;&lt;&gt;&quot;", '&<>"'),
        ("&eacute;&Eacute;&hellip;", "éÉ…"),
        ("&copy2020 &notin; &ampx", "©2020 ∉ &x"),
        ("&#65;&#x42;&#X43&#x1F600;", "ABC😀"),
        ("&#150;&#x92;", "–’"),
        ("&#0;&#xD800;&#x110000;&#99999999999999999;", "\ufffd\ufffd\ufffd\ufffd"),
        ("&unknown; & &; &#; &#x;", "&unknown; & &; &#; &#x;"),
        ("so&shy;ft a&#8203;b a\u00a0b", "soft a b a b"),
        ("a\x00\x01b", "a b"),
    ],
)
def test_characters_and_references(tokenizer, html, text):
    assert texts(tokenizer.read(f"<p>{html}".encode())) == [text]


def test_bytes_that_are_no_utf_8_are_replaced(tokenizer):
    assert texts(tokenizer.read(b"a\xffb\xe4\xb8c\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80")) == [
        "a\ufffdb\ufffd\ufffdc" + "\ufffd" * 9
    ]


def test_noscript_is_read_where_asked_for(tokenizer):
    page = b"<p>a</p><noscript><p>b</p></noscript>c"
    assert texts(tokenizer.read(page)) == ["a", "c"]
    assert texts(tokenizer.read(page, noscript=True)) == ["a", "b", "c"]


def test_what_is_counted(tokenizer):
    html = (
        "<title>The Lake House</title><p>The lake, and <a href=x>my Lake</a>: <b>wonderful</b> 12 | share! 中文。</p>"
    )
    page = tokenizer.read(html.encode())
    block = {column.name: int(page.blocks[0, column]) for column in Block}
    expected = {
        "WORDS": 10, "LINK_WORDS": 2, "CAPITALS": 2, "DIGITS": 1, "LONG_WORDS": 1, "BOILER_WORDS": 1, "TITLE_WORDS": 2,
        "CJK": 2, "SENTENCE_MARKS": 2, "COMMAS": 1, "PIPES": 1, "LINKS": 1, "LAST_MARK": Ending.SENTENCE, "BOLD": 9,
        "LINK_CHARACTERS": 6,
    }  # fmt: skip
    assert {name: block[name] for name in expected} == expected
    assert block["CHARACTERS"] == len("".join(texts(page)[0].split()))
    assert page.title_words == 2  # stop words are left out
    words = ("the", "lake", "and", "my", "lake", "wonderful", "12", "share", "中", "文")
    assert page.words.tolist() == [hash_name(word, points=True) for word in words]


@pytest.mark.parametrize(
    ("html", "tags"),
    [
        ("<div><p>a<div>b</div>c</div>", ["p", "div", "div"]),
        ("<h1>a<h2>b", ["h1", "h2"]),
        ("<ul><li>a<ul><li>b</ul>c</ul>d", ["li", "li", "li", "html"]),
        ("<table><tr><td>a<td>b<tr><th>c</table>d", ["td", "td", "th", "html"]),
        ("<div><table><tr><td>a</div>b</table>c</div>d", ["td", "td", "div", "html"]),  # a cell shields what is outside
        ("<table><tr><td>a<table><tr><td>b</table>c</table>", ["td", "td", "td"]),
        ("a</div></p></span>b", ["html", "html"]),
        ("<dl><dt>a<dd>b</dl>", ["dt", "dd"]),
        ("<body><p>a<body>b", ["p", "p"]),
    ],
)
def test_the_element_around_a_block(tokenizer, html, tags):
    page = tokenizer.read(html.encode())
    assert [tag_of(page, row) for row in range(len(page.blocks))] == tags


def test_class_names_are_cut_into_words(tokenizer):
    page = tokenizer.read(b"<div class='postBody x Side-bar2col' id=COMMENTS>a</div><p class=other>b")
    element = page.elements[page.blocks[0, Block.ELEMENT]]
    first = int(element[Element.FIRST_CLASS])
    words = page.classes[first : first + int(element[Element.CLASS_COUNT])].tolist()
    assert words == [hash_name(word) for word in ("post", "body", "side", "bar", "col", "comments")]
    bits = {name for at, name in enumerate(KEYWORDS) if element[Element.KEYWORDS] >> at & 1}
    assert {"article", "content", "sidebar", "comments"} <= bits
    other = page.elements[page.blocks[1, Block.ELEMENT]]
    assert page.classes[int(other[Element.FIRST_CLASS])] == hash_name("other")


@pytest.mark.parametrize(
    "attribute", ["hidden", "style='display: NONE'", 'style="x:y;visibility : hidden"', "style=display:none"]
)
def test_hidden_elements_hand_it_down(tokenizer, attribute):
    page = tokenizer.read(f"<div {attribute}><p>a</div><p>b".encode())
    flags = [int(page.elements[element, Element.FLAGS]) for element in page.blocks[:, Block.ELEMENT]]
    assert [flag & HIDDEN for flag in flags] == [HIDDEN, 0]
    shown = tokenizer.read(b"<div style='display:block;list-style:none'>a")
    assert shown.elements[shown.blocks[0, Block.ELEMENT], Element.FLAGS] == 0
    code = tokenizer.read(b"<pre><div>a")
    assert code.elements[code.blocks[0, Block.ELEMENT], Element.FLAGS] & PRE


def test_links_and_code_are_spans_even_across_blocks(tokenizer):
    page = tokenizer.read(b"<p>a <a href='/x?a=1&amp;b'>b c</a> <code>d</code><div><a href=y>e<p>f</p></a>g</div>")
    found = [
        (SpanKind(kind).name, bytes(page.text[start:end]), bytes(page.source[target:target_end]))
        for kind, start, end, target, target_end in page.spans.tolist()
    ]
    assert found == [
        ("LINK", b"b c", b"/x?a=1&amp;b"),
        ("CODE", b"d", b""),
        ("LINK", b"e", b"y"),
        ("LINK", b"f", b"y"),
    ]
    assert page.spans[:, Span.START].tolist() == sorted(page.spans[:, Span.START].tolist())


def test_a_page_leaves_no_trace_in_the_next_one(tokenizer):
    clean = tokenizer.read(SEEDS[0]).copy()
    for dirt in (b"<title>x<pre><a href=x><b><code>", b"<!--", b"<p title='", b"<script>", b"<div" + b"<div>" * 400):
        tokenizer.read(dirt)
        again = tokenizer.read(SEEDS[0])
        for name in ("text", "blocks", "elements", "words", "classes", "spans"):
            assert np.array_equal(getattr(clean, name), getattr(again, name)), name


@pytest.mark.parametrize(
    ("html", "limit"),
    [
        (b"<p>a" * (MOST[Limit.BLOCKS] + 5), Limit.BLOCKS),
        (b"<div>" * 300 + b"x", Limit.DEPTH),
        (b"<i></i><div></div>" * (MOST[Limit.ELEMENTS] + 5), Limit.ELEMENTS),
        (b"a " * (MOST[Limit.WORDS] + 5), Limit.WORDS),
        (b"<p class='" + b"ab " * (MOST[Limit.CLASSES] + 5) + b"'>x", Limit.CLASSES),
        (b"<a href=x>a</a>" * (MOST[Limit.SPANS] + 5), Limit.SPANS),
    ],
)
def test_a_page_beyond_a_limit_says_so(tokenizer, html, limit):
    page = tokenizer.read(html)
    assert limit.name.lower() in page.capped.split(", ")
    assert len(page.blocks) <= MOST[Limit.BLOCKS]
    assert len(page.elements) <= MOST[Limit.ELEMENTS]
    assert tokenizer.read(b"<p>small").capped == ""


@pytest.mark.parametrize("piece", PIECES)
def test_long_runs_of_anything_keep_the_promises(tokenizer, piece):
    """That they take linear time too is measured in ``benchmarks/extraction_hostile.py``."""
    for prefix in (b"", b"<p>", b"<p "):
        check_page(tokenizer.read(prefix + piece * (200_000 // len(piece))))


@given(st.binary(max_size=2000))
def test_any_bytes_keep_the_promises(page):
    check_page(Tokenizer().read(page))


@given(st.lists(st.sampled_from([*TOKENS, b"word ", b"a", b". "]), max_size=80))
def test_any_markup_keeps_the_promises(parts):
    check_page(Tokenizer().read(b"".join(parts)))


def test_the_registers_know_where_the_page_ends(tokenizer):
    page = tokenizer.read(SEEDS[0])
    memory = tokenizer._memory
    tokenize(memory, tokenizer._tables, len(SEEDS[0]) - 40, False)
    assert memory.registers[Register.SIZE] == len(SEEDS[0]) - 40
    assert memory.registers[Register.TEXT] < len(page.text)

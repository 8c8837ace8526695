"""Kept blocks as text: every structure in plain lines and in Markdown."""

from __future__ import annotations

import numpy as np
import pytest

from stages.extract.blocks.render import linked_text, markdown, plain_text
from stages.extract.blocks.tokenizer import Page, Tokenizer


def read(html: str) -> tuple[Page, np.ndarray]:
    page = Tokenizer().read(html.encode())
    return page, np.ones(len(page.blocks), np.bool_)


@pytest.mark.parametrize(
    ("html", "plain", "marked"),
    [
        ("<h2>a  b</h2><p>c<p>d<br>e", "a b\nc\nd\ne", "## a b\n\nc\n\nd  \ne"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>d", "- a\n- b\n- c\nd", "- a\n- b\n   - c\n\nd"),
        ("<ol><li>a<li>b</ol>", "- a\n- b", "1. a\n2. b"),
        ("<ul><li><p>a</p><p>b</p></ul>", "- a\nb", "- a\n  b"),
        (
            "<table><tr><th>a<th>b|<tr><td>1<td>2<tr><td>3</table>",
            "a\tb|\n1\t2\n3",
            "| a | b\\| |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |",
        ),
        ("<table><tr><td><p>a</p><p>b</p><td><p>c</p></table>", "a\nb\nc", "a\n\nb\n\nc"),  # a table for layout
        ("<pre>if x:\n    y</pre>z", "if x:\n    y\nz", "```\nif x:\n    y\n```\n\nz"),
        ("<pre><div>a</div><div>  b</div></pre><pre>c", "a\n  b\nc", "```\na\n  b\n```\n\n```\nc\n```"),
        ("<pre>```</pre>", "```", "````\n```\n````"),
        ("<blockquote>a<br>b<p>c</blockquote>d", "a\nb\nc\nd", "> a  \n> b\n> c\n\nd"),
        ("use <code>f(x)</code> or <code>a`b</code>", "use f(x) or a`b", "use `f(x)` or ``a`b``"),
    ],
)
def test_structures(html, plain, marked):
    page, kept = read(html)
    assert plain_text(page, kept) == plain
    assert markdown(page, kept) == marked


def test_only_kept_blocks_are_written_and_an_item_without_its_first_block_has_no_mark():
    page, kept = read("<ul><li><p>a</p><p>b</p><li>c</ul>")
    kept[0] = False
    assert plain_text(page, kept) == "b\n- c"
    assert plain_text(page, ~kept) == "- a"
    assert plain_text(page, kept & False) == markdown(page, kept & False) == ""


@pytest.mark.parametrize(
    ("target", "written"),
    [
        ("/x?a=1&amp;b=2", "[t](http://example.org/x?a=1&b=2)"),
        ("y z", "[t](http://example.org/d/y%20z)"),
        ("a(b)", "[t](http://example.org/d/a%28b%29)"),
        ("javascript:alert(1)", "t"),
        ("data:text/html,x", "t"),
        ("http://[x", "t"),
        ("mailto:x@example.org", "[t](mailto:x@example.org)"),
    ],
)
def test_links_have_safe_absolute_targets(target, written):
    page, kept = read(f"<p>see <a href='{target}'>t</a>.")
    assert markdown(page, kept, links=True, base="http://example.org/d/") == f"see {written}."
    assert linked_text(page, kept, "http://example.org/d/") == f"see {written}."
    assert markdown(page, kept) == "see t."


def test_linked_text_has_the_lines_of_plain_text():
    page, kept = read("<ul><li>a<li><a href=x>b</a></ul><table><tr><td>1<td>2</table><p>c")
    assert linked_text(page, kept).replace("[b](x)", "b") == plain_text(page, kept)

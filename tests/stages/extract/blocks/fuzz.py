"""Damaged pages for the blocks engine, with bounds checks on: no access outside an array, no broken promise.

    python tests/stages/extract/blocks/fuzz.py --mutants 1000000 --seed 1 [--pages FOLDER_OF_HTML]

The checks of numba are compiled in by NUMBA_BOUNDSCHECK=1, which this script sets before it imports anything, with a
cache of its own. Exit code 1 and the seed of the mutant at the first failure.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ.setdefault("NUMBA_CACHE_DIR", tempfile.mkdtemp(prefix="boundscheck-"))

import numpy as np

from stages.extract.blocks.columns import Block, Element, Span
from stages.extract.blocks.engine import BlocksEngine, Options
from stages.extract.blocks.render import linked_text, markdown, plain_text
from stages.extract.blocks.tokenizer import Page, Tokenizer

TOKENS = (
    b'<', b'>', b'</', b'/>', b'<!--', b'-->', b'<![CDATA[', b'<?x', b'&', b'&#', b'&#x', b'&eacute', b'&copy2', b'"',
    b"'", b'=', b'\x00', b'\xff', b'\xe4\xb8', b'\xf0\x9f\x98', b'\xed\xa0\x80', b'<br><br>', b'<pre>', b'</pre>',
    b'<table><tr><td>', b'</td></table>', b'<li>', b'</div>', b"<div class='a-b postBody'>", b'<script>', b'</script',
    b'<style/>', b'<title>', b'</title>', b'<noscript>', b'<textarea>', b"<a href='", b'<code>', b'<h2>', b'<svg/>',
    b"<p style='display:none'>", b'\xe4\xb8\xad\xe6\x96\x87\xe3\x80\x82', b'   \n\t', b'<iframe />', b'<b>',
    b'<option>', b'<', b'&amp;', b'<p',
)  # fmt: skip
PIECES = (
    *(
        b"<!--",
        b"<!-",
        b"<script>",
        b"<svg>",
        b"<svg/>",
        b"<svg><!--",
        b"<iframe>",
        b"<![CDATA[",
        b"<title>",
        b"<p title='",
    ),
    *(b'<p title="', b"<p ", b"<p a=", b"<p class='a b c'>", b" a='b'", b"=", b"<", b"</", b"<x", b"<x/", b"&", b"&#x"),
    *(
        b"<div>",
        b"</div>",
        b"<div><p></div>",
        b"<li>",
        b"<td>",
        b"<table><td>",
        b"<a href=x>",
        b"<br>",
        b"<pre>\n",
        b"\xe4\xb8",
    ),
)
"""What a page may consist of, over and over, to make a careless reader take quadratic time."""
SEEDS = (
    b"<html><head><title>A day at the lake</title><style>p{}</style></head><body class='single post'><nav><ul>"
    b"<li><a href='/'>Home</a><li><a href=/about>About</a></ul></nav><article><h1>A day at the lake</h1>"
    b"<p>The fisherman went out early, and his wife waited on the shore.<br>It was cold.<br><br>Rain &amp; wind.</p>"
    b"<pre>\n  x = 1\n\ty</pre>"
    b"<table><tr><th>a<td>b<tr><td>1<td>2</table><ol><li>one<li>two <code>f(x)</code></ol></article>"
    b"<script>if (a < b) { document.write('<p>no</p>') }</script><footer>&copy; 2020 all rights</footer></body></html>",
    "<div class=\"thread\"><div class='post'>Été à la mer — «oui», dit-il; 中文也可以。</div><noscript><div class=post>"
    "more text, for readers without scripts.</div></noscript><iframe src=x /><p hidden>secret</p></div>".encode(),
    b"<dl><dt>term<dd>meaning, of the term.</dl><blockquote><p>quoted, twice.</blockquote><select><option>1</select>"
    * 3,
)


def mutate(page: bytes, other: bytes, chance: random.Random) -> bytes:
    """One page with one to eight damages."""
    data = bytearray(page)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.randint(1, 60))
        kind = chance.randrange(6)
        if kind == 0:
            data[at:at] = chance.choice(TOKENS)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = bytes(data[at:end]) * chance.randint(1, 5)
        elif kind == 3:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 4:
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + chance.randint(1, 200)]
        else:
            del data[at:]
    return bytes(data)


def check_page(page: Page) -> None:
    """What the tokenizer promises of any page. Raises AssertionError."""
    text, blocks, elements = page.text.tobytes(), page.blocks, page.elements
    text.decode()
    ends = blocks[:, Block.END]
    assert (blocks[:, Block.START] < ends).all() and (ends < max(1, len(text))).all() if len(blocks) else True
    assert (blocks[1:, Block.START] == ends[:-1] + 1).all() and (len(blocks) == 0 or len(text) == ends[-1] + 1)
    assert ((blocks[:, Block.ELEMENT] >= 0) & (blocks[:, Block.ELEMENT] < len(elements))).all()
    assert (blocks[:, Block.CHARACTERS] > 0).all() and (np.diff(blocks[:, Block.SOURCE_START]) > 0).all()
    for part in ("LINK_WORDS", "CAPITALS", "DIGITS", "LONG_WORDS", "STOP_WORDS", "BOILER_WORDS", "TITLE_WORDS", "CJK"):
        assert (blocks[:, Block[part]] <= blocks[:, Block.WORDS]).all(), part
    assert int(blocks[:, Block.WORDS].sum()) == len(page.words)
    assert (elements[1:, Element.PARENT] < np.arange(1, len(elements))).all() and (
        elements[1:, Element.PARENT] >= 0
    ).all()
    assert ((elements[:, Element.FIRST_CLASS] + elements[:, Element.CLASS_COUNT]) <= len(page.classes)).all()
    assert (page.spans[:, Span.START] < page.spans[:, Span.END]).all() and (page.spans[:, Span.END] <= len(text)).all()
    assert (page.spans[:, Span.TARGET] <= page.spans[:, Span.TARGET_END]).all()
    assert (page.spans[:, Span.TARGET_END] <= len(page.source)).all()


def check_engine(engine: BlocksEngine, tokenizer: Tokenizer, source: bytes) -> None:
    """Read, judge and write one page in every way."""
    page = tokenizer.read(source, noscript=len(source) % 2 == 0)
    check_page(page)
    likely = engine.likely(page)
    assert ((likely >= 0) & (likely <= 1)).all()
    everything = np.ones(len(page.blocks), np.bool_)
    written = plain_text(page, everything).split()
    assert [word for word in written if word != "-"] == [w for w in page.text.tobytes().decode().split() if w != "-"]
    markdown(page, everything, links=True, base="http://example.org/a/")
    linked_text(page, likely > 0.5)
    engine.extract(source, Options(mode="recall", comments=len(source) % 3 == 0))


def run(mutants: int, seed: int, seeds: tuple[bytes, ...]) -> None:
    """Check so many mutants. Raises at the first that breaks a promise, after printing how to make it again."""
    engine, tokenizer = BlocksEngine(), Tokenizer()
    for number in range(mutants):
        chance = random.Random(f"{seed}/{number}")
        page = mutate(chance.choice(seeds), chance.choice(seeds), chance)
        try:
            check_engine(engine, tokenizer, page)
        except BaseException:
            sys.stderr.write(f"mutant {number} of seed {seed}: {page!r}\n")
            raise


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", type=Path, help="folder of pages to damage as well")
    args = parser.parse_args()
    more = tuple(path.read_bytes()[:200_000] for path in sorted(args.pages.rglob("*.htm*"))) if args.pages else ()
    run(args.mutants, args.seed, SEEDS + more)
    sys.stdout.write(f"{args.mutants} mutants, no promise broken\n")


if __name__ == "__main__":
    main()

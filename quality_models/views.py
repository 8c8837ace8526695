"""How a model sees a text: as a line of tokens, in one of two views.

``words``     lower-case words and the marks that advertisements and insults use (! ? $ %). No numbers: a table of
              results looks like nothing at all, and not like prices. For toxicity, adult content, advertising.
``grammar``   only what carries grammar: function words as they are, every other word as its shape (capital or
              not) and last two letters, numbers by their length, punctuation and line breaks as tokens. Topic is
              invisible, so a model learns how sentences are built and not which subjects its training texts
              happened to have. For fluency.

A line is UTF-8 without newlines, ready for fastText, which splits it at spaces; it is empty when there is no token.
Cost: about 10 microseconds per thousand characters for ``words``, 15 for ``grammar``. Both are functions of the text
alone; any input is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from quality_models.function_words import FUNCTION_WORDS

View = Literal["words", "grammar"]

# Typographic signs by the ASCII ones they stand for: pages differ in their habits, not in their meaning.
_PLAIN: Final = (
    (b"\xe2\x80\x99", b"'"), (b"\xe2\x80\x98", b"'"), (b"\xe2\x80\x9c", b'"'), (b"\xe2\x80\x9d", b'"'),
    (b"\xe2\x80\x93", b"-"), (b"\xe2\x80\x94", b"-"), (b"\xe2\x80\xa6", b"..."), (b"\xe2\x80\xa2", b"|"),
    (b"\xe2\x82\xac", b"$"), (b"\xc2\xa3", b"$"), (b"\xc2\xa0", b" "), (b"\xc2\xa9", b" "), (b"\xc2\xbb", b">"),
    (b"\xef\xbb\xbf", b""), (b"\xe2\x80\x8b", b""),
)  # fmt: skip
_MARKS: Final = (b"!", b"?", b"$", b"%")


def _words_table() -> bytes:
    """Byte to byte: small letters and bytes of other scripts stay, so do marks and apostrophes; the rest is space."""
    keep = b"abcdefghijklmnopqrstuvwxyz'*" + b"".join(_MARKS)
    return bytes(byte if byte >= 128 or byte in keep else 32 for byte in range(256))


_WORDS_TABLE: Final = _words_table()


def words_view(text: str) -> bytes:
    """The line of the ``words`` view."""
    # A star within a word hides a letter; before one it is a bullet or the mark of a form field.
    line = _plain(text.lower()).translate(_WORDS_TABLE).replace(b" *", b" ")
    for mark in _MARKS:
        line = line.replace(mark, b" " + mark + b" ")
    return line.strip()


def grammar_view(text: str) -> bytes:
    """The line of the ``grammar`` view. The first call in a process loads compiled code (0.1 s)."""
    from quality_models.grammar_kernel import write_tokens

    kinds, table = _byte_kinds(), _function_word_table()
    data = np.frombuffer(_plain(text) or b" ", np.uint8)
    out = np.empty(4 * len(data) + 8, np.uint8)
    return out[: write_tokens(data, kinds, table, out)].tobytes().strip()


def _plain(text: str) -> bytes:
    # A lone surrogate has no UTF-8 form, and is no part of any word either.
    data = text.encode("utf-8", "ignore")
    if not text.isascii():
        for sign, plain in _PLAIN:
            data = data.replace(sign, plain)
    return data


@cache
def _byte_kinds() -> NDArray[np.uint8]:
    from quality_models.grammar_kernel import DIGIT, LETTER, NEWLINE, OTHER, SPACE

    kinds = np.full(256, OTHER, np.uint8)
    kinds[[byte for byte in range(256) if byte >= 128 or chr(byte).isalpha()]] = LETTER
    kinds[48:58] = DIGIT
    kinds[:33] = SPACE
    kinds[[95, 127]] = SPACE
    kinds[10] = NEWLINE
    return kinds


@cache
def _function_word_table() -> NDArray[np.uint64]:
    from quality_models.grammar_kernel import hash_word

    table = np.zeros(2048, np.uint64)
    for word in sorted(FUNCTION_WORDS):
        data = np.frombuffer(word.encode(), np.uint8)
        value = int(hash_word(data, 0, len(data)))
        place = value & 2047
        while table[place]:
            place = (place + 1) & 2047
        table[place] = value
    return table


VIEWS: Final[dict[View, Callable[[str], bytes]]] = {"words": words_view, "grammar": grammar_view}

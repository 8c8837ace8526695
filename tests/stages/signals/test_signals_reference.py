"""The kernel against the same definitions written naively, on generated text: exact equality of every count."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.signals import SIGNALS, count_fields, measure
from stages.signals.stop_words import ENGLISH, GOPHER

BULLETS = "•‣▶◀◦■□▪▫–"
TERMINALS = ".!?\"'’”。！？"
STOPS = ".!?‼⁇⁈⁉։؟۔।॥።។៕。！．？｡"
BREAKS = ".!?,;–—•|/…。！？，；、"
ENTITIES = "nbsp|lt|gt|amp|quot|apos|copy|reg|hellip|ldquo|rdquo|ndash|mdash"
INVISIBLE = re.compile("[\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff]")
GARBAGE = re.compile("[\ufffd\u25a1\ue000-\uf8ff\U000f0000-\U0010ffff]")
CJK = ((0x3005, 0x3007), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
       (0x20000, 0x3FFFF))  # fmt: skip


def category(character: str) -> str:
    return unicodedata.category(character)[0]


def is_cjk(character: str) -> bool:
    return category(character) in "LN" and any(first <= ord(character) <= last for first, last in CJK)


def in_word(character: str) -> bool:
    return category(character) in "LNM" and not is_cjk(character)


def holds(before: str, mark: str, after: str) -> bool:
    if not in_word(after):
        return False
    if mark in "'’":
        return category(before) == category(after) == "L"
    if mark in ".,/:-":
        return category(before) == category(after) == "N"
    return mark == "_"


def words_and_marks(text: str) -> list[tuple[str, bool]]:
    """(string, whether it is a word)."""
    found, at = [], 0
    while at < len(text):
        start, here = at, text[at]
        if here.isspace():
            at += 1
            continue
        if is_cjk(here):
            at += 1
        elif in_word(here):
            at += 1
            while at < len(text) and (
                in_word(text[at])
                or (
                    at + 1 < len(text)
                    and category(text[at]) not in "LNM"
                    and holds(text[at - 1], text[at], text[at + 1])
                )
            ):
                at += 1
        else:
            while at < len(text) and text[at] == here:
                at += 1
        found.append((text[start:at], is_cjk(here) or in_word(here)))
    return found


def longest_run(text: str) -> int:
    best = 0
    for line in text.split("\n"):
        run = 0
        for piece, word in words_and_marks(line):
            run = run + 1 if word else 0 if piece[0] in BREAKS else run
            best = max(best, run)
    return best


def lower(character: str) -> str:
    return character.lower() if len(character.lower()) == 1 else character


def normalised_words(text: str) -> list[str]:
    raw = text.split()
    kept = ["".join(lower(c) for c in w if c not in string.punctuation and category(c) != "P") for w in raw]
    return [word for word in kept if word]


def tokens(text: str) -> int:
    total = 0
    for piece, word in words_and_marks(text):
        if not word:
            total += -(-len(piece) // 4)
        elif is_cjk(piece[0]):
            total += 1
        else:
            letters = any(category(c) == "L" for c in piece)
            total += -(-len(piece) // (7 if letters and ord(piece[0]) < 0x370 else 3))
    return total + len(re.findall(r"\n\s*", text))


def top_gram(pieces: list[str], n: int) -> int:
    grams = [tuple(pieces[at : at + n]) for at in range(len(pieces) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(" ".join(gram)) * count


def duplicate_grams(pieces: list[str], n: int) -> int:
    seen, characters, at = set(), 0, 0
    while at + n <= len(pieces):
        gram = tuple(pieces[at : at + n])
        if gram in seen:
            characters += len("".join(gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return characters


def duplicates(things: list[str]) -> tuple[int, int]:
    repeated = [thing for at, thing in enumerate(things) if thing in things[:at]]
    return len(repeated), sum(map(len, repeated))


def paragraphs(text: str) -> list[str]:
    stripped = "\n".join(line.strip() for line in text.split("\n"))
    return [block.strip("\n") for block in re.split(r"\n\n+", stripped) if block.strip("\n")]


def share(above: int, below: int) -> float:
    return float(np.float32(above / below)) if below else 0.0


def reference(text: str) -> dict[str, float]:
    pieces = words_and_marks(text)
    words = [piece for piece, word in pieces if word]
    both = [piece for piece, _ in pieces]
    raw, normal = text.split(), normalised_words(text)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    n, total = len(text), len(both)
    hashes, ellipses = text.count("#"), text.count("...") + text.count("…")
    curly = text.count("{") + text.count("}")
    entities = len(re.findall(f"[&＆](?:(?i:{ENTITIES})|#[0-9]{{1,7}}|#[xX][0-9a-fA-F]{{1,7}})[;；]", text))
    tags = len(re.findall(r"(?i)</?(?:img|p|o:p)[ />]", text))
    garbage = len(GARBAGE.findall(text)) + len(re.findall(r"<\|[A-Za-z_]{1,32}\|>", text))
    garbage += len(re.findall(r"\\[uU][0-9a-fA-F]{4}", text))
    stops = [word for word in normal if word in ENGLISH]
    duplicate_lines, line_characters = duplicates(lines)
    blocks = paragraphs(text)
    duplicate_blocks, block_characters = duplicates(blocks)
    values: dict[str, float] = {
        "byte_count": len(text.encode()),
        "character_count": n,
        "line_count": len(lines),
        "paragraph_count": len(blocks),
        "sentence_count": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "raw_word_count": len(raw),
        "normalised_word_count": len(normal),
        "word_count": len(words),
        "mark_count": total - len(words),
        "longest_word": max(map(len, raw), default=0),
        "token_count": tokens(text),
        "mean_word_length": share(sum(map(len, normal)), len(normal)),
        "unique_word_fraction": share(len(set(normal)), len(normal)),
        "stop_word_count": len(stops),
        "stop_word_fraction": share(len(stops), len(normal)),
        "gopher_stop_words": len(set(normal) & set(GOPHER)),
        "alpha_word_fraction": share(sum(any(c.isalpha() for c in w) for w in raw), len(raw)),
        "ascii_alpha_word_fraction": share(sum(bool(re.search("[A-Za-z]", w)) for w in raw), len(raw)),
        "alpha_token_fraction": share(sum(any(c.isalpha() for c in w) for w in words), total),
        "all_caps_word_fraction": share(sum(word.isupper() for word in words), len(words)),
        "longest_unpunctuated_run": longest_run(text),
        "non_alpha_fraction": share(sum(not c.isalpha() for c in text), n),
        "digit_fraction": share(sum(category(c) == "N" for c in text), n),
        "uppercase_fraction": share(sum(c.isupper() for c in text), n),
        "whitespace_fraction": share(sum(c.isspace() for c in text), n),
        "newline_fraction": share(text.count("\n"), n),
        "newline_word_ratio": share(text.count("\n"), total),
        "symbol_word_ratio": share(hashes + ellipses, len(raw)),
        "hash_word_ratio": share(hashes, total),
        "ellipsis_word_ratio": share(ellipses, total),
        "curly_bracket_count": curly,
        "curly_bracket_fraction": share(curly, n),
        "html_entity_fraction": share(entities, n),
        "html_tag_fraction": share(tags, n),
        "invisible_fraction": share(len(INVISIBLE.findall(text)), n),
        "garbage_fraction": share(garbage, n),
        "lorem_ipsum_count": len(re.findall(r"(?ai)lorem ipsum", text)),
        "javascript_count": len(re.findall(r"(?ai)javascript", text)),
        "is_only_url": len(raw) == 1 and bool(re.match(r"(?ai)https?://|www\.", raw[0])),
        "bullet_line_fraction": share(sum(line[0] in BULLETS for line in lines), len(lines)),
        "dash_line_fraction": share(sum(line[0] in BULLETS + "-" for line in lines), len(lines)),
        "ellipsis_line_fraction": share(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        "terminal_line_fraction": share(sum(line[-1] in TERMINALS for line in lines), len(lines)),
        "stop_line_fraction": share(sum(line[-1] in STOPS for line in lines), len(lines)),
        "short_line_fraction": share(sum(len(line) <= 30 for line in lines), len(lines)),
        "duplicate_line_fraction": share(duplicate_lines, len(lines)),
        "duplicate_line_character_fraction": share(line_characters, n),
        "fineweb_duplicate_fraction": share(line_characters, sum(map(len, lines))),
        "duplicate_paragraph_fraction": share(duplicate_blocks, len(blocks)),
        "duplicate_paragraph_character_fraction": share(block_characters, n),
    }
    values |= {f"top_{k}_gram_fraction": share(top_gram(both, k), n) for k in (2, 3, 4)}
    return values | {f"duplicate_{k}_gram_fraction": share(duplicate_grams(both, k), n) for k in range(5, 11)}


def assert_same(texts: list[str]) -> None:
    measured = measure(pa.array(texts, pa.large_string()))
    assert list(measured) == list(SIGNALS)
    for at, text in enumerate(texts):
        expected = reference(text)
        got = {name: values[at].item() for name, values in measured.items()}
        assert got == expected, (text, {k: (got[k], expected[k]) for k in got if got[k] != expected[k]})


_SNIPPETS = """
the The be of and cat dog don't it’s 3.14 1,000 13:30 2018-06-18 snake_case a b c … ... .... ! ? !? # ## - – • □ ■ — | /
{ } &nbsp; ＆amp； &#8230; &#x2026; &bogus; <p> </p> <img <o:p> <pre> <|im_end|> \\ud83d \\u12 lorem LOREM
ipsum javascript JavaScript http://a.b www.c.d 你好 カタカナ 한국어 ไทย नमस्ते Ⅷ ½ é e\u0301 ß İ ǅ Σς
\u200b \ufeff \ufffd \ue000
“q” 'q' 。 ？ WORD ABC Ab \U0001f600 \U00020000 \u3007 _ __ a_ _a x__y 1.a a.1
"""
_BLANKS = [" ", "\n", "\n\n", "\t", " \n ", "", "\r", "\u00a0", "\u3000"]
TEXTS = st.lists(
    st.one_of(st.sampled_from(_SNIPPETS.split()), st.sampled_from(_BLANKS), st.text(max_size=4)), max_size=60
).map("".join)
REPETITIVE = st.lists(st.sampled_from(["a", "b", "a b", "x.", "\n", "a b c d e f"]), max_size=120).map(" ".join)


@settings(max_examples=150)
@given(st.lists(st.one_of(TEXTS, REPETITIVE), min_size=1, max_size=6))
@example(["", " ", "\n", "\n\n\n", "\x00\x00", "a", "lorem ipsum", "https://example.org/x", "...", "a\n \nb"])
@example(["a b " * 40, "one two three four five six. " * 9, "\n\n".join(["same words here", "other"] * 5)])
def test_the_kernel_agrees_exactly_with_the_naive_definitions(texts: list[str]) -> None:
    assert_same(texts)


@pytest.mark.parametrize("point_range", [(0, 0xD800), (0xE000, 0x10000), (0x10000, 0x32400), (0xE0000, 0xE0200)])
def test_every_code_point_is_classified_as_python_classifies_it(point_range: tuple[int, int]) -> None:
    texts = ["".join(map(chr, range(at, min(at + 64, point_range[1])))) for at in range(*point_range, 64)]
    measured = measure(pa.array(texts, pa.large_string()))
    for name, test in (
        ("non_alpha_fraction", lambda c: not c.isalpha()),
        ("whitespace_fraction", str.isspace),
        ("uppercase_fraction", str.isupper),
    ):
        expected = [share(sum(map(test, text)), len(text)) for text in texts]
        assert measured[name].tolist() == expected


def test_size_fields_are_those_of_the_text() -> None:
    text = "Two lines.\nCafé here"
    fields = count_fields(pa.array([text, "", None], pa.large_string()))
    assert {name: values.to_pylist() for name, values in fields.items()} == {
        "token_num": [tokens(text), 0, 0],
        "cbytes_num": [21, 0, 0],
        "line_num": [2, 0, 0],
        "char_num": [20, 0, 0],
    }
    assert all(values.type == pa.int32() for values in fields.values())

"""Every signal, in one place: name, unit, meaning. This list drives the columns, the documentation and the rule check.

A signal is a count (int32) or the quotient of two counts (float32, 0 where the divisor is 0). The counts are those of
``stages.signals.slots``. Words come in three kinds, because the published rules use different ones:

* raw words: what stands between blanks (``str.split``), as RedPajama-v2 has them;
* normalised words: raw words with punctuation (Unicode category P and ASCII symbols) deleted, in lower case; those of
  which nothing remains do not count. RedPajama-v2 also decomposes to NFD: it changes no comparison of NFC text, only
  the length of accented words, so it is left out;
* words and marks: a word is a run of letters, digits and accents, held together by an inner apostrophe (don't), low
  line (snake_case), or one of . , / : - between digits (3.14, 13:30, 2018-06-18); each Han, Hiragana or Katakana
  character is a word of its own; scripts without blanks (Thai, Lao, Khmer) are cut at blanks and punctuation only. A
  mark is a run of one repeated other character (``...``, ``!!!``). Hyphenated words are several words, as in
  datatrove's tokeniser, which the Gopher and FineWeb signals follow; it also cuts contractions, and this does not.

A line is what stands between newline characters, trimmed; blank lines do not count as lines, they part paragraphs.
Characters are code points.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal: ``count``, or ``count / per`` where ``per`` is given (names of ``stages.signals.slots``)."""

    name: str
    unit: str
    doc: str
    count: str
    per: str | None = None

    @property
    def type(self) -> pa.DataType:
        """int32 for a count, float32 for a quotient."""
        return pa.int32() if self.per is None else pa.float32()


_RATIO = "fraction"

_ALL = (
    # Sizes
    Signal("byte_count", "bytes", "Length in UTF-8.", "bytes"),
    Signal("character_count", "characters", "Length in code points. WanJuan metric: document length.", "characters"),
    Signal("line_count", "lines", "Lines that are not blank. WanJuan metric: number of lines.", "lines"),
    Signal("paragraph_count", "paragraphs", "Runs of lines between blank lines.", "paragraphs"),
    Signal(
        "sentence_count", "sentences",
        r"RedPajama-v2: matches of \b[^.!?]+[.!?]*, that is stretches free of . ! ? that hold a letter, a digit or _. "
        "WanJuan metric.", "sentences",
    ),
    Signal("raw_word_count", "words", "Raw words.", "raw_words"),
    Signal("normalised_word_count", "words", "Normalised words.", "normal_words"),
    Signal("word_count", "words", "Words, without marks: Gopher's document length.", "words"),
    Signal("mark_count", "marks", "Marks.", "marks"),
    Signal("longest_word", "characters", "Longest raw word.", "longest_raw_word"),
    Signal("token_count", "tokens", "The estimate that token_num holds. WanJuan metric: token length.", "tokens"),
    # Words
    Signal(
        "mean_word_length", "characters", "Mean length of normalised words (RedPajama-v2). WanJuan metric.",
        "normal_characters", "normal_words",
    ),
    Signal(
        "unique_word_fraction", _RATIO, "Different normalised words / normalised words. WanJuan metric.",
        "unique_words", "normal_words",
    ),
    Signal("stop_word_count", "words", "Normalised words in the project's English list.", "stop_words"),
    Signal(
        "stop_word_fraction", _RATIO, "Stop words / normalised words. WanJuan metric.", "stop_words", "normal_words",
    ),
    Signal(
        "gopher_stop_words", "words", "Different ones present of: the be to of and that have with (case ignored).",
        "gopher_stops",
    ),
    Signal("alpha_word_fraction", _RATIO, "Raw words with a letter / raw words.", "raw_words_letter", "raw_words"),
    Signal(
        "ascii_alpha_word_fraction", _RATIO, "Raw words with an ASCII letter / raw words: 1 - RedPajama-v2's no-alpha.",
        "raw_words_ascii", "raw_words",
    ),
    Signal(
        "alpha_token_fraction", _RATIO, "Words with a letter / (words + marks): Gopher's rule as datatrove has it.",
        "words_letter", "words_and_marks",
    ),
    Signal("all_caps_word_fraction", _RATIO, "Words for which str.isupper holds / words.", "words_caps", "words"),
    Signal(
        "longest_unpunctuated_run", "words",
        "Most words in a row without . ! ? , ; | / bullet, en or em dash, ellipsis, their CJK forms, or a newline.",
        "longest_run",
    ),
    # Characters
    Signal(
        "non_alpha_fraction", _RATIO, "Characters that are no letters / characters. WanJuan metric.",
        "non_letters", "characters",
    ),
    Signal("digit_fraction", _RATIO, "Characters of category N / characters.", "digits", "characters"),
    Signal("uppercase_fraction", _RATIO, "Upper-case characters / characters.", "uppercase", "characters"),
    Signal("whitespace_fraction", _RATIO, "Blank characters / characters.", "spaces", "characters"),
    Signal("newline_fraction", _RATIO, "Newline characters / characters.", "newlines", "characters"),
    Signal("newline_word_ratio", "newlines per word", "Newline characters / (words + marks): FineWeb's list ratio.",
           "newlines", "words_and_marks"),
    # Symbols
    Signal(
        "symbol_word_ratio", "symbols per word", "(# + ... + U+2026) / raw words. WanJuan metric.",
        "symbols", "raw_words",
    ),
    Signal("hash_word_ratio", "symbols per word", "# / (words + marks): Gopher.", "hashes", "words_and_marks"),
    Signal(
        "ellipsis_word_ratio", "symbols per word", "(... + U+2026) / (words + marks): Gopher.",
        "ellipses", "words_and_marks",
    ),
    Signal("curly_bracket_count", "characters", "{ and }.", "curly_brackets"),
    Signal("curly_bracket_fraction", _RATIO, "{ and } / characters.", "curly_brackets", "characters"),
    Signal(
        "html_entity_fraction", "entities per character",
        "Entities left undecoded (13 names, or numeric; & and ; also full-width) / characters.",
        "entities", "characters",
    ),
    Signal("html_tag_fraction", "tags per character", "Leftover img, p and o:p tags / characters.",
           "tags", "characters"),
    Signal(
        "invisible_fraction", _RATIO,
        "U+00A0, U+00AD, U+2000-200F, U+2028-202F, U+205F-206F, U+FEFF / characters.", "invisible", "characters",
    ),
    Signal(
        "garbage_fraction", "faults per character",
        "(U+FFFD, U+25A1 and private-use characters, chat control tokens, undecoded backslash-u escapes) / characters.",
        "garbage", "characters",
    ),
    Signal("lorem_ipsum_count", "phrases", "Occurrences of 'lorem ipsum', ASCII case ignored.", "lorem_ipsum"),
    Signal("javascript_count", "phrases", "Occurrences of 'javascript', ASCII case ignored.", "javascript"),
    Signal(
        "is_only_url", "0 or 1", "The whole text is one raw word that starts with http://, https:// or www.",
        "only_url",
    ),
    # Lines
    Signal("bullet_line_fraction", _RATIO, "Lines that start with one of RedPajama-v2's ten bullets / lines.",
           "bullet_lines", "lines"),
    Signal("dash_line_fraction", _RATIO, "Lines that start with such a bullet or a hyphen / lines: Gopher.",
           "dash_lines", "lines"),
    Signal("ellipsis_line_fraction", _RATIO, "Lines that end in ... or U+2026 / lines.", "ellipsis_lines", "lines"),
    Signal(
        "terminal_line_fraction", _RATIO, "Lines that end in . ! ? or a closing quote, curly and CJK too / lines.",
        "terminal_lines", "lines",
    ),
    Signal(
        "stop_line_fraction", _RATIO, "Lines that end in a sentence stop of any larger script / lines: FineWeb.",
        "stop_lines", "lines",
    ),
    Signal("short_line_fraction", _RATIO, "Lines of at most 30 characters / lines: FineWeb.", "short_lines", "lines"),
    # Repetition
    Signal("duplicate_line_fraction", _RATIO, "Lines seen before / lines.", "duplicate_lines", "lines"),
    Signal("duplicate_line_character_fraction", _RATIO, "Characters in lines seen before / characters.",
           "duplicate_line_characters", "characters"),
    Signal("fineweb_duplicate_fraction", _RATIO, "Characters in lines seen before / characters of all lines.",
           "duplicate_line_characters", "line_characters"),
    Signal("duplicate_paragraph_fraction", _RATIO, "Paragraphs seen before / paragraphs.",
           "duplicate_paragraphs", "paragraphs"),
    Signal("duplicate_paragraph_character_fraction", _RATIO, "Characters in paragraphs seen before / characters.",
           "duplicate_paragraph_characters", "characters"),
    *(
        Signal(f"top_{n}_gram_fraction", _RATIO,
               f"Characters in all occurrences of the most frequent {n}-gram of words and marks (the first one on "
               "ties; one blank between words) / characters.", f"top_{n}", "characters")
        for n in (2, 3, 4)
    ),
    *(
        Signal(f"duplicate_{n}_gram_fraction", _RATIO,
               f"Characters in {n}-grams of words and marks seen before, from left to right without overlap / "
               "characters.", f"duplicate_{n}", "characters")
        for n in range(5, 11)
    ),
)  # fmt: skip

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in _ALL}
"""Name to definition, in column order."""

FIELDS: dict[str, str] = {
    "token_num": "Tokens, estimated: a Latin word gives one token per 7 characters or part of it, a number or a word "
    "of another script one per 3, a CJK character one, a mark one per 4, a run of newlines one. Our choice, fitted to "
    "about 4.4 bytes per token of English web text, the figure published for WanJuan-CC.",
    "cbytes_num": "Bytes of the text in UTF-8.",
    "line_num": "Lines, blank ones included: newline characters + 1; 0 for an empty text.",
    "char_num": "Characters (code points).",
}
"""WanJuan-CC's four size fields: top-level int32 columns."""

"""The counts that the kernel makes of one text: their places in its output row, and their names.

Every signal is one of these counts or the quotient of two (see ``stages.signals.definitions``).
"""

from __future__ import annotations

NAMES = (
    "bytes", "characters", "newlines", "letters", "digits", "uppercase", "spaces", "curly_brackets", "hashes",
    "invisible", "garbage", "non_letters", "raw_words", "raw_words_ascii", "raw_words_letter", "longest_raw_word",
    "normal_words", "normal_characters", "unique_words", "stop_words", "gopher_stops", "words", "marks",
    "words_and_marks", "words_letter", "words_caps", "longest_run", "tokens", "sentences", "ellipses", "symbols",
    "entities", "tags", "lorem_ipsum", "javascript", "only_url", "lines", "bullet_lines", "dash_lines",
    "ellipsis_lines", "terminal_lines", "stop_lines", "short_lines", "line_characters", "duplicate_lines",
    "duplicate_line_characters", "paragraphs", "duplicate_paragraphs", "duplicate_paragraph_characters", "top_2",
    "top_3", "top_4", "duplicate_5", "duplicate_6", "duplicate_7", "duplicate_8", "duplicate_9", "duplicate_10",
)  # fmt: skip

(
    BYTES, CHARACTERS, NEWLINES, LETTERS, DIGITS, UPPERCASE, SPACES, CURLY_BRACKETS, HASHES, INVISIBLES, GARBAGES,
    NON_LETTERS, RAW_WORDS, RAW_WORDS_ASCII, RAW_WORDS_LETTER, LONGEST_RAW_WORD, NORMAL_WORDS, NORMAL_CHARACTERS,
    UNIQUE_WORDS, STOP_WORDS, GOPHER_STOPS, WORDS, MARKS, WORDS_AND_MARKS, WORDS_LETTER, WORDS_CAPS, LONGEST_RUN,
    TOKENS, SENTENCES, ELLIPSES, SYMBOLS, ENTITIES, TAGS, LOREM_IPSUM, JAVASCRIPT, ONLY_URL, LINES, BULLET_LINES,
    DASH_LINES, ELLIPSIS_LINES, TERMINAL_LINES, STOP_LINES, SHORT_LINES, LINE_CHARACTERS, DUPLICATE_LINES,
    DUPLICATE_LINE_CHARACTERS, PARAGRAPHS, DUPLICATE_PARAGRAPHS, DUPLICATE_PARAGRAPH_CHARACTERS, TOP_2, TOP_3, TOP_4,
    DUPLICATE_5, DUPLICATE_6, DUPLICATE_7, DUPLICATE_8, DUPLICATE_9, DUPLICATE_10,
) = range(len(NAMES))  # fmt: skip

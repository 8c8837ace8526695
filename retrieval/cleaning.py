"""What a model or an expansion wrote, made into queries or turned down, with the reason counted.

Reasons: ``empty``, ``garbled``, ``refusal``, ``preamble``, ``too_short``, ``too_long``, ``other_language``,
``copy_of_parent``, ``repeated`` (the same words as an earlier query), ``near_duplicate`` (Jaccard similarity of word
3-grams).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from corpus.settings import Settings
from llm.fence import neutralised
from retrieval.queries import Query, query_id, wording
from stages.dedup import Dedup
from stages.dedup.in_memory import deduplicate
from stages.language import identify_combined
from stages.normalise import compose
from stages.word_hash import hash_words

_MARKER: Final = re.compile(
    r"\s*(?:(?:[-*\u2022\u2023\u25aa\u2013>#]+|\(?\d{1,3}[.):]|[A-Za-z][.)]|(?:Q(?:uestion)?|A(?:nswer)?|Thought)\s*\d{0,3}\s*[:.)])\s+)+"
)
_REFUSAL: Final = re.compile(
    r"(?i)\b(?:as an ai|i(?:'|\u2019)?m sorry|i am sorry"
    r"|i (?:can(?:'|\u2019)?t|cannot|can not|am unable|won(?:'|\u2019)?t) "
    r"|unable to (?:assist|help|provide)|language model|i do(?: not|n(?:'|\u2019)t) have (?:access|enough)"
    r"|against my|not able to (?:help|assist))"
)
_PREAMBLE: Final = re.compile(
    r"(?i)\s*(?:sure|certainly|of course|here (?:are|is)|below (?:are|is)|okay|the following|these are|i hope)\b"
    r".{0,120}[:!.]?\s*\Z"
)
_QUOTES: Final = "\"'`*_\u201c\u201d\u2018\u2019\u00ab\u00bb "
NGRAM: Final = 3
_LEAST_PLAIN: Final = 0.6  # of the characters
_TELLING: Final = 5  # words from which on a language can be told


class Cleaning(Settings):
    """What may become a query. Our choices: the method's paper says only that queries are cleaned and deduplicated."""

    min_words: int = Field(default=2, ge=1)
    """Shorter queries are turned down."""
    max_words: int = Field(default=200, ge=1)
    """Longer ones too."""
    languages: tuple[str, ...] = ("en",)
    """Queries that are surely in none of these (ISO 639-1) are turned down; empty: all are taken."""
    jaccard: float = Field(default=0.7, gt=0, le=1)
    """Queries at least this similar to an earlier one, by word 3-grams, are turned down."""


def split_lines(text: str) -> Iterator[str]:
    """The items of a list that a model wrote, one per line, without markers, quotes and emphasis."""
    for line in text.splitlines():
        yield strip_marker(line)


def strip_marker(line: str) -> str:
    """A line without list marker, quotes and emphasis around it."""
    line = _MARKER.sub("", line.strip(), count=1) if _MARKER.match(line.strip()) else line.strip()
    return line.strip(_QUOTES)


def clean(drafts: Sequence[Query], pool: Sequence[Query], settings: Cleaning) -> tuple[list[Query], dict[str, int]]:
    """The drafts that are new and sound, with their final texts and ids, and how many were turned down for what.

    ``pool``: all queries so far. The earlier of two stays: the order of drafts decides.
    """
    parents = {query.id: query.text for query in pool}
    seen = {(query.domain, wording(query.text)) for query in pool}
    removed: Counter[str] = Counter()
    kept: list[Query] = []
    for draft in drafts:
        text = " ".join(compose(neutralised(draft.text))[0].split())
        key = (draft.domain, wording(text))
        fault = _fault(text, parents.get(draft.parent or "", ""), settings) or ("repeated" if key in seen else None)
        if fault:
            removed[fault] += 1
            continue
        seen.add(key)
        kept.append(draft._replace(text=text, id=query_id(draft.domain, text)))
    fresh = _without_near_duplicates(kept, pool, settings.jaccard)
    removed["near_duplicate"] += len(kept) - len(fresh)
    return fresh, {reason: count for reason, count in sorted(removed.items()) if count}


def _fault(text: str, parent: str, settings: Cleaning) -> str | None:
    words = len(hash_words(text))
    faults = {
        "empty": not words,
        "garbled": _is_garbled(text),
        "refusal": _REFUSAL.search(text),
        "preamble": _PREAMBLE.match(text),
        "too_short": words < settings.min_words,
        "too_long": words > settings.max_words,
        "copy_of_parent": wording(text) == wording(parent),
    }
    found = next((fault for fault, hit in faults.items() if hit), None)
    return found or ("other_language" if words >= _TELLING and _is_foreign(text, settings.languages) else None)


def _is_garbled(text: str) -> bool:
    """Bytes that were no UTF-8, or fewer letters, digits and blanks than a formula has."""
    plain = sum(character.isalnum() or character.isspace() for character in text)
    return "\ufffd" in text or plain < _LEAST_PLAIN * len(text)


def _is_foreign(text: str, languages: tuple[str, ...]) -> bool:
    if not languages:
        return False
    found = identify_combined(text)
    return found.reliable and found.share_of(languages) == 0


def _without_near_duplicates(fresh: list[Query], pool: Sequence[Query], jaccard: float) -> list[Query]:
    """Drop those that resemble an earlier query of their domain."""
    doomed: set[str] = set()
    for domain in {query.domain for query in fresh}:
        everything = [query for query in (*pool, *fresh) if query.domain == domain]
        table = pa.table(
            {
                "id": [query.id for query in everything],
                # the survivor of a group is its newest "crawl": here the earliest query
                "crawl": [f"{len(everything) - number:09d}" for number in range(len(everything))],
                "date": pa.nulls(len(everything), pa.string()),
                "content": pa.array([query.text for query in everything], pa.large_string()),
            }
        )
        verdicts = deduplicate([table], Dedup(ngram=NGRAM, jaccard=jaccard, bands=32, rows=4))
        removed = verdicts.filter(pc.is_in(verdicts.column("kind"), pa.array(["exact", "near"])))
        doomed.update(everything[row].id for row in removed.column("doc").to_pylist())
    return [query for query in fresh if query.id not in doomed]

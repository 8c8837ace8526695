"""The decisions: one JSON object per line and page, checked when it is read, and how a text is scored by it.

``id``, ``sha1`` of the bytes, ``segments`` and ``segments_sha1`` pin what was labelled. ``main`` and ``optional`` are
ranges of segment numbers (``3-17,20``); all other segments are no main text. Optional text counts neither way.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.labelled_pages.segments import Segment

TYPES = ("article", "forum", "product", "listing", "documentation", "encyclopedia", "other", "none")
FOLDER = Path(__file__).with_name("labels")
NOTHING = 20  # words that may be kept of a page without main text
_WORD = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


class DecisionError(ValueError):
    """A decision that cannot be meant."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is main text on one page. ``main``, ``optional``: numbers of segments, from 0."""

    id: str
    sha1: str
    segments: int
    segments_sha1: str
    type: str
    lang: str
    main: frozenset[int]
    optional: frozenset[int]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """Of a text. Where the page has no main text all three are 1 if next to nothing was kept, else 0."""

    f1: float
    precision: float
    recall: float


def read_decisions(folder: Path = FOLDER) -> list[Decision]:
    """All decisions, by file and line. Raises ``DecisionError`` with the place."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                found.append(parse(json.loads(line)))
            except (DecisionError, ValueError, KeyError, TypeError) as error:
                raise DecisionError(f"{path.name}:{number}: {error}") from None
    return found


def parse(row: dict[str, object]) -> Decision:
    """One line."""
    count, kind = int(str(row["segments"])), str(row["type"])
    main, optional = parse_ranges(str(row["main"]), count), parse_ranges(str(row["optional"]), count)
    if kind not in TYPES:
        raise DecisionError(f"unknown type {kind!r}: use one of {', '.join(TYPES)}")
    if main & optional:
        raise DecisionError(f"segments {sorted(main & optional)} are both main and optional")
    if (kind == "none") != (not main):
        raise DecisionError("a page has the type none if, and only if, it has no main text")
    return Decision(
        str(row["id"]), str(row["sha1"]), count, str(row["segments_sha1"]), kind, str(row["lang"]), main, optional,
        str(row.get("note", "")),
    )  # fmt: skip


def parse_ranges(text: str, count: int) -> frozenset[int]:
    """``"3-5,8"`` is {3, 4, 5, 8}. Ranges must ascend and lie below ``count``."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if match is None:
            raise DecisionError(f"{part!r} is no range")
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        if last < first or last >= count or (found and first <= found[-1]):
            raise DecisionError(f"range {part!r} does not ascend, or goes beyond the {count} segments of the page")
        found += range(first, last + 1)
    return frozenset(found)


def score(text: str, decision: Decision, segments: list[Segment]) -> Score:
    """Bags of words; a CJK character is a word. Words that only optional segments explain are taken out first."""
    main, optional = (
        Counter(_words(segments[at].text for at in sorted(chosen))) for chosen in (decision.main, decision.optional)
    )
    found = Counter(_words([text]))
    hits = found & main
    beyond = (found - hits) - optional
    if not main:
        nothing = float(beyond.total() < NOTHING)
        return Score(nothing, nothing, nothing)
    precision = hits.total() / max(1, hits.total() + beyond.total())
    recall = hits.total() / main.total()
    return Score(2 * precision * recall / (precision + recall) if hits else 0.0, precision, recall)


def _words(texts: object) -> Iterator[str]:
    for text in texts:  # type: ignore[attr-defined]
        yield from _WORD.findall(text.lower())

"""An engine's texts on the labelled pages: one figure for pages with main text, one for pages without."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.labelled_pages.decisions import Decision, read_decisions, score
from benchmarks.labelled_pages.pages import read_pages
from benchmarks.labelled_pages.segments import Segment, cut, digest


@dataclass(frozen=True, slots=True)
class Labelled:
    """A page, its segments, and what was decided on them."""

    id: str
    url: str
    body: bytes
    segments: list[Segment]
    decision: Decision


def load_labelled(data: Path) -> list[Labelled]:
    """All decided pages. Raises ``ValueError`` where a page is not the one that was decided on."""
    decisions = read_decisions()
    pages = read_pages(data, [decision.id for decision in decisions])
    found = []
    for decision in decisions:
        page = pages[decision.id]
        segments = cut(page.text)
        if page.sha1 != decision.sha1 or digest(segments) != decision.segments_sha1:
            raise ValueError(f"{decision.id} does not fit its decision: see python -m benchmarks.labelled_pages check")
        found.append(Labelled(page.id, page.url, page.body, segments, decision))
    return found


def labelled_figures(texts: list[str], labelled: list[Labelled]) -> dict[str, Any]:
    """Means over the pages with main text, also by kind; share of the pages without any of which nothing was kept."""
    scores = [score(text, page.decision, page.segments) for text, page in zip(texts, labelled, strict=True)]
    by_kind: dict[str, list[float]] = {}
    for one, page in zip(scores, labelled, strict=True):
        by_kind.setdefault(page.decision.type, []).append(one.f1)
    nothing = by_kind.pop("none", [])
    some = [one for one, page in zip(scores, labelled, strict=True) if page.decision.type != "none"]
    f1 = [one.f1 for one in some]
    draws = random.Random(0)
    means = sorted(statistics.fmean(draws.choices(f1, k=len(f1))) for _ in range(1000))
    return {
        "pages": len(some),
        "f1": statistics.fmean(f1),
        "f1_95": (means[25], means[975]),
        "precision": statistics.fmean(one.precision for one in some),
        "recall": statistics.fmean(one.recall for one in some),
        "pages_without": len(nothing),
        "kept_nothing": statistics.fmean(nothing),
        "by_kind": {kind: statistics.fmean(values) for kind, values in sorted(by_kind.items())},
    }

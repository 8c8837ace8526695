"""How well a model does on pages that it has not seen: word precision, recall and F1 of the text it would write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from quality_models.extractor.examples import Example
from stages.extract.blocks.render import plain_text
from stages.extract.blocks.select import select

_WORD = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Score:
    """Of one page. ``confidence``: the F1 that the model expected."""

    f1: float
    precision: float
    recall: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over ``pages`` with the 95 % bootstrap interval of F1."""

    pages: int
    f1: float
    low: float
    high: float
    precision: float
    recall: float


def overlap(found: str, reference: str) -> tuple[float, float, float]:
    """F1, precision and recall of two texts as bags of words; each CJK character is a word. Two empty texts agree."""
    one, other = Counter(_WORD.findall(found.lower())), Counter(_WORD.findall(reference.lower()))
    if not one or not other:
        same = float(not one and not other)
        return same, same, same
    shared = sum((one & other).values())
    precision, recall = shared / sum(one.values()), shared / sum(other.values())
    return 2 * precision * recall / (precision + recall) if shared else 0.0, precision, recall


def score_pages(examples: Sequence[Example], likely: Sequence[NDArray[np.float32]]) -> list[Score]:
    """Scores of the text that the balanced mode writes."""
    scores = []
    for example, chances in zip(examples, likely, strict=True):
        chosen = select(example.page, chances, "balanced", None)
        text = plain_text(example.page, chosen.kept)
        scores.append(Score(*overlap(text, example.reference), chosen.confidence))
    return scores


def summarise(scores: Iterable[Score]) -> Summary:
    """Means, and the interval of F1; seeded."""
    table = np.array([(s.f1, s.precision, s.recall) for s in scores])
    draws = np.random.default_rng(1).integers(len(table), size=(RESAMPLES, len(table)))
    low, high = np.quantile(table[draws, 0].mean(axis=1), [0.025, 0.975])
    f1, precision, recall = table.mean(axis=0)
    return Summary(len(table), *(round(float(x), 4) for x in (f1, low, high, precision, recall)))


def by(examples: Sequence[Example], scores: Sequence[Score], key: Callable[[Example], str]) -> dict[str, Summary]:
    """Summaries of the pages with the same key, largest group first."""
    groups: dict[str, list[Score]] = {}
    for example, score in zip(examples, scores, strict=True):
        groups.setdefault(key(example), []).append(score)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return {name: summarise(found) for name, found in ordered}


def confidence_table(scores: Sequence[Score]) -> list[dict[str, float]]:
    """Expected against measured F1, by bands of the expected: is the confidence worth its name?"""
    bands = []
    for low, high in ((0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
        inside = [score for score in scores if low <= score.confidence < high]
        if inside:
            expected = float(np.mean([score.confidence for score in inside]))
            measured = float(np.mean([score.f1 for score in inside]))
            bands.append({"from": low, "pages": len(inside), "expected": round(expected, 3), "f1": round(measured, 3)})
    return bands


def as_json(summaries: dict[str, Summary]) -> dict[str, dict[str, float]]:
    """For the report."""
    return {name: asdict(summary) for name, summary in summaries.items()}

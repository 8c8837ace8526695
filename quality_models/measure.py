"""How good a scorer is: ranking quality with bootstrap intervals, and how ordinary documents score.

Rank AUC is the chance that a positive scores above a negative (ties count half). Intervals are percentile bootstrap
(1,000 resamples of texts, fixed seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from quality_models.card import Bin, CleanCheck, CurvePoint, Metric

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


def auc(scores: Scores, positive: Labels) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney); nan when a class is missing."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def caught(scores: Scores, positive: Labels, *, threshold: float) -> float:
    """Share of positives that score at least ``threshold``."""
    return float((scores[positive] >= threshold).mean())


def false_alarms(scores: Scores, positive: Labels, *, threshold: float) -> float:
    """Share of negatives that score at least ``threshold``."""
    return float((scores[~positive] >= threshold).mean())


def precision(scores: Scores, positive: Labels, *, threshold: float) -> float:
    """Share of positives among what scores at least ``threshold``; 1 where nothing does."""
    past = scores >= threshold
    return float(positive[past].mean()) if past.any() else 1.0


def calibration_error(scores: Scores, positive: Labels, *, prior: float, bins: int = 10) -> float:
    """Expected calibration error over equal-width bins, with the positive class weighted to ``prior``."""
    weight = np.where(positive, prior / max(1, positive.sum()), (1 - prior) / max(1, (~positive).sum()))
    place = np.minimum((scores * bins).astype(np.intp), bins - 1)
    gap = np.bincount(place, weight * (scores - positive), minlength=bins)
    return float(np.abs(gap).sum() / weight.sum())


def reliability(scores: Scores, positive: Labels, *, prior: float, bins: int = 10) -> tuple[Bin, ...]:
    """Mean score and share of positives by tenths of the scale, the positive class weighted to ``prior``."""
    weight = np.where(positive, prior / max(1, positive.sum()), (1 - prior) / max(1, (~positive).sum()))
    place = np.minimum((scores * bins).astype(np.intp), bins - 1)
    found = []
    for number in range(bins):
        inside = place == number
        if inside.any():
            total = weight[inside].sum()
            mean, share = (weight * scores)[inside].sum() / total, (weight * positive)[inside].sum() / total
            found.append(Bin(low=number / bins, n=int(inside.sum()), score=_r(mean), share=_r(share)))
    return tuple(found)


def choose_threshold(in_order: Sequence[tuple[Scores, float]], *, worse_is_higher: bool) -> float:
    """The strictest bound in steps of 0.01 that passes, of each set of scores, all but at most the share beside it."""
    for step in range(1, 100):
        bound = step / 100 if worse_is_higher else 1 - step / 100
        if all(_past(scores, bound, worse_is_higher).mean() <= share for scores, share in in_order):
            return round(bound, 2)
    return 1.0 if worse_is_higher else 0.0


def _past(scores: Scores, bound: float, worse_is_higher: bool) -> Labels:
    return np.asarray(scores > bound if worse_is_higher else scores < bound)


def curve(ordinary: Scores, suspects: Scores, *, worse_is_higher: bool) -> tuple[CurvePoint, ...]:
    """What bounds cost and bring: ordinary documents and suspect windows past each of a few false alarm rates."""
    points = []
    for rate in (0.001, 0.003, 0.01, 0.03, 0.1):
        cut = float(np.quantile(ordinary, 1 - rate if worse_is_higher else rate))
        false, true = (_past(scores, cut, worse_is_higher).mean() for scores in (ordinary, suspects))
        points.append(CurvePoint(threshold=_r(cut), ordinary=_r(false), caught=_r(true)))
    return tuple(points)


def with_interval(
    name: str, measure: Callable[[Scores, Labels], float], scores: Scores, positive: Labels, *, resamples: int = 1000
) -> Metric:
    """``measure`` on all texts, with the 2.5th and 97.5th percentile over bootstrap resamples within each class."""
    rng = np.random.default_rng(20240229)
    classes = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    values = []
    for _ in range(resamples):
        at = np.concatenate([rng.choice(members, len(members)) for members in classes])
        values.append(measure(scores[at], positive[at]))
    low, high = np.percentile(values, [2.5, 97.5])
    value = measure(scores, positive)
    return Metric(name=name, value=_r(value), low=_r(low), high=_r(high), n=len(scores))


def clean_check(documents: str, scores: Sequence[float], *, threshold: float, worse_is_higher: bool) -> CleanCheck:
    """Percentiles of the scores of ordinary documents, and the share of them past the threshold."""
    values = np.asarray(scores, np.float64)
    p01, median, p99 = np.percentile(values, [1, 50, 99])
    beyond = (values > threshold) if worse_is_higher else (values < threshold)
    return CleanCheck(
        documents=documents, n=len(values), median=_r(median), p01=_r(p01), p99=_r(p99), beyond=_r(beyond.mean())
    )


def _r(value: float) -> float:
    return round(float(value), 5)

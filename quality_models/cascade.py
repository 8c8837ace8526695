"""A cheap scorer decides where it is sure; a dear one where it is not.

Outside the band of doubt a document keeps the first score, inside it gets the second. Both are calibrated for the same
prior, and the bound of the cascade is that of the second, which lies inside the band: so a score outside the band falls
on the same side of the bound as the first scorer put it, and one threshold serves for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quality_models.card import ModelCard
from stages.stage import Scorer

MOST_EDGES = 1000  # that are tried on each side of the bound

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


class CascadeScorer:
    """Implements the ``Scorer`` protocol. ``seen`` and ``sent`` count documents, ``saved`` is the share not sent on.

    ``asked``: of the last texts, those that the second scorer was asked about (``second: true`` of the stage ``score``
    writes it down for every document).
    """

    def __init__(self, first: Scorer, second: Scorer, card: ModelCard) -> None:
        assert card.band is not None
        self.card, self.first, self.second = card, first, second
        self._band = card.band
        self.seen = self.sent = 0
        self.asked = np.zeros(0, np.bool_)

    @property
    def saved(self) -> float:
        """Share of the documents so far that the second scorer was spared."""
        return 1 - self.sent / self.seen if self.seen else 0.0

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One score in 0..1 per text; depends on each text alone where both scorers do."""
        scores = np.array(self.first.score(texts), np.float32)
        self.asked = (scores >= np.float32(self._band.low)) & (scores <= np.float32(self._band.high))
        doubtful = np.flatnonzero(self.asked)
        if len(doubtful):
            scores[doubtful] = self.second.score([texts[int(at)] for at in doubtful])
        self.seen += len(texts)
        self.sent += len(doubtful)
        return scores


class Choice(NamedTuple):
    """A band, the share of the sample inside it, and what the cascade reaches. ``met``: the targets are reached."""

    low: float
    high: float
    sent: float
    precision: float
    recall: float
    met: bool


def choose_band(
    first: Scores,
    second: Scores,
    positive: Labels,
    *,
    bound: float,
    precision: float | None = None,
    recall: float | None = None,
) -> Choice:
    """The band around ``bound`` with the fewest documents inside that reaches the targets on a labelled sample.

    ``first`` and ``second`` are the scores of the sample by both scorers, higher for positives; ``bound`` is where the
    second scorer says yes. Where no band reaches the targets, the one that comes nearest is returned, with ``met``
    False: even sending everything on may not be enough. Raises ``ValueError`` without a target or without both classes.
    """
    if precision is None and recall is None:
        raise ValueError("a band needs a target precision or recall")
    if not positive.any() or positive.all():
        raise ValueError("a band needs labelled documents of both classes")
    said, later = first > bound, second > bound
    change = later.astype(np.int64) - said
    # An edge on a document that the second scorer decides like the first could move inward and change nothing.
    lows = _edges(first[(change != 0) & ~said], bound)
    highs = _edges(first[(change != 0) & said], bound)
    below = _reach(first[~said], change[~said], positive[~said], lows, outward=-1)
    above = _reach(first[said], change[said], positive[said], highs, outward=1)
    inside, yes, hits = below[:, :, None] + above[:, None, :]  # the sides do not meet: what they bring adds up
    yes, hits = yes + said.sum(), hits + (said & positive).sum()
    precisions = np.where(yes > 0, hits / np.maximum(yes, 1), 1.0)
    recalls = hits / positive.sum()
    shortfall = np.maximum((precision or 0.0) - precisions, 0) + np.maximum((recall or 0.0) - recalls, 0)
    nearest = shortfall == shortfall.min()
    low, high = np.unravel_index(np.where(nearest, inside, len(first) + 1).argmin(), inside.shape)
    return Choice(
        float(lows[low]),
        float(highs[high]),
        float(inside[low, high] / len(first)),
        float(precisions[low, high]),
        float(recalls[low, high]),
        met=bool(shortfall.min() == 0),
    )


def _edges(scores: Scores, bound: float) -> Scores:
    """Distinct scores, thinned evenly where there are very many, and the bound itself: no band on this side."""
    found = np.unique(scores)
    kept = np.linspace(0, len(found) - 1, min(len(found), MOST_EDGES)).round().astype(np.intp)
    return np.append(found[kept], bound)


def _reach(
    first: Scores, change: NDArray[np.int64], positive: Labels, edges: Scores, *, outward: Literal[-1, 1]
) -> NDArray[np.int64]:
    """Documents of one side between the bound and each edge, and what the second scorer adds to the yes and hits."""
    order = np.argsort(outward * first, kind="stable")
    rows = np.stack([np.ones_like(change), change, change * positive])[:, order]
    totals = np.concatenate([np.zeros((3, 1), np.int64), rows.cumsum(axis=1)], axis=1)
    found: NDArray[np.int64] = totals[:, np.searchsorted(outward * first[order], outward * edges, side="right")]
    return found

"""A cheap scorer decides where it is sure; a dear one where it is not.

Outside the band of doubt a document keeps the first score, inside it gets the second. Both are calibrated for the same
prior, and the bound of the cascade is that of the second, which lies inside the band: so a score outside the band falls
on the same side of the bound as the first scorer put it, and one threshold serves for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quality_models.card import ModelCard
from stages.stage import Scorer

GRID = 60  # quantiles of the first scores that are tried as edges of the band

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
    below, above = first[first <= bound], first[first >= bound]
    lows = np.unique(np.append(np.quantile(below, np.linspace(0, 1, GRID)), bound)) if len(below) else np.array([bound])
    highs = (
        np.unique(np.append(np.quantile(above, np.linspace(0, 1, GRID)), bound)) if len(above) else np.array([bound])
    )
    found = [_try(first, second, positive, float(low), float(high), bound) for low in lows for high in highs]
    wanted = (precision or 0.0, recall or 0.0)

    def shortfall(choice: Choice) -> float:
        return max(0.0, wanted[0] - choice.precision) + max(0.0, wanted[1] - choice.recall)

    best = min(found, key=lambda choice: (shortfall(choice), choice.sent, choice.high - choice.low))
    return best._replace(met=shortfall(best) == 0)


def _try(first: Scores, second: Scores, positive: Labels, low: float, high: float, bound: float) -> Choice:
    inside = (first >= low) & (first <= high)
    said = np.where(inside, second, first) > bound
    hits = int((said & positive).sum())
    precision = hits / said.sum() if said.any() else 1.0
    return Choice(low, high, float(inside.mean()), float(precision), hits / int(positive.sum()), met=False)

"""A scorer over a fastText classifier: view, windows, model, calibration, in that order.

Cost: about 0.1 to 0.2 ms per document of any length, 1 to 5 MB of memory per model. Scores are a function of the text
alone: the same text has the same score in any batch, in any order, in any process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models.card import ModelCard
from quality_models.views import VIEWS
from quality_models.windows import combine_windows, cut_windows


class Classifier(Protocol):
    """The one call of the fastText module that is used; it takes lines that end with a newline."""

    def multilinePredict(  # noqa: N802 - fastText's name
        self, text: list[bytes], k: int, threshold: float, on_unicode_error: str
    ) -> tuple[list[list[str]], list[NDArray[np.float32]]]: ...


class FastTextScorer:
    """Implements the ``Scorer`` protocol of ``stages.stage``. Made by ``registry.load_scorer``."""

    def __init__(self, classifier: Classifier, card: ModelCard) -> None:
        self.card, self.classifier = card, classifier
        self._view = VIEWS[card.view]

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One score in 0..1 per text, oriented as the card says. A text without a single token scores 0.0."""
        lines: list[bytes] = []
        lengths: list[int] = []
        for text in texts:
            windows = (window for window in cut_windows(text, self.card.windows) if not window.isspace())
            views = [line for window in windows if (line := self._view(window))]
            lines.extend(views or [b""])
            lengths.append(len(views) or 1)
        values = self.card.calibration.apply(self.raw(lines))
        values[[not line for line in lines]] = 0.0
        return combine_windows(values, lengths, combine=self.card.windows.combine).astype(np.float32)

    def raw(self, lines: list[bytes]) -> NDArray[np.float64]:
        """Uncalibrated probability of the positive label for lines that are views already."""
        if not lines:
            return np.zeros(0, np.float64)
        labels, probabilities = self.classifier.multilinePredict([line + b"\n" for line in lines], 1, 0.0, "strict")
        positive = self.card.positive_label
        # Two classes: the probability of the other one is what is missing to 1.
        return np.array(
            [
                0.0 if not label else (p[0] if label[0] == positive else 1.0 - p[0])
                for label, p in zip(labels, probabilities, strict=True)
            ],
            np.float64,
        )


def load_classifier(data: bytes, where: Path) -> Classifier:
    """Load the bytes of a fastText file that have been verified already: fastText itself may crash on a damaged one.

    fastText reads files only: it gets a copy that no one else can write, not the file that was verified a while ago.
    """
    import fasttext

    with tempfile.NamedTemporaryFile(suffix=".ftz") as copy:
        copy.write(data)
        copy.flush()
        try:
            # The wrapper's own predict() fails on numpy 2 for a single text; the module under it does not.
            classifier: Classifier = fasttext.FastText._FastText(copy.name).f
        except ValueError as error:
            raise ModelError(
                f"fastText cannot read the model: {error}", where=str(where), fix="train or install the model again"
            ) from error
    return classifier

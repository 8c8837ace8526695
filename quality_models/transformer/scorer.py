"""A scorer over an encoder: windows, encoder, head, calibration, in that order.

Cost: about 22 milliseconds per window of 256 tokens on one core (int8), so a hundred times that of fastText: for
cascades, or for a GPU. On a CPU scores are a function of the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models.card import ModelCard
from quality_models.transformer.encoder import Embeddings, Encoder, open_encoder
from quality_models.transformer.weights import parse_tensors
from quality_models.windows import combine_windows, cut_windows


class TransformerScorer:
    """Implements the ``Scorer`` protocol of ``stages.stage``. ``head``: None where the model has a classifier."""

    def __init__(self, encoder: Encoder, card: ModelCard, head: tuple[NDArray[np.float32], float] | None) -> None:
        self.card, self.encoder, self._head = card, encoder, head

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One score in 0..1 per text, oriented as the card says. A text without a single word scores 0.0."""
        windows: list[str] = []
        lengths: list[int] = []
        for text in texts:
            cut = [window for window in cut_windows(text, self.card.windows) if window.strip()]
            windows += cut
            lengths.append(len(cut))
        values = self.card.calibration.apply(self.raw(self.encoder.encode(windows))) if windows else np.zeros(0)
        filled = np.array([max(length, 1) for length in lengths])
        spread = np.zeros(int(filled.sum()))
        spread[np.repeat(np.array(lengths) > 0, filled)] = values
        return combine_windows(spread, filled.tolist(), combine=self.card.windows.combine).astype(np.float32)

    def raw(self, rows: Embeddings) -> NDArray[np.float64]:
        """Uncalibrated probability of the positive class for rows of the encoder."""
        if self._head is not None:
            weight, bias = self._head
            return np.asarray(1 / (1 + np.exp(-(rows @ weight + bias).astype(np.float64))))
        assert self.card.backbone is not None
        logits = rows.astype(np.float64) - rows.max(axis=1, keepdims=True)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        if not 0 <= self.card.backbone.positive_class < chances.shape[1]:
            raise ModelError(
                f"the classifier has {chances.shape[1]} classes, none is number {self.card.backbone.positive_class}",
                where=self.card.name,
                fix="correct positive_class in the card",
            )
        return np.asarray(chances[:, self.card.backbone.positive_class])


def load_transformer(card: ModelCard, directory: Path, head: bytes) -> TransformerScorer:
    """A scorer from its card and the verified bytes of its head (empty where the model has its own)."""
    if card.backbone is None:
        raise ModelError("the card names no encoder", where=str(directory), fix="train the model again")
    encoder = open_encoder(card.backbone, directory)
    if card.backbone.output == "classifier":
        return TransformerScorer(encoder, card, None)
    tensors = parse_tensors(head, str(directory / str(card.weights)))
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or bias is None or weight.ndim != 1 or bias.shape != (1,):
        raise ModelError(
            "the head needs a weight (hidden,) and a bias (1,)", where=str(directory), fix="train it again"
        )
    scorer = TransformerScorer(encoder, card, (weight, float(bias[0])))
    row = encoder.encode([""])
    if row.shape[1:] != weight.shape or not np.isfinite(scorer.raw(row)).all():
        raise ModelError(
            f"a head of {weight.shape[0]} numbers does not fit an encoder of {row.shape[1]}, or holds no numbers",
            where=str(directory),
            fix="train it again over this encoder",
        )
    return scorer

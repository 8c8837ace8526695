"""Dynamic batch loading: draw more from the domains that lag behind their reference loss (Xia et al. 2024, arXiv
2310.06694, algorithm 1).

``update_weights`` is a pure function: weights, losses and references in, weights out. The rule of the paper is the
default: the excess over the reference, clamped at zero, raises a domain's weight exponentially, and the weights are
scaled to sum to one. The authors' code leaves the clamp out, so that domains below their reference lose weight, and
blends in a little of the uniform mixture; both are options here. Bounds are ours: without them a domain can starve (the
published weights after pruning hold .0002 for GitHub).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from corpus.errors import TrainingError
from corpus.settings import Settings


class GivenReference(Settings):
    """Reference losses written down."""

    kind: Literal["given"] = "given"
    losses: dict[str, float] = {}
    """Loss per domain, in nats per token."""
    file: Path | None = None
    """Or a JSON file with such a mapping."""

    @model_validator(mode="after")
    def _one(self) -> GivenReference:
        if bool(self.losses) == (self.file is not None):
            raise ValueError("name losses or a file with them")
        return self


class SourceReference(Settings):
    """The losses of the source model, measured on the held-out rows before pruning (appendix F.4 of the paper)."""

    kind: Literal["source_model"] = "source_model"


class ScalingReference(Settings):
    """Losses predicted for the target's size by a law fitted through models of one family."""

    kind: Literal["scaling_law"] = "scaling_law"
    sizes: tuple[float, ...] = Field(min_length=3)
    """Parameters of the models."""
    losses: dict[str, tuple[float, ...]]
    """Per domain the loss of each model."""


Reference = Annotated[GivenReference | SourceReference | ScalingReference, Field(discriminator="kind")]


class DynamicLoading(Settings):
    """How the mixture follows the losses."""

    every: int = Field(default=50, ge=1)
    """Steps between updates. The paper took 50 in pruning and 400 in continued pre-training."""
    reference: Reference = SourceReference()
    """The losses that domains are held against."""
    eta: float = Field(default=1.0, gt=0)
    """Step size of the ascent. With 1, losses far above the references (in pruning) overshoot; .3 does not (ours)."""
    clamp: bool = True
    """Count only what lies above the reference (the paper); false: below it a domain loses weight (the code)."""
    smoothing: float = Field(default=1e-4, ge=0, lt=1)
    """Share of the uniform mixture that is blended in (the code's constant)."""
    floor: float = Field(default=0.0, ge=0, lt=1)
    """Least weight of a domain that had any (ours)."""
    ceiling: float = Field(default=1.0, gt=0, le=1)
    """Largest weight of a domain (ours)."""
    decay: float = Field(default=0.0, ge=0, lt=1)
    """Weight of earlier losses in an exponential mean over evaluations (ours); 0 takes each as it is."""

    @model_validator(mode="after")
    def _ordered(self) -> DynamicLoading:
        if self.floor > self.ceiling:
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}")
        return self


def update_weights(
    weights: Mapping[str, float],
    losses: Mapping[str, float],
    reference: Mapping[str, float],
    config: DynamicLoading,
) -> dict[str, float]:
    """New weights of the domains of ``weights``; they sum to one.

    A domain whose loss is missing or not finite keeps its weight, with a warning. Domains of weight 0 stay out.
    Raises ``TrainingError`` where references are missing or the bounds cannot hold.
    """
    unknown = [name for name in weights if not math.isfinite(reference.get(name, math.nan))]
    if unknown:
        raise TrainingError(f"no reference loss for: {', '.join(unknown)}", fix="name one for every domain")
    active = [name for name, weight in weights.items() if weight > 0]
    known = [name for name in active if math.isfinite(losses.get(name, math.nan))]
    if len(known) < len(active):
        lost = ", ".join(name for name in active if name not in known)
        warnings.warn(f"no finite loss for {lost}: the weight stays as it is", RuntimeWarning, stacklevel=2)
    if not known:
        return dict(weights)
    excess = np.array([losses[name] - reference[name] for name in known])
    if config.clamp:
        excess = np.maximum(excess, 0.0)
    old = np.array([weights[name] for name in known], np.float64)
    room = 1.0 - math.fsum(weights[name] for name in weights if name not in known)
    logits = np.log(old) + config.eta * excess
    new = np.exp(logits - logits.max())
    new /= new.sum()
    new = (1 - config.smoothing) * new + config.smoothing / len(known)
    new = bounded(new * room, config.floor, config.ceiling, room)
    found = dict(zip(known, new.tolist(), strict=True))
    return {name: found.get(name, weight) for name, weight in weights.items()}


def bounded(weights: NDArray[np.float64], floor: float, ceiling: float, total: float) -> NDArray[np.float64]:
    """``weights`` scaled to sum to ``total`` with every one in [floor, ceiling]: the common factor is found by
    bisection.

    Raises ``TrainingError`` where no weights can satisfy the bounds.
    """
    count = len(weights)
    if floor * count > total * (1 + 1e-12) or ceiling * count < total * (1 - 1e-12):
        raise TrainingError(
            f"{count} domains cannot share {total:.4f} with every weight between {floor} and {ceiling}",
            fix=f"floor must be at most {total / count:.4f}, ceiling at least that",
        )
    low, high = 0.0, 1.0
    while np.clip(weights * high, floor, ceiling).sum() < total and high < 1e18:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(weights * middle, floor, ceiling).sum() < total else (low, middle)
    clipped = np.clip(weights * high, floor, ceiling)
    return clipped * (total / clipped.sum())


def fit_scaling_law(sizes: tuple[float, ...], losses: tuple[float, ...], target: float) -> float:
    """Loss predicted at ``target`` parameters by l(N) = a / N^b + c, fitted by least squares.

    For each exponent, a and c follow by linear regression; the exponent is searched. Three sizes are an interpolation
    without an error estimate.
    """
    if len(sizes) != len(losses) or len(sizes) < 3:
        raise TrainingError(f"{len(sizes)} sizes and {len(losses)} losses: a law needs three pairs or more")
    values = np.array(losses, np.float64)
    scale = np.array(sizes, np.float64) / min(sizes)

    def solve(exponent: float) -> tuple[float, NDArray[np.floating[Any]]]:
        design = np.stack([scale**-exponent, np.ones(len(values))], axis=1)
        coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
        return float(((design @ coefficients - values) ** 2).sum()), coefficients

    grid = np.geomspace(0.005, 3.0, 400)
    best = int(np.argmin([solve(float(exponent))[0] for exponent in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    for _ in range(100):  # ternary search in the valley around the best of the grid
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if solve(left)[0] < solve(right)[0] else (left, high)
    exponent = (low + high) / 2
    a, c = solve(exponent)[1]
    return float(a * (target / min(sizes)) ** -exponent + c)


class Mixer:
    """Weights that follow losses over a run; its state is small JSON."""

    def __init__(self, config: DynamicLoading, reference: Mapping[str, float]) -> None:
        self.config, self.reference = config, dict(reference)
        self._mean: dict[str, float] = {}

    def update(self, weights: Mapping[str, float], losses: Mapping[str, float]) -> dict[str, float]:
        """The next weights; ``losses`` of this evaluation, already reduced over ranks."""
        decay = self.config.decay
        for name, loss in losses.items():
            if math.isfinite(loss):
                before = self._mean.get(name, loss)
                self._mean[name] = decay * before + (1 - decay) * loss
        smooth = {name: self._mean[name] if math.isfinite(loss) else loss for name, loss in losses.items()}
        return update_weights(weights, smooth, self.reference, self.config)

    def state_dict(self) -> dict[str, Any]:
        """The mean losses so far."""
        return {"mean": dict(self._mean)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self._mean = {str(name): float(value) for name, value in state["mean"].items()}

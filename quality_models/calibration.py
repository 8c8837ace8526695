"""From what a classifier says to a probability: Platt scaling (Platt 1999) on held-out windows.

A fastText model is sure of itself: its raw values crowd at 0 and 1. Two numbers fitted on data the model never saw
turn its log-odds ``x`` into ``1 / (1 + exp(-(slope * x + offset)))``. The held-out windows are weighted so that the
positive class has the share ``prior``: a score of 0.5 then means "as likely as not, where ``prior`` of all windows
are positive". Monotone: calibration never changes an order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

EDGE = 1e-5  # fastText adds this to every probability it reports; closer to 0 and 1 there is only noise


class Platt(BaseModel):
    """The two parameters, and the share of positives they assume."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: float = Field(default=1.0, gt=0)
    offset: float = 0.0
    prior: float = Field(default=0.5, gt=0, lt=1)

    def apply(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn raw probabilities into calibrated ones."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * log_odds(raw) + self.offset))))


def log_odds(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of probabilities, cut off at ``EDGE`` on both sides."""
    inside = np.clip(raw, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def fit_platt(raw: NDArray[np.float64], positive: NDArray[np.bool_], *, prior: float) -> Platt:
    """Fit by Newton's method, with Platt's smoothed targets. Both classes must occur."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        raise ValueError("calibration needs held-out windows of both classes")
    x = log_odds(raw)
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weight = np.where(positive, prior / positives, (1 - prior) / negatives)
    theta = np.array([0.5, 0.0])
    design = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-(design @ theta)))
        gradient = design.T @ (weight * (p - target)) + 1e-6 * theta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    # Rounded: the card then holds exactly what is applied.
    return Platt(slope=max(round(float(theta[0]), 6), 1e-3), offset=round(float(theta[1]), 6), prior=prior)

"""Logistic regression on embeddings, by Newton's method: deterministic, and exact in a dozen steps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS: Final = 50
CLOSE: Final = 1e-8


def fit_head(
    rows: NDArray[np.float32], positive: NDArray[np.bool_], *, penalty: float = 1.0
) -> tuple[NDArray[np.float32], float]:
    """Weights (hidden,) and bias that minimise the log loss plus ``penalty`` / 2 times the squared weights.

    Both classes count alike, however many examples each has. Raises ``ValueError`` unless both occur.
    """
    if not positive.any() or positive.all():
        raise ValueError("a head needs examples of both classes")
    design = np.concatenate([rows.astype(np.float64), np.ones((len(rows), 1))], axis=1)
    weight = np.where(positive, len(rows) / (2 * positive.sum()), len(rows) / (2 * (~positive).sum()))
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 0.0
    theta = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-(design @ theta)))
        gradient = design.T @ (weight * (chance - positive)) + ridge * theta
        hessian = (design * (weight * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        theta -= step * min(1.0, 10.0 / float(np.abs(step).max() + 1e-12))
        if np.abs(step).max() < CLOSE:
            break
    return theta[:-1].astype(np.float32), float(np.float32(theta[-1]))

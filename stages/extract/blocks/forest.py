"""Boosted trees, evaluated: the sum of one leaf per tree, as a probability.

All trees are complete: every way from the root asks the same number of questions. Node 0 is the root, nodes ``2n + 1``
and ``2n + 2`` are the children of node ``n``, the leaves come after all questions. A question asks whether a feature is
above a threshold; a way that would end early asks whether something is above infinity. So there is nothing to guess
for the processor, which walks a tree for many blocks at once, and no walk can leave the arrays or fail to end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from stages.extract.blocks.compiled import Matrix, kernel


class Forest(NamedTuple):
    """``feature``: uint16 and ``threshold``: float32, (trees, 2**depth - 1); ``value``: float32, (trees, 2**depth)."""

    feature: NDArray[np.uint16]
    threshold: NDArray[np.float32]
    value: NDArray[np.float32]


class InvalidForestError(ValueError):
    """The arrays are no forest: evaluating them would run out of bounds or give no number."""


def check_forest(forest: Forest, columns: int) -> None:
    """Raise ``InvalidForestError`` unless the arrays fit together and ask for ``columns`` features only."""
    feature, threshold, value = forest
    if feature.dtype != np.uint16 or threshold.dtype != np.float32 or value.dtype != np.float32:
        raise InvalidForestError("features must be uint16, thresholds and values float32")
    trees, questions = feature.shape if feature.ndim == 2 else (0, 0)
    if not trees or questions & (questions + 1) or threshold.shape != feature.shape:
        raise InvalidForestError("features and thresholds must be tables of complete trees")
    if value.shape != (trees, questions + 1):
        raise InvalidForestError("a complete tree has one leaf more than questions")
    if (feature >= columns).any():
        raise InvalidForestError(f"a node asks for none of the {columns} features")
    if np.isnan(threshold).any() or not np.isfinite(value).all():
        raise InvalidForestError("a threshold or a value is no number")


def predict(forest: Forest, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability per row of ``matrix``, shape (rows, features)."""
    likely = np.empty(len(matrix), np.float32)
    nodes = np.empty(len(matrix), np.uint64)
    _predict(forest.feature, forest.threshold, forest.value, matrix, nodes, likely)
    return likely


@kernel()
def _predict(
    feature: NDArray[np.uint16],
    threshold: Matrix,
    value: Matrix,
    matrix: Matrix,
    nodes: NDArray[np.uint64],
    likely: Matrix,
) -> None:
    # unsigned numbers: compiled code looks for negative indices otherwise, at every step
    trees, questions, rows = uint64(feature.shape[0]), uint64(feature.shape[1]), uint64(matrix.shape[0])
    depth = 0
    while (1 << depth) <= feature.shape[1]:
        depth += 1
    likely[:] = 0
    for tree in range(trees):  # type: ignore[call-overload]
        nodes[:] = 0
        for _ in range(depth):
            for row in range(rows):  # type: ignore[call-overload]
                node = nodes[row]
                above = uint64(matrix[row, feature[tree, node]] > threshold[tree, node])
                nodes[row] = node + node + uint64(1) + above
        for row in range(rows):  # type: ignore[call-overload]
            likely[row] += value[tree, nodes[row] - questions]
    for row in range(rows):  # type: ignore[call-overload]
        likely[row] = 1 / (1 + np.exp(-likely[row]))

"""Partitions of a layer's neurons into experts of equal size: by their input weights, and at random for comparison.

Neurons that read the same lie together: balanced k-means of the rows of the first matrix, each of length one
(MoEfication, arXiv 2110.01786).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F  # noqa: N812 - the usual name
from numpy.typing import NDArray

from training.modularity.anatomy import FeedForward
from training.moefication import clustering

Partition = NDArray[np.int64]
"""[neurons]: the expert of each; all experts have as many."""


def method() -> str:
    """Identity of the clustering: its code. Another code may divide the same weights otherwise."""
    return hashlib.sha256(Path(clustering.__file__).read_bytes()).hexdigest()


def by_weights(layer: FeedForward, experts: int, seed: int) -> Partition:
    """The experts of a layer."""
    rows = F.normalize(layer.input_weights(), dim=1)
    found: Partition = clustering.balanced_kmeans(rows, experts, seed=seed).labels.numpy().astype(np.int64)
    return found


def at_random(neurons: int, experts: int, count: int, seed: Sequence[int]) -> Partition:
    """``count`` partitions that mean nothing: [count, neurons]. They follow from ``seed`` alone."""
    rng = np.random.default_rng(list(seed))
    return rng.permuted(np.tile(np.arange(neurons) % experts, (count, 1)), axis=1).astype(np.int64)

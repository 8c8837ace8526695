"""Clusters of exactly equal size: k-means whose assignment is the best balanced one, not a greedy repair.

A balanced assignment of f points to E clusters is a transport problem. Its dual has one price per cluster: where every
point chooses its best value, score minus price, the choice is the best among all that fill clusters to the same counts.
Prices that nearly balance come from Sinkhorn's iteration; what is left over then moves along cheapest paths from
overfull clusters to those with room, which keeps the assignment the best for its counts until all are equal. The
authors of SSD (arXiv 2410.03440) released an auction for the same problem.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from numpy.typing import NDArray
from torch import Tensor

from corpus.errors import TrainingError

LLOYD_ROUNDS = 10
"""Of ordinary k-means before sizes are made equal."""
BALANCED_ROUNDS = 30
"""Of assignment and new centroids at most; they end earlier when no point moves. The released code runs 100."""
ROUNDS_PER_TEMPERATURE = 8


class Clusters(NamedTuple):
    """A partition into clusters of equal size."""

    labels: Tensor
    """[f] int64: the cluster of each point."""
    centroids: Tensor
    """[E, d]: the means."""
    inertia: float
    """Sum of squared distances of points to their centroids."""


def balanced_kmeans(points: Tensor, clusters: int, *, seed: int, start: Tensor | None = None) -> Clusters:
    """Partition ``points`` [f, d] into ``clusters`` equal parts; the partition of least inertia over all rounds.

    ``start``: labels [f] of an earlier partition to begin with, whose numbering is kept; otherwise ``seed`` draws the
    first centroids. Raises ``TrainingError`` where the points cannot be shared out evenly.
    """
    if clusters < 1 or len(points) % clusters:
        raise TrainingError(
            f"{len(points)} neurons cannot be divided evenly into {clusters} experts",
            fix="choose a number of experts that divides the intermediate size",
        )
    points = points.detach().float()
    generator = torch.Generator().manual_seed(seed)
    if start is None:
        chosen = torch.randperm(len(points), generator=generator)[:clusters].to(points.device)
        centroids = _lloyd(points, points[chosen])
    else:
        centroids = means(points, start.to(points.device), clusters)
    return _balanced(points, centroids)


def _balanced(points: Tensor, centroids: Tensor) -> Clusters:
    best: Clusters | None = None
    labels: Tensor | None = None
    prices = torch.zeros(len(centroids), dtype=torch.float64, device=points.device)
    for _ in range(BALANCED_ROUNDS):
        scores = -_distances(points, centroids).double()
        found, prices = balanced_assignment(scores, prices)
        if labels is not None and torch.equal(found, labels):
            break
        labels = found
        centroids = means(points, labels, len(centroids))
        inertia = float((points - centroids[labels]).square().sum())
        if best is None or inertia < best.inertia:
            best = Clusters(labels, centroids, inertia)
    assert best is not None
    return best


def balanced_assignment(scores: Tensor, prices: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The assignment of f points to E clusters of f/E each that has the largest sum of ``scores`` [f, E].

    Returns labels [f] and the prices [E] that it began with, a good start for scores that differ little.
    """
    prices = torch.zeros(scores.shape[1], dtype=scores.dtype, device=scores.device) if prices is None else prices
    prices = _smooth(scores, prices)
    labels = (scores - prices).argmax(dim=1)
    evened = _even_out(scores.cpu().numpy(), labels.cpu().numpy())
    return torch.from_numpy(evened).to(scores.device), prices


def _even_out(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move points along cheapest paths of clusters until all hold equally many (successive shortest paths)."""
    count = scores.shape[1]
    excess = np.bincount(labels, minlength=count) - len(labels) // count
    # what it costs at least to move some point from one cluster to another, and which point that is
    costs, movers = np.full((count, count), np.inf), np.zeros((count, count), np.int64)
    changed = list(range(count))
    while True:
        for cluster in changed:
            members = np.flatnonzero(labels == cluster)
            if len(members):
                lost = scores[members, cluster, None] - scores[members]
                least = lost.argmin(axis=0)
                costs[cluster], movers[cluster] = lost[least, np.arange(count)], members[least]
            else:
                costs[cluster] = np.inf
        if not (excess > 0).any():
            return labels
        path = _cheapest_path(costs, excess)
        for one, other in pairwise(path):
            labels[movers[one, other]] = other
        excess[path[0]] -= 1
        excess[path[-1]] += 1
        changed = path


def _cheapest_path(costs: NDArray[np.float64], excess: NDArray[np.int64]) -> list[int]:
    """Clusters from an overfull one to one with room (Bellman and Ford: costs may be negative, cycles cannot)."""
    distance = np.where(excess > 0, 0.0, np.inf)
    before = np.full(len(costs), -1)
    for _ in range(len(costs)):
        through = distance[:, None] + costs
        best = through.argmin(axis=0)
        shorter = through[best, np.arange(len(costs))]
        closer = shorter < distance - 1e-12
        if not closer.any():
            break
        distance = np.where(closer, shorter, distance)
        before = np.where(closer, best, before)
    path = [int(np.where(excess < 0, distance, np.inf).argmin())]
    while before[path[0]] >= 0:
        path.insert(0, int(before[path[0]]))
    return path


def _smooth(scores: Tensor, prices: Tensor) -> Tensor:
    """Prices that nearly balance: those of an assignment in which a point spreads over clusters by a softmax, at
    falling temperature (Sinkhorn's iteration)."""
    size = len(scores) // scores.shape[1]
    spread = float((scores.max(dim=1).values - scores.min(dim=1).values).mean())
    for temperature in (spread * 0.5**power for power in range(2, 14)):
        for _ in range(ROUNDS_PER_TEMPERATURE):
            chosen = torch.log_softmax((scores - prices) / temperature, dim=1)
            prices = prices + temperature * (chosen.logsumexp(dim=0) - math.log(size))
    return prices


def means(points: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """Mean of the points of each cluster, [E, d]; zero for an empty one. Adds in a fixed order on a CPU."""
    members = F.one_hot(labels, clusters).to(points.dtype)
    return members.t() @ points / members.sum(dim=0).clamp(min=1)[:, None]


def _lloyd(points: Tensor, centroids: Tensor) -> Tensor:
    """Ordinary k-means; a cluster that loses all its points keeps its centroid."""
    for _ in range(LLOYD_ROUNDS):
        labels = _distances(points, centroids).argmin(dim=1)
        empty = torch.bincount(labels, minlength=len(centroids)) == 0
        centroids = torch.where(empty[:, None], centroids, means(points, labels, len(centroids)))
    return centroids


def _distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Squared Euclidean distances [f, E], less the points' own norms, which no choice depends on."""
    return centroids.square().sum(dim=1)[None] - 2 * points @ centroids.t()


def adjusted_rand(one: Tensor, other: Tensor) -> float:
    """Agreement of two partitions of the same points: 1 for equal ones, 0 on average for unrelated ones."""
    table = torch.zeros(int(one.max()) + 1, int(other.max()) + 1, dtype=torch.float64)
    table.index_put_((one.cpu(), other.cpu()), torch.ones(len(one), dtype=torch.float64), accumulate=True)

    def pairs(counts: Tensor) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, left, right = pairs(table), pairs(table.sum(dim=1)), pairs(table.sum(dim=0))
    total = len(one) * (len(one) - 1) / 2
    expected = left * right / total
    most = (left + right) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)

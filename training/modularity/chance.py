"""What chance allows: tails of counts, p-values of permutations, and correlations of ranks. Needs no torch."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.001
"""Chance with which an expert of no meaning may count as functional (the paper, section 4)."""
Floats = NDArray[np.float64]


def hypergeometric_threshold(population: int, group: int, draws: int, level: float = LEVEL) -> int:
    """Smallest t with P(more than t of ``draws`` fall into a group) <= ``level``, drawn without replacement."""
    low, high = max(0, draws + group - population), min(draws, group)
    whole = _log_choose(population, draws)

    def mass(count: int) -> float:
        return exp(_log_choose(group, count) + _log_choose(population - group, draws - count) - whole)

    return _threshold({count: mass(count) for count in range(low, high + 1)}, level)


def binomial_threshold(draws: int, share: float, level: float = LEVEL) -> int:
    """Smallest t with P(more than t of ``draws`` fall into a group) <= ``level``, each with probability ``share``."""

    def mass(count: int) -> float:
        return exp(_log_choose(draws, count) + count * log(share) + (draws - count) * log1p(-share))

    if share >= 1:
        return draws
    return _threshold({count: mass(count) for count in range(draws + 1)}, level)


def _threshold(masses: dict[int, float], level: float) -> int:
    tail, threshold = 0.0, max(masses)
    # P(X > t) from the right, where it is a sum of small terms
    for count in sorted(masses, reverse=True):
        tail += masses[count]
        if tail > level:
            return threshold
        threshold = count - 1
    return max(threshold, 0)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def permutation_p(found: float, random: Floats) -> float:
    """Chance of at least ``found`` among the values of random partitions; the real one counts as one of them."""
    # a hair below, so that sums in another order stay equal
    return float((1 + (random >= found - 1e-9).sum()) / (1 + len(random)))


def spearman(one: Floats, other: Floats) -> Floats:
    """Rank correlation along the last axis; NaN where either side is constant."""
    a, b = (_ranks(values) for values in (one, other))
    a, b = (values - values.mean(axis=-1, keepdims=True) for values in (a, b))
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    found: Floats = np.divide(product, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return found


def _ranks(values: Floats) -> Floats:
    """Ranks along the last axis; equal values share the mean of theirs."""
    order = np.argsort(values, axis=-1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=-1)
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=-1)
    last = np.ones(values.shape, dtype=bool)
    last[..., :-1] = new[..., 1:]
    beyond = np.where(last, place, values.shape[-1])
    end = np.minimum.accumulate(beyond[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty(values.shape)
    np.put_along_axis(found, order, (first + end) / 2, axis=-1)
    return found

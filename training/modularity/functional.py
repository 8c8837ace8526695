"""Functional experts: those that hold more of a sub-function's top neurons than chance allows (the paper, section 4).

Shapes: ``parts`` sub-functions of one function, ``top`` neurons of each, ``partitions`` of a layer into ``experts``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.modularity.chance import Floats, binomial_threshold, hypergeometric_threshold, permutation_p

Ints = NDArray[np.int64]


def top_neurons(predictivity: Floats, count: int) -> Ints:
    """The ``count`` most predictive neurons [..., count] of ``predictivity`` [..., neurons], the best first."""
    return np.argsort(-predictivity, axis=-1, kind="stable")[..., :count]


def expert_counts(top: Ints, partitions: Ints, experts: int) -> Ints:
    """How many of ``top`` [parts, top] lie in each expert of ``partitions`` [partitions, neurons]:
    [partitions, parts, experts]."""
    held = partitions[:, top]
    cell = np.arange(held.shape[0] * held.shape[1]).reshape(*held.shape[:2], 1)
    counts = np.bincount((cell * experts + held).ravel(), minlength=held.shape[0] * held.shape[1] * experts)
    return counts.reshape(*held.shape[:2], experts)


class Degree(NamedTuple):
    """How modular partitions are: one value each."""

    proportion: Floats
    """Functional experts among all, the mean over sub-functions."""
    degree: Floats
    """Top neurons in a functional expert over those expected by chance: the mean over functional experts, 0 where there
    are none, then over sub-functions."""


def degree(counts: Ints, threshold: int) -> Degree:
    """``counts`` [partitions, parts, experts] with more than ``threshold`` are functional experts'."""
    functional = counts > threshold
    found = functional.sum(axis=-1)
    expected = counts.sum(axis=-1) / counts.shape[-1]
    density = (counts * functional).sum(axis=-1) / np.maximum(found, 1) / expected
    return Degree(functional.mean(axis=(-1, -2)), density.mean(axis=-1))


class Tested(NamedTuple):
    """One layer and function: the real partition first, then the random ones."""

    counts: Ints
    """Of the real partition: [parts, experts]."""
    threshold: int
    parts: Degree
    pooled_threshold: int
    pooled: Degree
    """Of the function as a whole: the top neurons of all its sub-functions together."""


def hold_against_chance(predictivity: Floats, real: Ints, random: Ints, *, experts: int, top: int) -> Tested:
    """Hold the experts ``real`` [neurons] of a layer against ``random`` [partitions, neurons];
    ``predictivity`` [parts, neurons]."""
    neurons = predictivity.shape[-1]
    counts = expert_counts(top_neurons(predictivity, top), np.concatenate([real[None], random]), experts)
    threshold = hypergeometric_threshold(neurons, neurons // experts, top)
    pooled_threshold = binomial_threshold(top * len(predictivity), 1 / experts)
    pooled = degree(counts.sum(axis=1, keepdims=True), pooled_threshold)
    return Tested(counts[0], threshold, degree(counts, threshold), pooled_threshold, pooled)


def compared(found: Floats) -> dict[str, float]:
    """The first value against the others: its p-value is the chance that a random partition does as well."""
    real, random = float(found[0]), found[1:]
    return {
        "experts": real,
        "random": float(random.mean()),
        "random_95": float(np.quantile(random, 0.95)),
        "p": permutation_p(real, random),
    }


def similarity(top: Ints, neurons: int) -> Floats:
    """Share of top neurons that two sub-functions have in common, the mean over layers: [parts, parts] for ``top``
    [layers, parts, top]. Chance gives top / neurons."""
    layers, parts, count = top.shape
    chosen = np.zeros((layers, parts, neurons))
    np.put_along_axis(chosen, top, 1.0, axis=-1)
    found: Floats = (chosen @ chosen.transpose(0, 2, 1)).mean(axis=0) / count
    return found

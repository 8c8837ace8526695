"""How early specialisation settles: rank correlations of predictivities between consecutive snapshots of a training.

For neurons, for experts, and for random groups of as many neurons (the paper, section 5). The experts are those of the
last snapshot throughout.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from training.modularity.chance import Floats, spearman
from training.modularity.experts import Partition


class Settling(NamedTuple):
    """One value per layer, averaged over sub-functions."""

    experts: Floats
    neurons: Floats
    random: Floats


def settling(before: Floats, after: Floats, real: Partition, random: Partition) -> Settling:
    """Correlations between two snapshots.

    ``before``, ``after``: predictivities [parts, layers, neurons]; ``real`` [layers, neurons]; ``random``
    [layers, partitions, neurons].
    """
    layers = range(before.shape[1])
    own = [_mean(spearman(*(group_means(side[:, i], real[i][None]) for side in (before, after)))) for i in layers]
    others = [_mean(spearman(*(group_means(side[:, i], random[i]) for side in (before, after)))) for i in layers]
    single = [_mean(spearman(before[:, i], after[:, i])) for i in layers]
    return Settling(np.array(own), np.array(single), np.array(others))


def group_means(predictivity: Floats, partitions: Partition) -> Floats:
    """Mean predictivity of every group: [parts, partitions, groups] for ``predictivity`` [parts, neurons] and
    ``partitions`` [partitions, neurons] of equally large groups."""
    count, neurons = partitions.shape
    groups = int(partitions.max()) + 1
    # equal groups: neurons in the order of their groups are a table
    order = np.argsort(partitions, axis=1, kind="stable").reshape(count, groups, neurons // groups)
    found: Floats = predictivity[:, order].mean(axis=-1)
    return found


def _mean(correlations: Floats) -> float:
    """The mean of those that are defined: nothing correlates with a layer that is dead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all undefined: NaN is the answer
        return float(np.nanmean(correlations))

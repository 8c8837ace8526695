"""Balanced clusters: the assignment is the optimum, planted groups are found, equal points do no harm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from corpus.errors import TrainingError
from training.moefication.clustering import adjusted_rand, balanced_assignment, balanced_kmeans


@settings(max_examples=60, deadline=None)
@given(
    clusters=st.integers(1, 6),
    size=st.integers(1, 8),
    levels=st.sampled_from([2, 5, 1000]),
    scale=st.sampled_from([1e-3, 1.0, 1e6]),
    seed=st.integers(0, 10**6),
)
def test_the_assignment_is_the_best_balanced_one(clusters, size, levels, scale, seed):
    # few levels make ties, in whole blocks of points
    scores = np.random.default_rng(seed).integers(0, levels, (clusters * size, clusters)).astype(float) * scale
    labels, _ = balanced_assignment(torch.from_numpy(scores))
    assert torch.bincount(labels, minlength=clusters).tolist() == [size] * clusters
    slots = np.repeat(scores, size, axis=1)
    best = slots[linear_sum_assignment(-slots)].sum()
    assert scores[np.arange(len(scores)), labels].sum() == pytest.approx(best, rel=1e-9)


def test_any_prices_lead_to_the_same_sum():
    scores = torch.randn(120, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain, prices = balanced_assignment(scores)
    for start in (prices, prices.flip(0) * 3, torch.full((8,), 7.0, dtype=torch.float64)):
        again, _ = balanced_assignment(scores, start)
        sums = [scores[torch.arange(120), labels].sum() for labels in (plain, again)]
        torch.testing.assert_close(*sums)


def planted(clusters, size, seed, noise=0.3):
    """Points around random centres, shuffled, and the cluster of each."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(clusters).repeat_interleave(size)[torch.randperm(clusters * size, generator=generator)]
    centres = torch.randn(clusters, 16, generator=generator)
    return centres[labels] + noise * torch.randn(len(labels), 16, generator=generator), labels


def test_planted_groups_are_found_from_a_rough_start():
    points, truth = planted(8, 24, seed=3)
    start = truth.clone()
    start[::3] = (start[::3] + 1) % 8
    found = balanced_kmeans(points, 8, seed=0, start=start)
    assert torch.equal(found.labels, truth)  # numbering included
    fresh = balanced_kmeans(points, 8, seed=0)
    assert adjusted_rand(fresh.labels, truth) > 0.7
    assert found.inertia <= fresh.inertia * 1.0001


def test_the_seed_alone_decides():
    points, _ = planted(6, 10, seed=5, noise=1.0)
    one, same, other = (balanced_kmeans(points, 6, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_points_are_shared_out(value):
    found = balanced_kmeans(torch.full((96, 4), value), 12, seed=0)
    assert torch.bincount(found.labels).tolist() == [8] * 12
    assert found.inertia == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_shared_evenly_is_refused():
    with pytest.raises(TrainingError, match="10 neurons cannot be divided evenly into 4 experts") as caught:
        balanced_kmeans(torch.randn(10, 3), 4, seed=0)
    assert "divides the intermediate size" in str(caught.value)


def test_agreement_of_partitions():
    from sklearn.metrics import adjusted_rand_score

    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(0, 5, (200,), generator=generator) for _ in range(2))
    assert adjusted_rand(one, one) == 1.0
    assert adjusted_rand(one, (one + 2) % 5) == 1.0
    other = torch.where(torch.rand(200, generator=generator) < 0.5, one, other)
    assert adjusted_rand(one, other) == pytest.approx(adjusted_rand_score(one.numpy(), other.numpy()))

"""Thresholds, p-values and rank correlations against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from training.modularity.chance import binomial_threshold, hypergeometric_threshold, permutation_p, spearman


@given(st.integers(2, 400), st.data(), st.sampled_from([0.001, 0.05]))
def test_a_hypergeometric_threshold_is_the_smallest_that_chance_seldom_exceeds(population, data, level):
    group, draws = (data.draw(st.integers(1, population - 1)) for _ in range(2))
    law = scipy.stats.hypergeom(population, group, draws)
    found = hypergeometric_threshold(population, group, draws, level)
    assert law.sf(found) <= level
    assert found == 0 or law.sf(found - 1) > level


@given(st.integers(1, 400), st.integers(2, 96), st.sampled_from([0.001, 0.05]))
def test_a_binomial_threshold_likewise(draws, experts, level):
    law = scipy.stats.binom(draws, 1 / experts)
    found = binomial_threshold(draws, 1 / experts, level)
    assert law.sf(found) <= level
    assert found == 0 or law.sf(found - 1) > level


def test_the_threshold_of_the_paper_s_sizes():
    # 3072 neurons, 16 experts of 192, 30 top neurons: 8 of them in one expert
    assert hypergeometric_threshold(3072, 192, 30) == 7


def test_rank_correlation_with_ties_is_that_of_scipy():
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 6, (5, 40)).astype(float) for _ in range(2))
    wanted = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    assert spearman(one, other) == pytest.approx(wanted)


def test_nothing_correlates_with_a_constant():
    assert np.isnan(spearman(np.zeros((1, 5)), np.arange(5.0)[None])).all()


def test_the_real_partition_counts_among_the_random_ones():
    random = np.array([0.0, 0.1, 0.2])
    assert permutation_p(0.3, random) == 1 / 4
    assert permutation_p(0.2, random) == 2 / 4
    assert permutation_p(-1.0, random) == 1

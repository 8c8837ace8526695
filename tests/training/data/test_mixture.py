"""The mixture: exact after every row, whatever the weights and however often they change."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import TrainingError
from training.data.mixture import ONE, assign_rows, checked_weights, fixed_point

UNLIMITED = 1 << 62
# zero, less than the fixed point can tell from zero, tiny, and plain ones
WEIGHT = st.one_of(
    st.just(0.0), st.just(2.0**-31), st.floats(1e-9, 1e-3), st.floats(0.01, 1.0), st.integers(1, 9).map(float)
)
WEIGHTS = st.lists(WEIGHT, min_size=1, max_size=9).filter(lambda values: sum(values) > 1e-9)


def shares(values):
    return fixed_point([value / math.fsum(values) for value in values])


def errors(weights, rows, *, at_once):
    """What each domain is owed after each row, in units of a row, counted from the rows alone."""
    carry = np.zeros(len(weights), np.int64)
    remaining = np.full(len(weights), UNLIMITED)
    given_rows = []
    while len(given_rows) < rows:
        domains, count = assign_rows(min(at_once, rows - len(given_rows)), weights, carry, remaining)
        assert count == len(domains)
        given_rows += domains.tolist()
    taken = np.cumsum(np.eye(len(weights), dtype=np.int64)[given_rows], axis=0)
    owed = np.arange(1, rows + 1)[:, None] * weights[None, :] - taken * ONE
    assert owed[-1].tolist() == carry.tolist()
    return owed / ONE, np.array(given_rows)


@settings(max_examples=150)
@given(WEIGHTS, st.integers(1, 400), st.integers(1, 100))
def test_under_constant_weights_every_prefix_is_less_than_a_row_off(values, rows, at_once):
    weights = shares(values)
    owed, domains = errors(weights, rows, at_once=at_once)
    assert np.abs(owed).max() < 1
    assert set(domains.tolist()) <= set(np.flatnonzero(weights).tolist())


def test_over_many_rows_too():
    rng = np.random.default_rng(3)
    for k in (2, 7, 40):
        weights = shares(rng.dirichlet(np.full(k, 0.3)).tolist())
        owed, _ = errors(weights, 30_000, at_once=256)
        assert np.abs(owed).max() < 1


@settings(max_examples=60)
@given(st.integers(1, 8), st.integers(0, 2**32))
def test_across_changes_of_weights_the_carry_stays_below_two_rows_and_sums_to_nothing(k, seed):
    rng = np.random.default_rng(seed)
    carry, remaining = np.zeros(k, np.int64), np.full(k, UNLIMITED)
    owed = [Fraction(0)] * k
    for _ in range(120):
        drawn = rng.dirichlet(np.full(k, rng.choice([0.05, 0.3, 1.0, 20.0])))
        left_out = int(rng.integers(k))
        if drawn[left_out] < 0.9 and rng.random() < 0.3:
            drawn[left_out] = 0.0
        if drawn.sum() == 0:  # the only domain with any weight was the one left out
            continue
        weights = shares(drawn.tolist())
        domains, count = assign_rows(int(rng.integers(1, 20)), weights, carry, remaining)
        owed = [
            before + count * Fraction(int(weight), ONE) - int((domains == domain).sum())
            for domain, (before, weight) in enumerate(zip(owed, weights, strict=True))
        ]
        assert [Fraction(int(value), ONE) for value in carry] == owed
        assert np.abs(carry).max() < 2 * ONE
        assert carry.sum() == 0


def test_equal_weights_take_turns_and_known_rows_stay_known():
    domains, _ = assign_rows(8, fixed_point([0.25] * 4), np.zeros(4, np.int64), np.full(4, UNLIMITED))
    assert domains.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    domains, _ = assign_rows(14, fixed_point([0.5, 0.3, 0.2]), np.zeros(3, np.int64), np.full(3, UNLIMITED))
    assert domains.tolist() == [0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2]


def test_the_turn_of_a_domain_without_rows_is_not_taken():
    carry, remaining = np.zeros(2, np.int64), np.array([2, 100])
    weights = fixed_point([0.5, 0.5])
    domains, count = assign_rows(10, weights, carry, remaining)
    assert count == 4
    assert domains[:5].tolist() == [0, 1, 0, 1, 0]
    assert remaining.tolist() == [0, 98]
    assert carry.tolist() == [0, 0]


@given(WEIGHTS)
def test_fixed_point_weights_sum_to_one_exactly_and_are_the_nearest(values):
    weights = shares(values)
    assert weights.sum() == ONE
    assert (weights >= 0).all()
    total = math.fsum(values)
    assert np.abs(weights - np.array([value / total * ONE for value in values])).max() <= 1


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_fixed_point_weights_only_depend_on_the_weights_not_on_their_scale(values, random):
    scale = random.choice([0.5, 2.0, 4.0])
    assert fixed_point([value * scale for value in values]).tolist() == fixed_point(values).tolist()


def test_weights_are_ordered_as_the_domains_and_those_not_named_are_zero():
    assert list(checked_weights({"c": 0.25, "a": 0.75}, ["a", "b", "c"]).items()) == [
        ("a", 0.75),
        ("b", 0.0),
        ("c", 0.25),
    ]
    assert checked_weights({"a": 0.1, "b": 0.2, "c": 0.7000000001}, "abc")["c"] == 0.7000000001


@pytest.mark.parametrize(
    ("weights", "faults"),
    [
        ({"a": 0.5, "d": 0.5}, ["unknown domain 'd'"]),
        ({"a": 1.5, "b": -0.5}, ["b: -0.5 is no weight"]),
        ({"a": math.nan, "b": 1.0}, ["a: nan is no weight"]),
        ({"a": math.inf, "b": 1.0}, ["a: inf is no weight"]),
        ({"a": 0.6, "b": 0.6}, ["they sum to 1.200000"]),
        ({"a": 0.0, "b": 0.0}, ["they sum to 0.000000"]),
        ({}, ["they sum to 0.000000"]),
        ({"x": math.nan, "y": -1.0}, ["unknown domain 'x'", "unknown domain 'y'", "x: nan", "y: -1.0"]),
    ],
)
def test_weights_that_are_not_valid_are_refused_with_every_fault(weights, faults):
    with pytest.raises(TrainingError) as caught:
        checked_weights(weights, ["a", "b", "c"])
    for fault in faults:
        assert fault in caught.value.what
    assert "domains here: a, b, c" in caught.value.fix


def test_the_fix_gives_the_weights_scaled_to_one():
    with pytest.raises(TrainingError) as caught:
        checked_weights({"a": 3, "b": 1}, ["a", "b"])
    assert caught.value.fix.endswith("scaled to one: {'a': 0.75, 'b': 0.25}")

"""Calibration and measures against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality_models.calibration import Platt, fit_platt, log_odds
from quality_models.measure import auc, calibration_error, caught, clean_check, false_alarms, with_interval


def overconfident(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Raw values whose log-odds are three times too large."""
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 1.5, count)
    return 1 / (1 + np.exp(-3 * truth)), rng.random(count) < 1 / (1 + np.exp(-truth))


def test_platt_undoes_overconfidence() -> None:
    raw, positive = overconfident()
    platt = fit_platt(raw, positive, prior=float(positive.mean()))
    assert platt.slope == pytest.approx(1 / 3, rel=0.1)
    assert platt.offset == pytest.approx(0, abs=0.1)
    before = calibration_error(raw, positive, prior=float(positive.mean()))
    after = calibration_error(platt.apply(raw), positive, prior=float(positive.mean()))
    assert after < before / 3


def test_a_smaller_prior_lowers_the_scores_and_keeps_their_order() -> None:
    raw, positive = overconfident()
    even, rare = fit_platt(raw, positive, prior=0.5), fit_platt(raw, positive, prior=0.05)
    assert (rare.apply(raw) < even.apply(raw)).all()
    assert auc(rare.apply(raw), positive) == pytest.approx(auc(raw, positive), abs=1e-4)


def test_perfectly_separable_windows_still_give_finite_parameters() -> None:
    raw = np.array([0.001, 0.002, 0.998, 0.999] * 10)
    platt = fit_platt(raw, raw > 0.5, prior=0.5)
    assert np.isfinite([platt.slope, platt.offset]).all()
    assert platt.apply(raw)[3] > 0.9


def test_one_class_alone_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_platt(np.array([0.5, 0.6]), np.array([True, True]), prior=0.5)


@given(st.lists(st.floats(0, 2), min_size=1), st.floats(0.01, 10), st.floats(-10, 10))
def test_calibrated_values_are_probabilities_in_the_same_order(raw: list[float], slope: float, offset: float) -> None:
    values = Platt(slope=slope, offset=offset).apply(np.sort(np.array(raw)))
    assert ((values >= 0) & (values <= 1)).all()
    assert (np.diff(values) >= 0).all()


def test_log_odds_are_finite_even_at_the_edges() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 1.0, 1.00001, -0.1]))).all()


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_chance_that_a_positive_scores_above_a_negative(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    wins = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    value = auc(scores, positive)
    assert np.isnan(value) if not wins else value == pytest.approx(np.mean(wins))


def test_shares_beyond_a_threshold_count_the_threshold_itself() -> None:
    scores, positive = np.array([0.5, 0.4, 0.5, 0.1]), np.array([True, True, False, False])
    assert caught(scores, positive, threshold=0.5) == 0.5
    assert false_alarms(scores, positive, threshold=0.5) == 0.5


def test_an_interval_contains_its_value_and_is_the_same_each_time() -> None:
    raw, positive = overconfident(400)
    first, second = (with_interval("auc", auc, raw, positive, resamples=100) for _ in range(2))
    assert first == second
    assert first.low <= first.value <= first.high


@pytest.mark.parametrize(("worse_is_higher", "beyond"), [(True, 0.25), (False, 0.5)])
def test_the_clean_check_counts_what_lies_past_the_threshold(worse_is_higher: bool, beyond: float) -> None:
    check = clean_check("d", [0.1, 0.2, 0.5, 0.9], threshold=0.5, worse_is_higher=worse_is_higher)
    assert check.beyond == beyond
    assert check.median == 0.35

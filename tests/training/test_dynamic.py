"""Dynamic batch loading: the update rule, its options, the references, and the published figures of the scaling law."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import TrainingError
from training.dynamic import DynamicLoading, GivenReference, Mixer, fit_scaling_law, update_weights
from training.recipe import references

NAMES = ("cc", "github", "book", "wiki")
PAPER = DynamicLoading(smoothing=0.0)

weights_of = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4).map(
    lambda values: {name: value / math.fsum(values) for name, value in zip(NAMES, values, strict=True)}
)
losses_of = st.lists(st.floats(0.1, 6.0), min_size=4, max_size=4).map(lambda v: dict(zip(NAMES, v, strict=True)))


def by_hand(weights, losses, reference, eta=1.0):
    """Algorithm 1 of the paper, written down once more."""
    raised = {name: w * math.exp(eta * max(losses[name] - reference[name], 0.0)) for name, w in weights.items()}
    return {name: value / sum(raised.values()) for name, value in raised.items()}


@given(weights_of, losses_of, losses_of, st.floats(0.1, 3.0))
def test_the_default_is_the_rule_of_the_paper(weights, losses, reference, eta):
    found = update_weights(weights, losses, reference, PAPER.model_copy(update={"eta": eta}))
    assert found == pytest.approx(by_hand(weights, losses, reference, eta), abs=1e-9)


@given(weights_of, losses_of, losses_of, st.booleans(), st.sampled_from([0.0, 1e-4, 0.1]))
def test_weights_sum_to_one_and_smoothing_is_a_floor(weights, losses, reference, clamp, smoothing):
    config = DynamicLoading(clamp=clamp, smoothing=smoothing)
    found = update_weights(weights, losses, reference, config)
    assert math.fsum(found.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(found.values()) >= smoothing / len(NAMES) * (1 - 1e-9)


@given(weights_of, losses_of, losses_of, st.permutations(NAMES))
def test_the_order_of_domains_does_not_matter(weights, losses, reference, order):
    turned = update_weights({name: weights[name] for name in order}, losses, reference, PAPER)
    assert turned == pytest.approx(update_weights(weights, losses, reference, PAPER), abs=1e-12)


@given(weights_of, losses_of)
def test_nothing_moves_while_every_loss_is_below_its_reference(weights, losses):
    above = {name: loss + 0.5 for name, loss in losses.items()}
    assert update_weights(weights, losses, above, PAPER) == pytest.approx(weights, abs=1e-9)


@given(weights_of, losses_of, losses_of, st.sampled_from(NAMES), st.floats(0.01, 1.0))
def test_a_larger_excess_never_lowers_a_weight(weights, losses, reference, name, more):
    raised = {**losses, name: max(losses[name], reference[name]) + more}
    before = update_weights(weights, losses, reference, PAPER)
    assert update_weights(weights, raised, reference, PAPER)[name] >= before[name] - 1e-12


def test_the_signed_rule_takes_from_domains_below_their_reference():
    even = dict.fromkeys(NAMES, 0.25)
    losses = {"cc": 2.0, "github": 1.0, "book": 2.0, "wiki": 2.0}
    reference = dict.fromkeys(NAMES, 2.0)
    assert update_weights(even, losses, reference, PAPER) == pytest.approx(even)
    signed = update_weights(even, losses, reference, DynamicLoading(clamp=False, smoothing=0.0))
    assert signed["github"] == pytest.approx(0.25 * math.exp(-1) / (0.75 + 0.25 * math.exp(-1)))


@given(weights_of, losses_of, losses_of)
def test_bounds_hold(weights, losses, reference):
    found = update_weights(weights, losses, reference, DynamicLoading(eta=5.0, floor=0.05, ceiling=0.6))
    assert all(0.05 - 1e-9 <= value <= 0.6 + 1e-9 for value in found.values())
    assert math.fsum(found.values()) == pytest.approx(1.0, abs=1e-9)


def test_bounds_that_cannot_hold_are_refused():
    with pytest.raises(TrainingError, match="cannot share"):
        update_weights(
            dict.fromkeys(NAMES, 0.25), dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 1.0), DynamicLoading(floor=0.4)
        )


@pytest.mark.parametrize("lost", [math.nan, math.inf, None])
def test_a_domain_without_a_loss_keeps_its_weight_and_warns(lost):
    weights = {"cc": 0.5, "github": 0.2, "book": 0.2, "wiki": 0.1}
    losses = {"cc": 3.0, "book": 2.0, "wiki": 2.0} | ({} if lost is None else {"github": lost})
    with pytest.warns(RuntimeWarning, match="no finite loss for github"):
        found = update_weights(weights, losses, dict.fromkeys(NAMES, 2.0), PAPER)
    assert found["github"] == 0.2
    assert math.fsum(found.values()) == pytest.approx(1.0)
    assert found["cc"] > 0.5


def test_no_loss_at_all_changes_nothing():
    weights = dict.fromkeys(NAMES, 0.25)
    with pytest.warns(RuntimeWarning):
        assert update_weights(weights, {}, dict.fromkeys(NAMES, 2.0), PAPER) == weights


def test_a_domain_of_weight_zero_stays_out():
    weights = {"cc": 0.5, "github": 0.0, "book": 0.5, "wiki": 0.0}
    found = update_weights(weights, dict.fromkeys(NAMES, 5.0), dict.fromkeys(NAMES, 1.0), DynamicLoading())
    assert found["github"] == found["wiki"] == 0.0


def test_a_missing_reference_is_an_error():
    with pytest.raises(TrainingError, match="no reference loss for: wiki"):
        update_weights(dict.fromkeys(NAMES, 0.25), {}, {"cc": 1.0, "github": 1.0, "book": 1.0}, PAPER)


def test_earlier_losses_count_as_much_as_decay_says_and_survive_a_restart():
    reference, even = dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 0.25)
    config = DynamicLoading(decay=0.5, smoothing=0.0)
    mixer = Mixer(config, reference)
    mixer.update(even, {"cc": 3.0, "github": 1.0, "book": 1.0, "wiki": 1.0})
    again = Mixer(config, reference)
    again.load_state_dict(json.loads(json.dumps(mixer.state_dict())))
    now = {"cc": 2.0, "github": 1.0, "book": 1.0, "wiki": 1.0}
    expected = by_hand(even, {**now, "cc": 2.5}, reference)
    assert mixer.update(even, now) == pytest.approx(expected)
    assert again.update(even, now) == pytest.approx(expected)


SIZES = (6738415616.0, 13015864320.0, 68976648192.0)
SOURCES = {
    "cc": (1.7520, 1.6680, 1.4621),
    "github": (0.6216, 0.5791, 0.4890),
    "book": (1.9063, 1.8242, 1.6450),
    "stackexchange": (1.4482, 1.3936, 1.2805),
    "wiki": (1.4844, 1.3945, 1.2118),
    "arxiv": (1.2637, 1.2109, 1.1148),
    "c4": (1.9219, 1.8486, 1.6848),
}
"""Losses of LLaMA-2 at 7, 13 and 70 billion parameters (notebook of the authors' repository)."""
PUBLISHED = {
    "cc": (1.9643, 1.8712, 2.1401),
    "github": (0.7459, 0.6883, 0.8694),
    "book": (2.1393, 2.0325, 2.3625),
    "stackexchange": (1.6117, 1.5353, 1.7791),
    "wiki": (1.7590, 1.6297, 2.0470),
    "arxiv": (1.4449, 1.3560, 1.6637),
    "c4": (2.1251, 2.0328, 2.3139),
}
"""The authors' reference losses for their models of 1.3 and 2.7 billion and of 370 million parameters."""
TARGETS = (1345423360, 2701560320, 373867520)


@pytest.mark.parametrize("domain", SOURCES)
def test_the_scaling_law_gives_the_published_reference_losses(domain):
    found = tuple(round(fit_scaling_law(SIZES, SOURCES[domain], size), 4) for size in TARGETS)
    assert found == PUBLISHED[domain]


def test_a_law_through_more_than_three_sizes_is_a_fit():
    sizes = (1e8, 3e8, 1e9, 3e9, 1e10)
    exact = tuple(400 / size**0.3 + 1.7 for size in sizes)
    assert fit_scaling_law(sizes, exact, 5e10) == pytest.approx(400 / 5e10**0.3 + 1.7, abs=1e-6)


def test_references_come_from_a_file_with_every_domain(tmp_path):
    path = tmp_path / "losses.json"
    path.write_text(json.dumps(dict.fromkeys(NAMES, 1.5)))
    config = DynamicLoading(reference=GivenReference(file=path))
    assert references(config, list(NAMES), 1, {}) == dict.fromkeys(NAMES, 1.5)
    with pytest.raises(TrainingError, match="no reference loss for: law"):
        references(config, [*NAMES, "law"], 1, {})
    path.write_text("[1]")
    with pytest.raises(TrainingError, match="cannot be read"):
        references(config, list(NAMES), 1, {})

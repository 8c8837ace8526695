"""Planted modularity is found, shuffled modularity is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from training.modularity.anatomy import FeedForward
from training.modularity.emergence import group_means, settling
from training.modularity.experts import at_random, by_weights
from training.modularity.figures import Measured, emergence_figures, functional_figures, similarity_figures
from training.modularity.functional import compared, degree, expert_counts, hold_against_chance, similarity, top_neurons
from training.modularity.predictivity import predictivity

NEURONS, EXPERTS, PARTS, TOP = 256, 16, 4, 16
REAL = np.arange(NEURONS) // (NEURONS // EXPERTS)
RANDOM = at_random(NEURONS, EXPERTS, 200, [0, 0])


@pytest.fixture(scope="module")
def planted():
    """Predictivities [parts, neurons] from activations: neurons of expert ``p`` are louder in sub-function ``p``."""
    rng = np.random.default_rng(0)
    topic = np.repeat(np.arange(PARTS), 60)
    activations = np.maximum(rng.normal(size=(len(topic), NEURONS)), 0)
    activations += 0.6 * (REAL[None] == topic[:, None])
    found = []
    for part in range(PARTS):
        own = topic == part
        balanced = np.concatenate([np.flatnonzero(own), rng.permutation(np.flatnonzero(~own))[:60]])
        scores = torch.from_numpy(activations[balanced].astype(np.float32))
        found.append(predictivity(scores, torch.from_numpy(own[balanced])[None])[0].numpy())
    return np.stack(found)


def test_planted_experts_are_found_and_no_others(planted):
    found = hold_against_chance(planted, REAL, RANDOM, experts=EXPERTS, top=TOP)
    assert np.argwhere(found.counts > found.threshold).tolist() == [[part, part] for part in range(PARTS)]
    proportion, degree = compared(found.parts.proportion), compared(found.parts.degree)
    assert proportion["experts"] == 1 / EXPERTS
    assert proportion["p"] == degree["p"] == pytest.approx(1 / 201)
    assert proportion["random"] < 0.002
    assert degree["experts"] > 10
    # together: each of the four experts holds a quarter of all top neurons
    assert compared(found.pooled.proportion)["experts"] == PARTS / EXPERTS


def test_the_same_neurons_in_shuffled_experts_are_not_modular(planted):
    shuffled = np.random.default_rng(1).permutation(REAL)
    found = hold_against_chance(planted, shuffled, RANDOM, experts=EXPERTS, top=TOP)
    assert compared(found.parts.proportion)["p"] > 0.01
    assert not (found.counts > found.threshold).any()


def test_degree_is_the_density_in_functional_experts_and_zero_without_any():
    counts = np.array([[[12, 2, 1, 1], [4, 4, 4, 4]]])
    found = degree(counts, threshold=8)
    assert found.proportion.tolist() == [1 / 8]
    assert found.degree.tolist() == [12 / 4 / 2]


def test_counts_of_every_partition_are_those_of_a_plain_loop():
    rng = np.random.default_rng(2)
    top = top_neurons(rng.random((3, NEURONS)), TOP)
    found = expert_counts(top, RANDOM[:5], EXPERTS)
    for partition in range(5):
        for part in range(3):
            for expert in range(EXPERTS):
                held = sum(RANDOM[partition, neuron] == expert for neuron in top[part])
                assert found[partition, part, expert] == held


def test_similarity_is_the_overlap_of_top_neurons_averaged_over_layers():
    top = np.array([[[0, 1], [1, 2]], [[0, 1], [0, 1]]])  # layers, parts
    assert similarity(top, 4).tolist() == [[1, 0.75], [0.75, 1]]


def test_random_partitions_are_balanced_and_follow_from_their_seed():
    assert (np.sort(RANDOM, axis=1) == REAL).all()
    assert np.array_equal(at_random(NEURONS, EXPERTS, 200, [0, 0]), RANDOM)
    assert not np.array_equal(at_random(NEURONS, EXPERTS, 200, [0, 1]), RANDOM)


def test_experts_are_neurons_that_read_the_same():
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(8, 32))
    planted = rng.permutation(np.arange(64) % 8)
    rows = (centres[planted] + 0.1 * rng.normal(size=(64, 32))) * rng.uniform(0.1, 5, size=(64, 1))
    first, second = nn.Linear(32, 64), nn.Linear(64, 32)
    first.weight.data = torch.from_numpy(rows.astype(np.float32))
    found = by_weights(FeedForward(first, second), 8, seed=0)
    assert len({(mine, theirs) for mine, theirs in zip(found, planted, strict=True)}) == 8


def test_experts_that_are_steadier_than_their_neurons_settle_earlier():
    """Neurons share their expert's predictivity and have noise of their own."""
    rng = np.random.default_rng(4)
    shared = np.repeat(rng.random(EXPERTS), NEURONS // EXPERTS)
    before, after = ((shared + 0.7 * rng.random((PARTS, NEURONS)))[:, None] for _ in range(2))
    found = settling(before, after, REAL[None], RANDOM[None])
    assert found.experts[0] > found.neurons[0] + 0.1
    assert found.experts[0] > found.random[0] + 0.1


def test_group_means_are_plain_means():
    values = np.random.default_rng(5).random((2, NEURONS))
    found = group_means(values, RANDOM[:3])
    assert found[1, 2, 7] == pytest.approx(values[1][RANDOM[2] == 7].mean())


def test_figures_tell_functions_apart_and_follow_a_training(planted):
    other = np.random.default_rng(6).random((2, NEURONS))
    values = {"topic": planted[:, None], "noise": other[:, None]}
    names = {"topic": ["a", "b", "c", "d"], "noise": ["e", "f"]}
    measured = Measured(names, values, REAL[None], RANDOM[None], EXPERTS, TOP)
    functional = functional_figures(measured)
    assert [one["part"] for one in functional["topic"]["experts"]] == names["topic"]
    assert functional["topic"]["all"]["proportion"]["p"] < 0.01 < functional["noise"]["all"]["proportion"]["p"]
    overlap = similarity_figures(measured)
    assert set(overlap["means"]) == {"topic", "noise", "topic and noise"}
    untrained = {name: np.random.default_rng(7).random(found.shape) for name, found in values.items()}
    found = emergence_figures(measured, {0: untrained, 100: values, 200: values})["functions"]["topic"]
    assert [one["step"] for one in found["settling"]] == [100, 200]
    assert found["settling"][1]["experts"] == pytest.approx(1.0)
    assert abs(found["settling"][0]["neurons"]) < 0.2
    assert found["reached"][0]["proportion"] == [0.0]
    assert found["reached"][2]["proportion"] == [1 / EXPERTS]

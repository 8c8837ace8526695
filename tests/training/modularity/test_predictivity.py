"""Predictivity is scikit-learn's average precision of the better side, ties and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from training.modularity import predictivity as module
from training.modularity.predictivity import predictivity


def expected(scores, labels):
    return [
        [max(average_precision_score(side, neuron) for side in (label, ~label)) for neuron in scores.T]
        for label in labels
    ]


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_it_is_the_average_precision_of_scikit_learn(decimals):
    rng = np.random.default_rng(decimals)
    scores = np.maximum(rng.normal(size=(200, 15)), 0).round(decimals).astype(np.float32)
    labels = rng.random((4, 200)) < np.array([0.02, 0.3, 0.5, 0.9])[:, None]
    found = predictivity(torch.from_numpy(scores), torch.from_numpy(labels))
    assert found.numpy() == pytest.approx(np.array(expected(scores, labels)), abs=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=12).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
def test_few_scores_with_many_ties(rows):
    scores = np.array([[score] for score, _ in rows], np.float32)
    labels = np.array([[label for _, label in rows]])
    found = predictivity(torch.from_numpy(scores), torch.from_numpy(labels))
    assert found.numpy() == pytest.approx(np.array(expected(scores, labels)), abs=1e-12)


def test_a_silent_neuron_tells_nothing_and_a_perfect_one_everything():
    labels = torch.tensor([[True, True, False, False]])
    scores = torch.tensor([[0.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    # the last one is silent where the sub-function is: it tells its absence
    assert predictivity(scores, labels)[0].tolist() == [0.5, 1.0, 1.0]


def test_neurons_are_the_same_in_any_chunk(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(50, 23, generator=generator).relu(), torch.rand(2, 50, generator=generator) < 0.5
    whole = predictivity(scores, labels)
    monkeypatch.setattr(module, "CHUNK", 150)
    assert torch.equal(predictivity(scores, labels), whole)

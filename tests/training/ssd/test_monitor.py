"""The monitor's figures are those of the definitions, and follow neurons that move."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.llama import new_model
from training.moefication.convert import divide
from training.moefication.layer import Experts
from training.shape import LlamaShape
from training.ssd.learner import SwitchableTraining
from training.ssd.monitor import activations, covariance_cosine
from training.ssd.settings import Switching

SHAPE = LlamaShape(layers=2, hidden=16, intermediate=48, heads=2, kv_heads=1, head_dim=8, vocab=60, feed_forward="relu")


def made():
    """A learner, never sparse, and its probe."""
    probe = torch.randint(0, 60, (3, 10), generator=torch.Generator().manual_seed(4))
    return SwitchableTraining(
        new_model(SHAPE, 0), Experts(number=6, active=2), "dense", Switching(), steps=10, probe=probe, seed=0
    )


def test_the_cosine_is_that_of_the_covariance_matrices():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(40, 30, generator=generator) + torch.rand(40, 1, generator=generator) for _ in range(2))
    first, second = (torch.from_numpy(np.cov(x.numpy(), rowvar=False)) for x in (one, other))
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0)
    assert covariance_cosine(one, other) == pytest.approx(float(cosine), rel=1e-4)
    assert covariance_cosine(one, one * 7) == pytest.approx(1.0)
    assert covariance_cosine(one, one + 3) == pytest.approx(1.0, rel=1e-3)


def test_neurons_that_never_vary_are_no_accident():
    still = torch.zeros(10, 5)
    assert covariance_cosine(still, still) == 1.0
    assert covariance_cosine(still, torch.rand(10, 5)) == 0.0


def test_activations_are_those_of_the_layers():
    learner = made()
    model, probe = learner.model, learner.module.monitor.probe
    found = activations(learner.module, probe)
    x = model.model.embed_tokens(probe)
    rotary = model._rotary(probe, None)
    for block, pattern in zip(model.model.layers, found, strict=True):
        attended = x + block.self_attn(block.input_layernorm(x), rotary, None)
        inner = torch.relu(block.post_attention_layernorm(attended) @ block.mlp.w_in.t())
        torch.testing.assert_close(pattern.float(), inner.flatten(0, 1), rtol=1e-3, atol=1e-3)
        x = block(x, rotary, None)
    assert learner.module.training  # as it was before


def test_check_ups_compare_with_the_one_before():
    learner = made()
    monitor = learner.module.monitor
    first = monitor.check_up(learner.module)
    assert (first.similarity, first.jaccard) == (None, None)
    assert first.active == pytest.approx(float((monitor.patterns > 0).float().mean()))
    again = monitor.check_up(learner.module)
    assert (again.similarity, again.jaccard) == (pytest.approx(1.0), 1.0)
    with torch.no_grad():
        for layer in learner.module.layers:
            layer.w_in.copy_(torch.randn(layer.w_in.shape, generator=torch.Generator().manual_seed(1)))
    changed = monitor.check_up(learner.module)
    assert changed.similarity < 0.6
    assert changed.jaccard < 0.6


def test_neurons_that_moved_are_still_the_same_neurons():
    learner = made()
    monitor = learner.module.monitor
    monitor.check_up(learner.module)
    for number, layer in enumerate(learner.module.layers):
        monitor.permute(number, divide(layer, None, seed=0, divided=False).order)
    found = monitor.check_up(learner.module)
    assert found.similarity == pytest.approx(1.0, abs=1e-5)
    assert found.jaccard == pytest.approx(1.0, abs=1e-3)


def test_without_following_them_they_would_seem_others():
    learner = made()
    learner.module.monitor.check_up(learner.module)
    for layer in learner.module.layers:
        divide(layer, None, seed=0, divided=False)
    assert learner.module.monitor.check_up(learner.module).similarity < 0.9

"""Conversion: the same function, the same next update; and a layer that runs sparse as a masked dense one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import AdamW

from corpus.errors import ModelError, TrainingError
from training.checkpoint import open_model
from training.learner import token_loss
from training.llama import new_model
from training.moefication.convert import coactivation, divide
from training.moefication.layer import Experts, feed_forwards, flops_per_token, running, switchable
from training.moefication.saved import open_switchable, save_switchable
from training.shape import LlamaShape

SHAPE = LlamaShape(layers=2, hidden=16, intermediate=48, heads=2, kv_heads=1, head_dim=8, vocab=60, feed_forward="relu")
EXPERTS = Experts(number=6, active=2)


def made(seed=0, experts=EXPERTS):
    """A model with experts, its optimiser, and a batch."""
    model = new_model(SHAPE, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)  # activations that differ from token to token
    switchable(model, experts)
    optimiser = AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    tokens = torch.randint(0, SHAPE.vocab, (4, 13), generator=torch.Generator().manual_seed(seed + 1))
    return model, optimiser, tokens


def update(model, optimiser, tokens):
    """One step of training; returns the logits before it."""
    logits = model(tokens[:, :-1])
    token_loss(logits, tokens[:, 1:]).backward()
    optimiser.step()
    optimiser.zero_grad()
    return logits.detach()


@pytest.mark.parametrize("by", ["weights", "coactivation", "random"])
def test_the_next_updates_are_those_that_would_have_come(by):
    model, optimiser, tokens = made(experts=EXPERTS.model_copy(update={"by": by}))
    for _ in range(3):
        update(model, optimiser, tokens)
    twin, twin_optimiser = copy.deepcopy((model, optimiser))
    pattern = torch.rand(30, SHAPE.intermediate, generator=torch.Generator().manual_seed(0))
    orders = [
        divide(layer, twin_optimiser, seed=0, divided=False, pattern=pattern).order for layer in feed_forwards(twin)
    ]
    assert all(not torch.equal(order, torch.arange(48)) for order in orders)
    for _ in range(3):
        torch.testing.assert_close(update(twin, twin_optimiser, tokens), update(model, optimiser, tokens))
    for order, layer, moved in zip(orders, feed_forwards(model), feed_forwards(twin), strict=True):
        for weight in ("w_in", "w_out"):
            torch.testing.assert_close(getattr(moved, weight), getattr(layer, weight)[order])
            state, theirs = optimiser.state[getattr(layer, weight)], twin_optimiser.state[getattr(moved, weight)]
            torch.testing.assert_close(theirs["exp_avg_sq"], state["exp_avg_sq"][order])
            assert theirs["step"] == state["step"] == 6


def test_an_optimiser_that_is_left_behind_shows():
    model, optimiser, tokens = made()
    for _ in range(3):
        update(model, optimiser, tokens)
    twin, twin_optimiser = copy.deepcopy((model, optimiser))
    for layer in feed_forwards(twin):
        divide(layer, None, seed=0, divided=False)
    update(twin, twin_optimiser, tokens)
    update(model, optimiser, tokens)
    assert (twin(tokens) - model(tokens)).abs().max() > 1e-3


def test_a_new_router_points_at_the_centres_and_forgets():
    model, optimiser, tokens = made()
    with running(feed_forwards(model), sparse=True):
        update(model, optimiser, tokens)
    layer = feed_forwards(model)[0]
    assert optimiser.state[layer.router]["exp_avg"].abs().max() > 0
    divide(layer, optimiser, seed=0, divided=False)
    assert all(float(value.abs().max()) == 0 for value in optimiser.state[layer.router].values())
    length = layer.w_in[0].norm()
    torch.testing.assert_close(layer.router.norm(dim=1), length.expand(6))
    rows = torch.nn.functional.normalize(layer.w_in, dim=1).view(6, 8, -1).mean(dim=1)
    torch.testing.assert_close(layer.router / length, torch.nn.functional.normalize(rows, dim=1))


def test_experts_stay_where_they_are_as_long_as_neurons_do():
    model, _, _ = made()
    layer = feed_forwards(model)[0]
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():  # eight neurons around each of six directions
        centres = torch.randn(6, 16, generator=generator)[torch.arange(48) % 6]
        layer.w_in.copy_(centres + 0.2 * torch.randn(48, 16, generator=generator))
    assert divide(layer, None, seed=0, divided=False).agreement is None
    again = divide(layer, None, seed=0, divided=True)
    assert again.agreement == 1.0
    assert torch.equal(again.order, torch.arange(48))
    with torch.no_grad():
        layer.w_in.copy_(layer.w_in[torch.randperm(48, generator=generator)])
    assert divide(layer, None, seed=0, divided=True).agreement < 0.5


def test_all_experts_together_are_the_dense_layer():
    model, _, tokens = made(experts=Experts(number=6, active=6))
    for layer in feed_forwards(model):
        divide(layer, None, seed=0, divided=False)
    dense = model(tokens)
    with running(feed_forwards(model), sparse=True):
        torch.testing.assert_close(model(tokens), dense)


def test_a_sparse_layer_is_the_dense_one_under_a_mask():
    model, _, _ = made()
    layer = feed_forwards(model)[0].eval()
    divide(layer, None, seed=0, divided=False)
    x = torch.randn(7, 5, 16, generator=torch.Generator().manual_seed(2))
    chosen, gates = layer.route(x.flatten(0, 1))
    assert torch.equal(gates, torch.ones_like(gates))
    mask = torch.zeros(35, 6).scatter(1, chosen, 1.0).repeat_interleave(8, dim=1).view(7, 5, 48)
    with running([layer], sparse=True):
        torch.testing.assert_close(layer(x, None), layer.__class__.forward(_dense(layer), x, mask))


def _dense(layer):
    layer = copy.deepcopy(layer)
    layer.sparse = False
    return layer


def test_the_router_learns_through_gates_of_one():
    model, optimiser, tokens = made()
    for layer in feed_forwards(model):
        divide(layer, optimiser, seed=0, divided=False)
    before = [layer.router.detach().clone() for layer in feed_forwards(model)]
    with running(feed_forwards(model), sparse=True):
        losses = [float(token_loss(update(model, optimiser, tokens), tokens[:, 1:])) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert all((layer.router - was).abs().max() > 1e-3 for layer, was in zip(feed_forwards(model), before, strict=True))
    assert [int(layer.take_load().sum()) for layer in feed_forwards(model)] == [30 * 48 * 2] * 2


def test_in_dense_mode_every_parameter_has_a_gradient():
    model, _, tokens = made()
    token_loss(model(tokens), tokens).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(float(layer.router.grad.abs().max()) == 0 for layer in feed_forwards(model))


def test_coactivation_tells_neurons_apart_that_fire_together():
    together = torch.zeros(40, 6)
    together[:20, :3] = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    together[20:, 3:] = torch.rand(20, 3, generator=torch.Generator().manual_seed(1)) + 0.5
    rows = coactivation(together)
    assert (rows @ rows.t())[:3, :3].min() > 0.3
    assert (rows @ rows.t())[:3, 3:].abs().max() == 0


def test_what_is_saved_runs_both_ways(tmp_path):
    model, _, tokens = made()
    for layer in feed_forwards(model):
        divide(layer, None, seed=0, divided=False)
    save_switchable(SHAPE, EXPERTS, {f"model.{n}": v for n, v in model.state_dict().items()}, tmp_path / "m")
    again = open_switchable(tmp_path / "m")
    assert torch.equal(open_model(tmp_path / "m")(tokens), model(tokens))
    for sparse in (False, True):
        with running(feed_forwards(model), sparse=sparse), running(feed_forwards(again), sparse=sparse):
            assert torch.equal(again.eval()(tokens), model.eval()(tokens))


def test_a_dense_folder_of_another_library_is_the_same_model(tmp_path):
    from transformers import AutoModelForCausalLM

    model, _, tokens = made()
    save_switchable(SHAPE, EXPERTS, {f"model.{n}": v for n, v in model.state_dict().items()}, tmp_path / "m")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert type(theirs).__name__ == "ArceeForCausalLM"
    torch.testing.assert_close(theirs(tokens).logits, model(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "experts.json").unlink(), "only runs dense"),
        (lambda folder: (folder / "experts.json").write_text('{"number": 5, "active": 2}'), "not those of 5 experts"),
        (lambda folder: (folder / "experts.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "experts.safetensors").write_bytes(b"x"), "cannot be read"),
        (lambda folder: (folder / "experts.safetensors").unlink(), "cannot be read"),
    ],
)
def test_damaged_experts_are_refused(tmp_path, spoil, message):
    model, _, _ = made()
    save_switchable(SHAPE, EXPERTS, {f"model.{n}": v for n, v in model.state_dict().items()}, tmp_path / "m")
    spoil(tmp_path / "m")
    with pytest.raises(ModelError, match=message) as caught:
        open_switchable(tmp_path / "m")
    assert str(tmp_path / "m") in str(caught.value)


def test_other_feed_forwards_and_sizes_are_refused():
    with pytest.raises(TrainingError, match="swiglu"):
        switchable(new_model(SHAPE.model_copy(update={"feed_forward": "swiglu"}), 0), EXPERTS)
    with pytest.raises(TrainingError, match="48 neurons cannot be divided evenly into 7"):
        switchable(new_model(SHAPE, 0), Experts(number=7, active=2))
    with pytest.raises(ValueError, match="3 of 2 experts"):
        Experts(number=2, active=3)


def test_flops_count_the_chosen_experts_and_the_router():
    dense, sparse = (flops_per_token(SHAPE, EXPERTS, sparse=mode) for mode in (False, True))
    assert dense == SHAPE.flops_per_token
    assert dense - sparse == 6 * 2 * (2 * 16 * 48 * 2 // 3 - 6 * 16)

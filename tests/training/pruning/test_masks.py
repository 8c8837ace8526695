"""Targets, gates, multipliers and baselines: exact counts, noise that can be repeated, convergence to the target."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from corpus.errors import ManifestError
from training.llama import Llama, new_model
from training.pruning.baselines import magnitude_masks, random_masks
from training.pruning.constraint import Lagrange, Scale
from training.pruning.masks import GAMMA, GROUPS, LIMIT, ZETA, PruningMasks
from training.pruning.target import Target, kept_units, target_shape
from training.shape import LlamaShape, Masks

SOURCE = LlamaShape(layers=4, hidden=32, intermediate=96, heads=4, kv_heads=4, head_dim=8, vocab=48)
TARGET = Target(layers=3, hidden=24, intermediate=64, heads=3)
GROUPED = SOURCE.model_copy(update={"heads": 8})
GROUPED_TARGET = TARGET.model_copy(update={"heads": 6})


@st.composite
def problems(draw: st.DrawFn) -> tuple[LlamaShape, Target]:
    """A source, and a target that it can be pruned to."""
    group, keys, layers = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    hidden, inner = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    source = LlamaShape(
        layers=layers, hidden=hidden, intermediate=inner, heads=group * keys, kv_heads=keys, head_dim=4, vocab=9
    )
    target = Target(
        layers=draw(st.integers(1, layers)),
        hidden=draw(st.integers(2, hidden)),
        intermediate=draw(st.integers(1, inner - 1)),
        heads=group * draw(st.integers(1, keys)),
    )
    return source, target


def counts(mask: Tensor) -> set[int]:
    """Survivors, in each layer where layers have their own."""
    return set((mask > 0).sum(dim=-1).flatten().tolist())


def has_the_shape_of(masks: Masks, source: LlamaShape, target: Target) -> bool:
    kept = kept_units(source, target)
    return all(counts(mask) == {kept[group]} for group, mask in masks._asdict().items())


def randomised(masks: PruningMasks, seed: int) -> PruningMasks:
    """Gates spread over their whole range."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for group in GROUPS:
            masks.parameter(group).uniform_(-LIMIT, LIMIT, generator=generator)
    return masks


# target


@given(problem=problems())
def test_a_target_gives_its_sizes_and_inherits_the_rest(problem: tuple[LlamaShape, Target]) -> None:
    source, target = problem
    shape = target_shape(source, target)
    assert (shape.layers, shape.hidden, shape.intermediate, shape.heads) == (
        target.layers,
        target.hidden,
        target.intermediate,
        target.heads,
    )
    assert (shape.head_dim, shape.group, shape.vocab) == (source.head_dim, source.group, source.vocab)


def test_all_faults_of_a_target_are_named_at_once() -> None:
    with pytest.raises(ManifestError) as caught:
        target_shape(GROUPED, Target(layers=5, hidden=33, intermediate=97, heads=9))
    assert "layers: 5 is more than the source's 4" in caught.value.what
    assert "hidden: 33 is more than the source's 32" in caught.value.what
    assert "intermediate: 97 is more than the source's 96" in caught.value.what
    assert "heads: 9 is no multiple of 2" in caught.value.what
    assert caught.value.fix


def test_half_a_group_of_heads_is_refused_and_a_whole_one_is_not() -> None:
    with pytest.raises(ManifestError, match="5 is no multiple of 2, the query heads per key and value head"):
        target_shape(GROUPED, GROUPED_TARGET.model_copy(update={"heads": 5}))
    assert target_shape(GROUPED, GROUPED_TARGET).kv_heads == 3


def test_the_source_itself_is_no_target() -> None:
    same = Target(layers=4, hidden=32, intermediate=96, heads=4)
    with pytest.raises(ManifestError, match="nothing to prune"):
        target_shape(SOURCE, same)
    target_shape(SOURCE, same.model_copy(update={"hidden": 31}))


# gates


@given(problem=problems(), seed=st.integers(0, 1 << 20))
def test_gates_at_rest_keep_exactly_the_target(problem: tuple[LlamaShape, Target], seed: int) -> None:
    source, target = problem
    fresh = PruningMasks(source, target, seed=seed)  # all equal, or nearly
    assert has_the_shape_of(fresh.at_rest(), source, target)
    assert has_the_shape_of(randomised(fresh, seed).at_rest(), source, target)


def test_gates_at_rest_keep_the_largest_at_their_soft_values() -> None:
    masks = randomised(PruningMasks(SOURCE, TARGET), 1)
    alpha, mask = masks.parameter("hidden").detach(), masks.at_rest().hidden
    assert float(alpha[mask > 0].min()) > float(alpha[mask == 0].max())
    torch.testing.assert_close(mask[mask > 0], torch.sigmoid(0.8 * alpha[mask > 0] / 0.83))


def test_gates_start_open_at_their_limit() -> None:
    masks = PruningMasks(SOURCE, TARGET)
    for group in GROUPS:
        torch.testing.assert_close(masks.parameter(group).detach(), torch.full_like(masks.parameter(group), LIMIT))
        assert float(masks.sparsity(group).mean().detach()) < 0.01


def test_gates_come_back_within_their_limits() -> None:
    masks = PruningMasks(SOURCE, TARGET)
    with torch.no_grad():
        masks.parameter("hidden").copy_(torch.linspace(-50, 50, 32))
    masks.clamp()
    found = masks.parameter("hidden").detach()
    assert float(found.min()) == pytest.approx(-math.log(100))
    assert float(found.max()) == pytest.approx(math.log(100))


@pytest.mark.parametrize("beta", [0.83, 2 / 3])
@pytest.mark.parametrize("alpha", [-4.0, -1.0, 0.0, 1.5, 4.0])
def test_the_keep_probability_is_how_often_a_drawn_gate_is_open(alpha: float, beta: float) -> None:
    source = SOURCE.model_copy(update={"intermediate": 5000})
    masks = PruningMasks(source, TARGET, beta=beta)
    with torch.no_grad():
        masks.parameter("intermediate").fill_(alpha)
    drawn = masks.sample(0).intermediate
    expected = 1 - 1 / (1 + math.exp(-(beta * math.log(-GAMMA / ZETA) - alpha)))
    assert float(masks.keep_probability("intermediate").mean().detach()) == pytest.approx(expected, abs=1e-5)
    assert float((drawn > 0).float().mean()) == pytest.approx(expected, abs=0.015)


def test_drawn_gates_hold_zeros_ones_and_what_lies_between() -> None:
    masks = PruningMasks(SOURCE, TARGET)
    with torch.no_grad():
        masks.parameter("intermediate").zero_()
    drawn = masks.sample(0).intermediate
    assert float(drawn.detach().min()) == 0
    assert float(drawn.detach().max()) == 1
    assert bool(((drawn > 0) & (drawn < 1)).any())
    drawn.sum().backward()
    gradient = masks.parameter("intermediate").grad
    assert gradient is not None
    assert gradient.isfinite().all()


def alike(one: Masks, other: Masks) -> bool:
    return all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


def test_noise_follows_from_seed_and_step_alone() -> None:
    def gates(seed: int) -> PruningMasks:
        return randomised(PruningMasks(SOURCE, TARGET, seed=seed), 0)

    masks = gates(3)
    state = torch.random.get_rng_state()
    seventh = masks.sample(7)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    assert alike(gates(3).sample(7), seventh)
    assert not any(map(torch.equal, masks.sample(8), seventh))
    # a seed must not be lost beside the step, however it is put into a generator
    assert not any(map(torch.equal, gates(4).sample(7), seventh))
    assert not any(map(torch.equal, gates(3 + (1 << 40)).sample(7), seventh))


def test_gates_move_to_other_gates_with_their_parameters() -> None:
    masks = randomised(PruningMasks(SOURCE, TARGET, beta=0.5, seed=2), 1)
    other = masks.with_parameters({name: value.clone() for name, value in masks.state_dict().items()})
    assert alike(other.at_rest(), masks.at_rest())
    assert alike(other.sample(3), masks.sample(3))


# multipliers


@pytest.mark.parametrize(("ramp", "steps"), [(10, {0: 0.1, 4: 0.5, 9: 1.0, 50: 1.0}), (0, {0: 1.0, 1: 1.0})])
def test_the_target_grows_in_a_straight_line(ramp: int, steps: dict[int, float]) -> None:
    lagrange = Lagrange(PruningMasks(SOURCE, TARGET), ramp=ramp)
    assert {step: lagrange.progress(step) for step in steps} == pytest.approx(steps)


def test_terms_over_fractions_are_means_over_layers() -> None:
    masks = randomised(PruningMasks(SOURCE, TARGET), 0)
    lagrange = Lagrange(masks, ramp=4)
    generator = torch.Generator().manual_seed(0)
    expected = 0.0
    with torch.no_grad():
        for group in GROUPS:
            first, second = torch.randn(2, generator=generator).tolist()
            getattr(lagrange, group).copy_(torch.tensor([[first], [second]]))
            deltas = masks.sparsity(group).reshape(-1) - 0.5 * (1 - masks.kept[group] / masks.full[group])
            expected += sum(first * delta + second * delta**2 for delta in deltas.tolist()) / len(deltas)
    assert float(lagrange.penalty(masks, 1).detach()) == pytest.approx(expected, rel=1e-4)


def test_terms_over_counts_are_sums_with_multipliers_per_layer() -> None:
    masks = randomised(PruningMasks(SOURCE, TARGET), 0)
    lagrange: Any = Lagrange(masks, ramp=0, scale="counts")
    assert lagrange.head.shape == (2, 4)
    assert lagrange.hidden.shape == (2, 1)
    with torch.no_grad():
        lagrange.head.copy_(torch.tensor([[1.0, -2.0, 0.0, 3.0], [0.5, 0.5, 0.5, 0.5]]))
        deltas = masks.keep_probability("head").sum(dim=-1) - 3
    expected = float((torch.tensor([1.0, -2.0, 0.0, 3.0]) * deltas + 0.5 * deltas**2).sum())
    assert float(lagrange.penalty(masks, 0).detach()) == pytest.approx(expected, rel=1e-5)


def chain(vocab: int, seed: int) -> tuple[Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocab, (vocab, 2), generator=generator), generator


def walks(following: Tensor, rows: int, length: int, generator: torch.Generator) -> Tensor:
    """Token rows in which two tokens may follow each one."""
    row = torch.randint(len(following), (rows, 1), generator=generator)
    for _ in range(length):
        turn = torch.randint(2, (rows,), generator=generator)
        row = torch.cat([row, following[row[:, -1], turn][:, None]], dim=1)
    return row


def loss_of(model: Llama, rows: Tensor, masks: Masks | None) -> Tensor:
    logits = model(rows[:, :-1], masks=masks)
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def pruned(source: LlamaShape, target: Target, scale: Scale, rate: float, steps: int) -> tuple[Llama, PruningMasks]:
    """Weights, gates and multipliers trained together from fresh weights, with the settings of the released code."""
    model, masks = new_model(source, 0), PruningMasks(source, target, seed=0)
    lagrange = Lagrange(masks, ramp=steps // 5, scale=scale)
    groups = [
        {"params": list(model.parameters()), "lr": 2e-3},
        {"params": list(masks.parameters()), "lr": rate},
        {"params": list(lagrange.parameters()), "lr": rate, "maximize": True},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    cosine = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: 0.55 + 0.45 * math.cos(math.pi * at / steps))
    following, generator = chain(source.vocab, 0)
    for step in range(steps):
        rows = walks(following, 8, 16, generator)
        loss = loss_of(model, rows, masks.sample(step)) + lagrange.penalty(masks, step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([found for group in optimiser.param_groups for found in group["params"]], 1.0)
        optimiser.step()
        cosine.step()
        masks.clamp()
    return model, masks


@pytest.mark.parametrize(
    ("source", "target", "scale", "rate"),
    [
        (SOURCE, TARGET, "fractions", 1.0),
        (GROUPED, GROUPED_TARGET, "fractions", 1.0),
        (SOURCE, TARGET, "counts", 0.1),
    ],
)
def test_gates_converge_to_the_target(source: LlamaShape, target: Target, scale: Scale, rate: float) -> None:
    model, masks = pruned(source, target, scale, rate, 250)
    for group in GROUPS:
        found = masks.sparsity(group).detach()
        torch.testing.assert_close(found, torch.full_like(found, masks.target_sparsity(group)), atol=0.02, rtol=0)
    if scale == "counts":  # its large terms hold the number, but leave gates half open: see `constraint`
        return
    following, _ = chain(source.vocab, 0)
    rows = walks(following, 64, 16, torch.Generator().manual_seed(5))
    with torch.no_grad():
        learnt = float(loss_of(model, rows, masks.at_rest()))
        by_chance = [float(loss_of(model, rows, random_masks(model, target, seed))) for seed in range(3)]
    assert learnt < min(by_chance)


# baselines


@given(problem=problems(), seed=st.integers(0, 1 << 20))
def test_baselines_keep_exactly_the_target_in_zeros_and_ones(problem: tuple[LlamaShape, Target], seed: int) -> None:
    source, target = problem
    model = new_model(source, seed)
    for masks in (magnitude_masks(model, target), random_masks(model, target, seed)):
        assert has_the_shape_of(masks, source, target)
        assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks)


def test_random_masks_follow_from_the_seed_alone() -> None:
    model = new_model(SOURCE, 0)
    state = torch.random.get_rng_state()
    one = random_masks(model, TARGET, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert alike(random_masks(model, TARGET, 1), one)
    assert not alike(random_masks(model, TARGET, 2), one)


@pytest.mark.parametrize("tied", [False, True])
def test_magnitude_keeps_what_is_large(tied: bool) -> None:
    model = new_model(GROUPED.model_copy(update={"tied": tied}), 0)
    with torch.no_grad():
        first: Any = model.model.layers[0]
        third: Any = model.model.layers[2]
        first.mlp.down_proj.weight[:, 7] *= 100
        first.mlp.up_proj.weight[9] *= 100
        first.self_attn.q_proj.weight[2 * 8 : 3 * 8] *= 0.001  # one query head of key 1
        first.self_attn.o_proj.weight[:, 2 * 8 : 4 * 8] *= 0.001
        for matrix in third.mlp.parameters():
            matrix.zero_()
        model.model.embed_tokens.weight[:, 5] *= 100
        model.lm_head.weight[:, 6] *= 100
    masks = magnitude_masks(model, Target(layers=3, hidden=2, intermediate=2, heads=6))
    assert masks.intermediate[0].nonzero().flatten().tolist() == [7, 9]
    assert masks.head[0].tolist() == [1, 0, 1, 1]
    assert masks.layer.tolist() == [1, 1, 0, 1]
    assert masks.hidden.nonzero().flatten().tolist() == [5, 6]

"""The cut model computes what the masked one does, in each way heads can be shared and layers tied."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corpus.errors import TrainingError
from training.checkpoint import open_model, save_model
from training.llama import Llama, new_model
from training.pruning.baselines import magnitude_masks, random_masks
from training.pruning.cut import cut
from training.pruning.masks import GROUPS, LIMIT, PruningMasks
from training.pruning.target import Target, target_shape
from training.shape import LlamaShape, Masks

SHAPE = LlamaShape(layers=4, hidden=32, intermediate=48, heads=4, kv_heads=4, head_dim=8, vocab=40)
KINDS = {
    "all heads alike": (SHAPE, Target(layers=3, hidden=24, intermediate=32, heads=3)),
    "grouped": (SHAPE.model_copy(update={"heads": 8}), Target(layers=2, hidden=20, intermediate=9, heads=2)),
    "tied": (SHAPE.model_copy(update={"tied": True}), Target(layers=3, hidden=24, intermediate=32, heads=3)),
    "tied and grouped": (
        SHAPE.model_copy(update={"tied": True, "heads": 12}),
        Target(layers=4, hidden=31, intermediate=48, heads=3),
    ),
}


def loud(shape: LlamaShape, seed: int = 0) -> Llama:
    """A model whose weights are large enough for every part to show in the logits."""
    model = new_model(shape, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.15 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + spread if parameter.ndim == 1 else spread)
    return model


def soft(shape: LlamaShape, target: Target, seed: int) -> Masks:
    """Masks at rest of gates spread over their whole range."""
    masks = PruningMasks(shape, target)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for group in GROUPS:
            masks.parameter(group).uniform_(-1.0, LIMIT, generator=generator)
    return masks.at_rest()


def tokens(seed: int) -> Tensor:
    return torch.randint(40, (3, 21), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def agree(model: Llama, masks: Masks, small: Llama, seed: int = 0) -> None:
    ids = tokens(seed)
    documents = torch.arange(21).div(6, rounding_mode="floor").expand(3, 21)
    torch.testing.assert_close(small(ids), model(ids, masks=masks), atol=1e-5, rtol=1e-5)
    ours, theirs = small(ids, document_ids=documents), model(ids, document_ids=documents, masks=masks)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(seed=st.integers(0, 1 << 30))
def test_cut_is_masked_with_soft_masks(kind: str, seed: int) -> None:
    shape, target = KINDS[kind]
    model, masks = loud(shape, seed), soft(shape, target, seed)
    small = cut(model, masks)
    expected = target_shape(shape, target)
    # input and output carry different factors, so they part
    assert small.shape == expected.model_copy(update={"tied": False})
    agree(model, masks, small, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_is_masked_with_the_masks_of_baselines(kind: str) -> None:
    shape, target = KINDS[kind]
    model = loud(shape)
    for masks in (magnitude_masks(model, target), random_masks(model, target, 1)):
        small = cut(model, masks)
        assert small.shape == target_shape(shape, target)  # with factors of one, tied stays tied
        assert (small.lm_head.weight is small.model.embed_tokens.weight) == shape.tied
        assert small.shape.parameters == sum(parameter.numel() for parameter in small.parameters())
        agree(model, masks, small)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_do_something(kind: str) -> None:
    shape, target = KINDS[kind]
    model, masks = loud(shape), soft(shape, target, 0)
    whole = model(tokens(0))
    for group in Masks._fields:
        full = Masks(*(torch.ones_like(mask) for mask in masks))
        changed = model(tokens(0), masks=full._replace(**{group: getattr(masks, group)}))
        if (getattr(masks, group) != 1).any():
            assert float((changed - whole).abs().max().detach()) > 1e-3


def test_masks_of_ones_cut_nothing() -> None:
    shape, _ = KINDS["tied and grouped"]
    model = loud(shape)
    full = Masks(*(torch.ones_like(mask) for mask in soft(*KINDS["tied and grouped"], 0)))
    small = cut(model, full)
    assert small.shape == shape
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in small.state_dict().items())


def test_a_cut_model_shares_no_memory_and_leaves_the_source_and_randomness_alone() -> None:
    shape, target = KINDS["grouped"]
    model, masks = loud(shape), soft(shape, target, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    small = cut(model, masks)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        for parameter in small.parameters():
            assert parameter.requires_grad
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_layers_are_numbered_anew() -> None:
    model = loud(SHAPE)
    full = Masks(*(torch.ones_like(mask) for mask in soft(*KINDS["all heads alike"], 0)))
    small = cut(model, full._replace(layer=torch.tensor([0.0, 1.0, 0.0, 1.0])))
    for new, old in enumerate((1, 3)):
        ours, theirs = small.model.layers[new].state_dict(), model.model.layers[old].state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_removed_layer_may_keep_any_number_of_heads() -> None:
    model = loud(SHAPE)
    masks = magnitude_masks(model, KINDS["all heads alike"][1])
    gone = int((masks.layer == 0).nonzero())
    masks.head[gone] = 0.0
    agree(model, masks, cut(model, masks))


def test_a_cut_model_survives_the_disk(tmp_path: Path) -> None:
    shape, target = KINDS["tied and grouped"]
    model, masks = loud(shape), soft(shape, target, 0)
    save_model(cut(model, masks), tmp_path / "model")
    agree(model, masks, open_model(tmp_path / "model"))


def test_layers_of_unequal_width_are_refused_though_the_masked_model_runs() -> None:
    model = loud(SHAPE)
    masks = magnitude_masks(model, KINDS["all heads alike"][1])
    kept = masks.layer.nonzero().flatten()
    head = masks.head.clone()
    head[kept[0]] = 1.0
    masks = masks._replace(head=head)
    assert model(tokens(0), masks=masks).isfinite().all()
    with pytest.raises(TrainingError, match="layers keep different numbers of heads") as caught:
        cut(model, masks)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("layer", "no layer or no hidden dimension"),
        ("hidden", "no layer or no hidden dimension"),
        ("head", "heads, or none"),
        ("intermediate", "intermediate units, or none"),
    ],
)
def test_masks_that_leave_nothing_are_refused(group: str, message: str) -> None:
    model = loud(SHAPE)
    full = Masks(*(torch.ones_like(mask) for mask in soft(*KINDS["all heads alike"], 0)))
    with pytest.raises(TrainingError, match=message):
        cut(model, full._replace(**{group: torch.zeros_like(getattr(full, group))}))

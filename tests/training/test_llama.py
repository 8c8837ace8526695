"""The decoder against the one of transformers, and what packing, seeds and precision must not change."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from training.llama import Llama, new_model
from training.shape import LlamaShape, Masks

SHAPE = LlamaShape(layers=3, hidden=32, intermediate=48, heads=4, kv_heads=4, head_dim=8, vocab=61)
KINDS = {
    "all heads alike": SHAPE,
    "grouped": SHAPE.model_copy(update={"kv_heads": 2}),
    "one key": SHAPE.model_copy(update={"kv_heads": 1}),
    "tied": SHAPE.model_copy(update={"kv_heads": 2, "tied": True}),
    "wide heads": SHAPE.model_copy(update={"head_dim": 12, "rope_theta": 500000.0, "norm_eps": 1e-6}),
}


def reference(model: Llama) -> Any:
    """The same weights in the model of transformers."""
    shape = model.shape
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab,
        max_position_embeddings=shape.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        rms_norm_eps=shape.norm_eps,
        tie_word_embeddings=shape.tied,
    )
    other = LlamaForCausalLM(config)
    other.load_state_dict(model.state_dict())
    return other.eval()


def loud(shape: LlamaShape, seed: int = 0) -> Llama:
    """A model whose weights are large enough for every part to show in the logits."""
    model = new_model(shape, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + spread if parameter.ndim == 1 else spread)
    return model


def tokens(shape: LlamaShape, rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(shape.vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


def ones(shape: LlamaShape) -> Masks:
    return Masks(
        torch.ones(shape.layers),
        torch.ones(shape.hidden),
        torch.ones(shape.layers, shape.kv_heads),
        torch.ones(shape.layers, shape.intermediate),
    )


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_logits_are_those_of_transformers(kind: str) -> None:
    model = loud(KINDS[kind])
    ids = tokens(model.shape, 3, 29)
    torch.testing.assert_close(model(ids), reference(model)(ids).logits, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_late_positions_are_those_of_transformers() -> None:
    model = loud(KINDS["grouped"])
    ids = tokens(model.shape, 1, 1500)
    ours, theirs = model(ids)[:, -50:], reference(model)(ids).logits[:, -50:]
    torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_parameters_are_those_of_transformers(kind: str) -> None:
    model = new_model(KINDS[kind], 0)
    assert set(model.state_dict()) == set(reference(model).state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_parameters_is_exact(kind: str) -> None:
    model = new_model(KINDS[kind], 0)
    assert model.shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_published_shapes_have_their_published_sizes() -> None:
    llama2 = LlamaShape(layers=32, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128, vocab=32000)
    assert llama2.parameters == 6_738_415_616
    assert llama2.flops_per_token == 6 * (6_738_415_616 - 32000 * 4096 - 65 * 4096)


def test_a_tied_output_layer_counts_as_a_product_though_not_as_a_parameter() -> None:
    tied = SHAPE.model_copy(update={"tied": True})
    assert tied.flops_per_token == SHAPE.flops_per_token
    assert tied.parameters == SHAPE.parameters - SHAPE.vocab * SHAPE.hidden


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_heads": 3}, "4 query heads cannot share 3 key and value heads evenly"),
        ({"head_dim": 7}, "even head_dim, not 7"),
        ({"layers": 0}, "greater than or equal to 1"),
        ({"width": 1}, "Extra inputs are not permitted"),
    ],
)
def test_shapes_that_cannot_be_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LlamaShape(**(SHAPE.model_dump() | change))


@torch.no_grad()
def test_no_place_sees_what_comes_after_it() -> None:
    model = loud(KINDS["grouped"])
    ids = tokens(model.shape, 2, 16)
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % model.shape.vocab
    before, after = model(ids), model(changed)
    torch.testing.assert_close(after[:, :9], before[:, :9], atol=0, rtol=0)
    assert not torch.allclose(after[:, 9:], before[:, 9:])


@settings(max_examples=25)
@given(rows=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=3), first=st.integers(0))
@torch.no_grad()
def test_a_packed_row_is_its_documents_run_alone(rows: list[list[int]], first: int) -> None:
    model = loud(KINDS["grouped"])
    length = max(sum(row) for row in rows)
    rows = [[*row, length - sum(row)] if sum(row) < length else row for row in rows]
    ids = tokens(model.shape, len(rows), length)
    first %= 1 << 40
    numbers = [torch.arange(first, first + len(row)).repeat_interleave(torch.tensor(row)) for row in rows]
    packed = model(ids, document_ids=torch.stack(numbers))
    for row, sizes in enumerate(rows):
        parts = [model(part[None])[0] for part in ids[row].split(sizes)]
        torch.testing.assert_close(packed[row], torch.cat(parts), atol=1e-4, rtol=1e-4)


def test_positions_start_anew_at_every_document() -> None:
    # rotary positions are relative, so logits alone would not tell; far from zero they lose precision
    model = new_model(SHAPE, 0)
    ids = tokens(SHAPE, 2, 6)
    packed = model._rotary(ids, torch.tensor([[0, 0, 0, 0, 1, 2], [7, 7, 9, 9, 9, 9]])).cosine[:, 0]
    alone = model._rotary(ids, None).cosine[0, 0]
    assert torch.equal(packed[0], alone[[0, 1, 2, 3, 0, 0]])
    assert torch.equal(packed[1], alone[[0, 1, 0, 1, 2, 3]])


@torch.no_grad()
def test_one_document_per_row_is_plain_causal_attention() -> None:
    model = loud(KINDS["tied"])
    ids = tokens(model.shape, 2, 12)
    alone = model(ids, document_ids=torch.tensor([[5], [0]]).expand(2, 12))
    torch.testing.assert_close(alone, model(ids), atol=1e-4, rtol=1e-5)


def test_masks_of_ones_change_nothing() -> None:
    model = loud(KINDS["grouped"])
    ids = tokens(model.shape, 2, 12)
    torch.testing.assert_close(model(ids, masks=ones(model.shape)), model(ids), atol=1e-5, rtol=1e-5)


def test_every_mask_gets_a_gradient() -> None:
    model = loud(KINDS["grouped"])
    masks = Masks(*(mask.mul(0.7).requires_grad_() for mask in ones(model.shape)))
    model(tokens(model.shape, 2, 12), masks=masks).square().mean().backward()
    for mask in masks:
        assert mask.grad is not None
        assert (mask.grad != 0).all()


def test_fresh_weights_follow_from_the_seed_alone_and_leave_other_randomness_alone() -> None:
    state = torch.random.get_rng_state()
    one = new_model(SHAPE, 3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    again, other = new_model(SHAPE, 3).state_dict(), new_model(SHAPE, 4).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if one[name].ndim > 1)


def test_fresh_weights_have_the_stated_spread() -> None:
    wide = SHAPE.model_copy(update={"hidden": 256, "intermediate": 512, "layers": 8})
    state = new_model(wide, 0).state_dict()
    assert float(state["model.layers.0.mlp.up_proj.weight"].std()) == pytest.approx(0.02, rel=0.02)
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        assert float(state[f"model.layers.7.{name}.weight"].std()) == pytest.approx(0.02 / 4, rel=0.05)
    assert bool((state["model.norm.weight"] == 1).all())


def test_tied_weights_are_one_tensor() -> None:
    model = new_model(KINDS["tied"], 0)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("masked", [False, True])
def test_it_trains_under_autocast_in_bf16(masked: bool) -> None:
    model = new_model(KINDS["grouped"], 0)
    ids = tokens(model.shape, 2, 16)
    documents = torch.arange(16).div(5, rounding_mode="floor").expand(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids, document_ids=documents, masks=ones(model.shape) if masked else None)
    assert logits.dtype == torch.bfloat16
    logits.float().logsumexp(-1).mean().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(found is not None and found.dtype == torch.float32 and found.isfinite().all() for found in gradients)


@torch.no_grad()
def test_bf16_weights_without_autocast_stay_near_float32() -> None:
    model = new_model(KINDS["grouped"], 0)
    ids = tokens(model.shape, 2, 16)
    wide = model(ids)
    narrow = model.bfloat16()(ids)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), wide, atol=0.02, rtol=0.05)


def test_the_decoder_needs_no_transformers() -> None:
    code = "import sys, training.checkpoint, training.pruning.learner; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

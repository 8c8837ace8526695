"""The layer against a slow reference, gradients included; what it does to copies, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from corpus.errors import TrainingError
from tests.training.moe.reference import slow_layer
from training.llama import new_model
from training.moe.layer import MoE
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import upcycle
from training.shape import LlamaShape

SHAPES = {
    kind: LlamaShape(layers=2, hidden=16, intermediate=24, heads=2, kv_heads=1, head_dim=8, vocab=50, feed_forward=kind)
    for kind in ("swiglu", "relu")
}
ROUTERS = {
    "vanilla": Rectify(),
    "intra": Rectify(intra=True),
    "any": Rectify(intra=True, fill_in=True, reroute="any"),
    "fill_in": Rectify(fill_in=True),
    "both": Rectify(intra=True, fill_in=True),
}


def made(kind="swiglu", seed=0, **changes) -> MoE:
    """A layer whose experts differ and whose router has opinions."""
    layer = MoE(SHAPES[kind], Mixture(**{"experts": 4, "ranks": 2, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return layer


def tokens(count=24, seed=1):
    return torch.randn(1, count, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["swiglu", "relu"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("router", list(ROUTERS))
@pytest.mark.parametrize("factor", [0.3, 1.0, None])
def test_outputs_and_gradients_are_those_of_the_slow_reference(kind, top_k, router, factor):
    if factor is None and router != "vanilla":
        return
    layer = made(kind, top_k=top_k, capacity_factor=factor, rectify=ROUTERS[router])
    x = tokens().requires_grad_()
    outcomes = []
    for compute in (layer, lambda given: slow_layer(layer, given[0])[None]):
        layer.zero_grad()
        x.grad = None
        out = compute(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        outcomes.append([out.detach(), x.grad.clone(), *(p.grad.clone() for p in layer.parameters())])
    for left, right in zip(*outcomes, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["swiglu", "relu"])
@pytest.mark.parametrize("factor", [0.25, 1.0])
@pytest.mark.parametrize("fill_in", [False, True])
def test_copies_with_stand_ins_are_the_dense_model(kind, factor, fill_in):
    ids = torch.randint(50, (4, 16), generator=torch.Generator().manual_seed(0))
    dense = new_model(SHAPES[kind], 3)
    wanted = dense(ids)
    mixture = Mixture(every=1, ranks=4, capacity_factor=factor, rectify=Rectify(intra=True, fill_in=fill_in))
    model = upcycle(dense, mixture, 0)
    torch.testing.assert_close(model(ids), wanted, rtol=0, atol=1e-6)
    for block in model.model.layers:
        block.mlp.rectify = Rectify()
    assert (model(ids) - wanted).abs().max() > 1e-5  # plain routing drops tokens


def test_with_room_for_all_rectified_and_plain_are_the_same():
    x = tokens()
    layers = [made(top_k=2, capacity_factor=50.0, rectify=Rectify(intra=intra)) for intra in (False, True)]
    assert torch.equal(layers[0](x), layers[1](x))
    torch.testing.assert_close(made(top_k=2, capacity_factor=None)(x), layers[0](x), rtol=0, atol=1e-5)


def test_a_part_does_not_depend_on_the_tokens_of_another_rank():
    layer, x = made(capacity_factor=0.5, rectify=Rectify(intra=True)), tokens()
    changed = x.clone()
    changed[:, 12:] = 7.0
    assert torch.equal(layer(x)[:, :12], layer(changed)[:, :12])


def test_a_token_without_a_slot_gets_nothing():
    layer = made(capacity_factor=0.5)
    silent = (layer(tokens()) == 0).all(dim=-1).sum()
    assert silent == layer.tally.dropped > 0


@pytest.mark.parametrize("count", [2, 4])
def test_fewer_tokens_than_experts_and_all_to_one(count):
    layer = made(capacity_factor=1.0, rectify=Rectify(intra=True, fill_in=True))
    with torch.no_grad():
        layer.router.weight.zero_()  # ties: everybody wants expert 0
    x = tokens(count).requires_grad_()
    out = layer(x)
    (out.square().sum() + layer.penalty).backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())
    assert (out != 0).any(dim=-1).all()


def test_one_token_per_rank_and_every_parameter_still_has_a_gradient():
    layer = made(capacity_factor=1.0, ranks=4, rectify=Rectify(intra=True))
    layer(tokens(4)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_the_tally_counts():
    layer = made(top_k=1, capacity_factor=1.0, rectify=Rectify(intra=True, fill_in=True))
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[:, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    x = torch.zeros(1, 16, 16)
    x[..., 0] = 1.0  # all choose expert 0, and 1 next; 8 tokens and 2 slots per rank and expert
    layer(x)
    told = {name: value.tolist() for name, value in layer.tally._asdict().items()}
    assert told == {
        "tokens": 16,
        "dropped": 12,  # equal gates go by position: the same two tokens win both
        "choices_dropped": 12,
        "slots": 16,
        "padded": 8,
        "filled": 4,
        "rerouted": 12,
        "crossed": 4,  # experts 0 and 1 live with rank 0
        "load": [16, 0, 0, 0],
    }
    layer.eval()
    layer(x)
    assert layer.tally.tokens == 16


def test_bfloat16_routes_in_float32():
    layer, x = made(top_k=2, capacity_factor=0.5, rectify=Rectify(intra=True, fill_in=True)), tokens()
    plain = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, plain, rtol=0.05, atol=0.3)
    assert torch.equal((half == 0).all(-1), (plain == 0).all(-1))


def test_what_it_cannot_do_is_refused():
    with pytest.raises(TrainingError, match="15 tokens cannot be cut into 2 equal parts"):
        made()(tokens(15))
    with pytest.raises(TrainingError, match="cannot be pruned"):
        made()(tokens(), torch.ones(24))

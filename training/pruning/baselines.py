"""What pruning is compared with: the same shape by the size of weights, or at random."""

from __future__ import annotations

import torch
from torch import Tensor

from training.llama import Llama, Masks
from training.pruning.target import Target, kept_units, units


@torch.no_grad()
def magnitude_masks(model: Llama, target: Target) -> Masks:
    """Keep the units whose weights have the largest norm: all weights of a layer, all that read or write a hidden
    dimension, all of a key and value head with its query heads, all three rows of an intermediate unit."""
    shape, state = model.shape, {name: value.float().cpu().square() for name, value in model.state_dict().items()}
    layers = [
        {n.split(".", 3)[3]: v for n, v in state.items() if n.startswith(f"model.layers.{i}.")}
        for i in range(shape.layers)
    ]
    attention = ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")
    per_head = []
    for part in layers:
        rows = [part[name].sum(dim=1).view(shape.kv_heads, -1).sum(dim=1) for name in attention]
        columns = part["self_attn.o_proj.weight"].sum(dim=0).view(shape.kv_heads, -1).sum(dim=1)
        per_head.append(torch.stack([*rows, columns]).sum(dim=0))
    inner = [
        part["mlp.gate_proj.weight"].sum(dim=1)
        + part["mlp.up_proj.weight"].sum(dim=1)
        + part["mlp.down_proj.weight"].sum(dim=0)
        for part in layers
    ]
    hidden = state["model.embed_tokens.weight"].sum(dim=0)
    for part in layers:
        reads = [*attention, "mlp.gate_proj.weight", "mlp.up_proj.weight"]
        hidden = hidden + sum(part[name].sum(dim=0) for name in reads)
        hidden = hidden + part["self_attn.o_proj.weight"].sum(dim=1) + part["mlp.down_proj.weight"].sum(dim=1)
    whole = torch.stack([torch.stack([value.sum() for value in part.values()]).sum() for part in layers])
    return _top(Masks(whole, hidden, torch.stack(per_head), torch.stack(inner)), model, target)


def random_masks(model: Llama, target: Target, seed: int) -> Masks:
    """Keep units drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    full, layers = units(model.shape), model.shape.layers
    sizes = {"layer": (layers,), "hidden": (full["hidden"],)}
    sizes |= {name: (layers, full[name]) for name in ("head", "intermediate")}
    return _top(Masks(**{name: torch.rand(size, generator=generator) for name, size in sizes.items()}), model, target)


def _top(scores: Masks, model: Llama, target: Target) -> Masks:
    kept = kept_units(model.shape, target)

    def chosen(name: str, score: Tensor) -> Tensor:
        order = score.argsort(dim=-1, descending=True, stable=True)
        return torch.zeros_like(score).scatter(-1, order[..., : kept[name]], 1.0)

    return Masks(**{name: chosen(name, score) for name, score in scores._asdict().items()})

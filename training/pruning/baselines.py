"""What pruning is compared with: the same shape by the size of weights, or at random."""

from __future__ import annotations

import torch
from torch import Tensor

from training.llama import Llama
from training.pruning.target import Target, kept_units, units
from training.shape import Masks

_WRITES = ("o_proj.weight", "down_proj.weight")


def magnitude_masks(model: Llama, target: Target) -> Masks:
    """Keep the units whose weights have the largest norm: all weights of a layer, all that read or write a hidden
    dimension, all of a key and value head with its query heads, all three rows of an intermediate unit."""
    return _top(_sizes(model), model, target)


def random_masks(model: Llama, target: Target, seed: int) -> Masks:
    """Keep units drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    full, layers = units(model.shape), model.shape.layers
    sizes: dict[str, tuple[int, ...]] = {"layer": (layers,), "hidden": (full["hidden"],)}
    sizes |= {name: (layers, full[name]) for name in ("head", "intermediate")}
    return _top(Masks(**{name: torch.rand(size, generator=generator) for name, size in sizes.items()}), model, target)


@torch.no_grad()
def _sizes(model: Llama) -> Masks:
    """Sum of squared weights of every unit, in the place of its mask."""
    shape = model.shape
    heads, inner, whole = [], [], []
    outer = (
        value for name, value in model.named_parameters() if name.endswith(("embed_tokens.weight", "lm_head.weight"))
    )
    hidden = torch.stack([value.float().cpu().square().sum(dim=0) for value in outer]).sum(dim=0)
    for block in model.model.layers:
        squares = {name: value.float().cpu().square() for name, value in block.named_parameters() if value.ndim == 2}
        # matrices that read the stream have its dimensions as columns, those that write to it as rows
        reads = {name: value for name, value in squares.items() if not name.endswith(_WRITES)}
        writes = {name: value for name, value in squares.items() if name.endswith(_WRITES)}
        hidden = hidden + sum(value.sum(dim=0) for value in reads.values())
        hidden = hidden + sum(value.sum(dim=1) for value in writes.values())
        by_unit = {name: value.sum(dim=1) for name, value in reads.items()}
        by_unit |= {name: value.sum(dim=0) for name, value in writes.items()}
        attention = [value for name, value in by_unit.items() if name.startswith("self_attn")]
        heads.append(torch.stack([value.view(shape.kv_heads, -1).sum(dim=1) for value in attention]).sum(dim=0))
        inner.append(torch.stack([value for name, value in by_unit.items() if name.startswith("mlp")]).sum(dim=0))
        whole.append(torch.stack([value.sum() for value in squares.values()]).sum())
    return Masks(torch.stack(whole), hidden, torch.stack(heads), torch.stack(inner))


def _top(scores: Masks, model: Llama, target: Target) -> Masks:
    kept = kept_units(model.shape, target)

    def chosen(name: str, score: Tensor) -> Tensor:
        order = score.argsort(dim=-1, descending=True, stable=True)
        return torch.zeros_like(score).scatter(-1, order[..., : kept[name]], 1.0)

    return Masks(**{name: chosen(name, score) for name, score in scores._asdict().items()})

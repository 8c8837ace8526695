"""From a dense model to a mixture of its copies (Komatsuzaki et al. 2023, arXiv 2212.05055; as in arXiv 2402.12399)."""

from __future__ import annotations

import torch

from corpus.errors import ManifestError
from training.llama import Llama
from training.moe.layer import MoE
from training.moe.settings import Mixture
from training.shape import LlamaShape

DEVIATION = 0.02
"""Of the router's fresh weights."""


def upcycle(model: Llama, mixture: Mixture, seed: int) -> Llama:
    """Replace, in place, the feed-forward of every n-th layer by experts that are copies of it; returns ``model``.

    The router's weights follow from ``seed``. Raises ``ManifestError`` where no layer gets experts.
    """
    generator = torch.Generator().manual_seed(seed)
    for number in expert_layers(model.shape, mixture):
        block = model.model.layers[number]
        layer = MoE(model.shape, mixture)
        layer.experts.copy(block.get_submodule("mlp"))
        with torch.no_grad():
            layer.router.weight.normal_(0.0, DEVIATION, generator=generator)
        block.mlp = layer
    return model


def empty_mixture(shape: LlamaShape, mixture: Mixture) -> Llama:
    """A model with expert layers whose weights are yet to be loaded."""
    model = Llama(shape)
    for number in expert_layers(shape, mixture):
        model.model.layers[number].mlp = MoE(shape, mixture)
    return model


def expert_layers(shape: LlamaShape, mixture: Mixture) -> range:
    """Numbers, from 0, of the layers with experts. Raises ``ManifestError`` where there are none."""
    found = range(mixture.every - 1, shape.layers, mixture.every)
    if not found:
        raise ManifestError(
            f"every {mixture.every}th layer is to have experts, and the model has {shape.layers}",
            fix="name a smaller `every`",
        )
    return found

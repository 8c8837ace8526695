"""Dense to sparse and back: dividing a layer's neurons into experts, in place, while it is being trained.

Neurons are put in the order of their experts; the same permutation goes over the moments of the optimiser, so that the
next update is the one that would have come without it. The way back needs no inverse: a permuted layer is the same
function. Method: the released code of SSD (arXiv 2410.03440), see ``docs/ssd.md``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from training.moefication.clustering import Clusters, adjusted_rand, balanced_kmeans, means
from training.moefication.layer import SwitchableFeedForward
from training.parallel import whole
from training.ranks import Ranks

CLEARLY = 0.01
"""Share of the inertia that a random start must save for experts to be given up for it (ours: the released code gives
them up for any saving, after which hardly a neuron is where it was)."""


class Conversion(NamedTuple):
    """What dividing one layer did."""

    order: Tensor
    """[f]: neuron that stands at each place now, by its place before."""
    inertia: float
    agreement: float | None
    """Adjusted Rand index with the experts before; None where there were none."""


@torch.no_grad()
def divide(
    layer: SwitchableFeedForward,
    optimiser: Optimizer | None,
    *,
    seed: int,
    divided: bool,
    pattern: Tensor | None = None,
) -> Conversion:
    """Divide ``layer`` anew into its experts and set its router to their centres.

    ``divided``: its neurons are in the order of earlier experts, which are kept as a start where no random start gives
    a tighter partition. ``pattern`` [tokens, f]: activations, for experts by co-activation.
    """
    number, w_in = layer.experts.number, whole(layer.w_in.detach()).float()
    rows = F.normalize(w_in, dim=1)
    before = torch.arange(len(rows), device=rows.device) // (len(rows) // number)
    found = _clusters(layer, rows, pattern, seed, before if divided else None)
    labels = Ranks.agreed(found.labels)
    order = labels.argsort(stable=True)
    length = w_in[order[0]].norm()
    for weight in (layer.w_in, layer.w_out):
        for tensor in (weight, *_moments(optimiser, weight)):
            _put(tensor, whole(tensor.detach())[order])
    _put(layer.router, _centres(rows, labels, number) * length)
    # the router of other experts, and what is known of its gradients, mean nothing for these
    for tensor in _state(optimiser, layer.router):
        tensor.zero_()
    layer.load.zero_()
    return Conversion(order, found.inertia, adjusted_rand(before, labels) if divided else None)


def _clusters(
    layer: SwitchableFeedForward, rows: Tensor, pattern: Tensor | None, seed: int, before: Tensor | None
) -> Clusters:
    number = layer.experts.number
    if layer.experts.by == "random":
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randperm(len(rows), generator=generator).to(rows.device) % number
        centroids = means(rows, labels, number)
        return Clusters(labels, centroids, float((rows - centroids[labels]).square().sum()))
    points = rows
    if layer.experts.by == "coactivation":
        assert pattern is not None, "experts by co-activation need activations"
        points = coactivation(pattern)
    fresh = balanced_kmeans(points, number, seed=seed)
    if before is None:
        return fresh
    kept = balanced_kmeans(points, number, seed=seed, start=before)
    return fresh if fresh.inertia < kept.inertia * (1 - CLEARLY) else kept


def coactivation(pattern: Tensor) -> Tensor:
    """Rows [f, f] that say which neurons each fires with: products of activations [tokens, f] summed over tokens, each
    row without the neuron's own and scaled to length one."""
    wide = pattern.float()
    return F.normalize((wide.t() @ wide).fill_diagonal_(0.0), dim=1)


def _centres(rows: Tensor, labels: Tensor, number: int) -> Tensor:
    """Directions of the experts: the mean of their neurons' input weights, at length one."""
    return F.normalize(means(rows, labels, number), dim=1)


def _state(optimiser: Optimizer | None, parameter: Tensor) -> list[Tensor]:
    """Everything that the optimiser remembers of a parameter."""
    known = optimiser.state.get(parameter, {}) if optimiser is not None else {}
    return [value for value in known.values() if isinstance(value, Tensor)]


def _moments(optimiser: Optimizer | None, parameter: Tensor) -> list[Tensor]:
    return [tensor for tensor in _state(optimiser, parameter) if tensor.shape == parameter.shape]


def _put(tensor: Tensor, value: Tensor) -> None:
    """Set a tensor of which this rank may hold a part."""
    if isinstance(tensor, DTensor):
        value = distribute_tensor(value, tensor.device_mesh, tensor.placements)
    tensor.copy_(value)

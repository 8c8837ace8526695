"""Several ranks: experts spread over them, and tokens sent to where their experts are.

``spread`` gives each rank its part of the experts as DTensors, so that checkpoints gather them whole and serve any
number of ranks. Everything else stays a copy on each rank, whose gradients DDP averages. An expert's gradient sums over
the tokens of all ranks already where it is computed: it is divided by their number, which makes it the same mean.

The trainer knows such parts (``training.parallel``): DDP leaves them alone, and the norm of gradients counts them all.
Stand-ins are local and send nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from corpus.errors import TrainingError
from training.moe.layer import MoE
from training.ranks import Ranks


class _Exchange(torch.autograd.Function):
    """``all_to_all_single`` with a gradient: what was sent comes back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, out: Sequence[int], into: Sequence[int], group: dist.ProcessGroup) -> Tensor:
        ctx.sizes, ctx.group = (out, into), group
        return _all_to_all(rows, out, into, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        out, into = ctx.sizes
        return _all_to_all(gradients[0], into, out, ctx.group), None, None, None


def _all_to_all(rows: Tensor, out: Sequence[int], into: Sequence[int], group: dist.ProcessGroup) -> Tensor:
    found = rows.new_empty(sum(into), *rows.shape[1:])
    dist.all_to_all_single(found, rows.contiguous(), list(into), list(out), group=group)
    return found


@dataclass(frozen=True)
class Spread:
    """The experts of a layer dealt out to ``world`` processes, and the way to them."""

    rank: int
    world: int
    group: dist.ProcessGroup
    """Of its own: DDP exchanges gradients in the default one while backward passes send rows."""

    def there(self, buffers: Tensor) -> Tensor:
        """Buffers for all experts [E, m, hidden] to their owners: [E / world, world * m, hidden]."""
        experts, places, hidden = buffers.shape
        own = experts // self.world
        sizes = [own] * self.world
        found = _Exchange.apply(buffers, sizes, sizes, self.group)
        return found.view(self.world, own, places, hidden).transpose(0, 1).reshape(own, -1, hidden)

    def back(self, buffers: Tensor) -> Tensor:
        """The inverse of ``there``."""
        own, _, hidden = buffers.shape
        parts = buffers.view(own, self.world, -1, hidden).transpose(0, 1)
        sizes = [own] * self.world
        return _Exchange.apply(parts.reshape(own * self.world, -1, hidden), sizes, sizes, self.group)

    def ragged(self, rows: Tensor, counts: Tensor, experts: Any) -> Tensor:
        """Rows sorted by expert, ``counts`` [E] for each, through ``experts`` wherever they are, and back."""
        own = len(counts) // self.world
        theirs = torch.empty_like(counts)
        dist.all_to_all_single(theirs, counts, group=self.group)
        sent = counts.view(self.world, own).sum(dim=1).tolist()
        table = theirs.view(self.world, own)  # rows from each rank for each expert here
        got = table.sum(dim=1).tolist()
        found = _Exchange.apply(rows, sent, got, self.group)
        # they come by rank, then expert; experts want theirs together
        expert = torch.arange(own, device=rows.device).repeat(self.world).repeat_interleave(theirs)
        order = expert.argsort(stable=True)
        outcome = experts.ragged(found[order], table.sum(dim=0).tolist())
        return _Exchange.apply(outcome[order.argsort()], got, sent, self.group)


def spread(module: nn.Module, ranks: Ranks) -> None:
    """Deal the experts of all mixtures in ``module`` out to ``ranks``: each keeps its part. Moves ``module`` there.

    Every rank calls this with the same weights. Raises ``TrainingError`` where they cannot be shared evenly.
    """
    found = layers(module)
    uneven = [layer.mixture.ranks for layer in found if layer.mixture.ranks % ranks.world]
    if uneven:
        raise TrainingError(
            f"the experts are for {uneven[0]} ranks, which {ranks.world} processes cannot share evenly",
            fix="let `ranks` of the mixture be a multiple of the workers",
        )
    if ranks.world == 1:
        return
    module.to(ranks.device)
    mesh = init_device_mesh(ranks.device.type, (ranks.world,))
    group = dist.new_group()
    for layer in found:
        layer.spread = Spread(ranks.rank, ranks.world, group)
        for name, parameter in list(layer.experts.named_parameters(recurse=False)):
            layer.experts.register_parameter(
                name, nn.Parameter(distribute_tensor(parameter.detach(), mesh, [Shard(0)]))
            )


def layers(module: nn.Module) -> list[MoE]:
    """The layers with experts, in order."""
    return [found for found in module.modules() if isinstance(found, MoE)]

"""Experts of one layer: E feed-forwards of one shape, each parameter stacked [E, ...]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.shape import LlamaShape

DENSE = {
    "swiglu": {"gate": "gate_proj.weight", "up": "up_proj.weight", "down": "down_proj.weight"},
    "relu": {"w_in": "w_in", "w_out": "w_out"},
}
"""Parameter of the stack -> that of the dense feed-forward, whose layout it keeps."""


class Experts(nn.Module):
    """``count`` experts. Under expert parallelism a rank holds a part of them (``training.moe.parallel.spread``)."""

    def __init__(self, shape: LlamaShape, count: int) -> None:
        super().__init__()
        self.kind = shape.feed_forward
        wide, narrow = (shape.intermediate, shape.hidden), (shape.hidden, shape.intermediate)
        for name in DENSE[self.kind]:
            self.register_parameter(name, nn.Parameter(torch.empty(count, *(narrow if name == "down" else wide))))

    @torch.no_grad()
    def copy(self, dense: nn.Module) -> None:
        """Make every expert a copy of ``dense``, a feed-forward of ``training.llama``."""
        for name, theirs in DENSE[self.kind].items():
            mine: nn.Parameter = getattr(self, name)
            mine.copy_(dense.get_parameter(theirs).expand_as(mine))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows for every expert of this rank, equally many: [E, m, hidden] to the same."""
        if self.kind == "relu":
            return torch.bmm(F.relu(torch.bmm(rows, self._own("w_in").transpose(1, 2))), self._own("w_out"))
        gate, up, down = (self._own(name).transpose(1, 2) for name in ("gate", "up", "down"))
        return torch.bmm(F.silu(torch.bmm(rows, gate)) * torch.bmm(rows, up), down)

    def ragged(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Rows [R, hidden] of which ``counts[0]`` are for this rank's first expert, the next for the second, and so on.

        One small product after another; nothing is padded.
        """
        names = list(DENSE[self.kind])
        stacks = [self._own(name).unbind() for name in names]
        parts = [self._one(part, *weights) for part, *weights in zip(rows.split(list(counts)), *stacks, strict=True)]
        return torch.cat(parts)

    def _one(self, rows: Tensor, *weights: Tensor) -> Tensor:
        if self.kind == "relu":
            w_in, w_out = weights
            return F.relu(rows @ w_in.t()) @ w_out
        gate, up, down = weights
        return F.linear(F.silu(F.linear(rows, gate)) * F.linear(rows, up), down)

    def _own(self, name: str) -> Tensor:
        """The part of a parameter that this rank holds."""
        found: Tensor = getattr(self, name)
        if not isinstance(found, DTensor):
            return found
        local, world = found.to_local(), found.device_mesh.size()
        if local.requires_grad:
            # rows of all ranks add up here, where the gradients of copies are averaged over ranks: the same mean
            local.register_hook(lambda gradient: gradient / world)
        return local

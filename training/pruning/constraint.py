"""Lagrange terms that hold the gates to the target shape: minimised over gates, maximised over multipliers.

Two forms. ``fractions`` is that of the released code: expected shares of zeros, one pair of multipliers per group, the
mean over layers. ``counts`` is that of the paper: expected numbers of survivors, a pair per group and layer, their sum;
with its much larger terms it wants a smaller learning rate. On a small model it holds the number of survivors as well,
but drowns the loss: gates stay half open, and which survive is decided by little. The target grows from no pruning to
the full one over the first steps.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from training.pruning.masks import GROUPS, PruningMasks

Scale = Literal["fractions", "counts"]


class Lagrange(nn.Module):
    """The multipliers (lambda, phi) of each group. They start at zero and are raised by gradient *ascent*: give them to
    the optimiser in a group with ``maximize``."""

    def __init__(self, masks: PruningMasks, *, ramp: int, scale: Scale = "fractions") -> None:
        super().__init__()
        self.ramp, self.scale = ramp, scale
        for group in GROUPS:
            layers = masks.sparsity(group).numel() if scale == "counts" else 1
            self.register_parameter(group, nn.Parameter(torch.zeros(2, layers)))

    def progress(self, step: int) -> float:
        """Share of the full target that is asked for at ``step`` (from 0)."""
        return min(1.0, (step + 1) / self.ramp) if self.ramp else 1.0

    def penalty(self, masks: PruningMasks, step: int) -> Tensor:
        """Sum over groups of lambda * delta + phi * delta^2, delta being what is missing of the target."""
        progress = self.progress(step)
        total = torch.zeros((), device=masks.parameter("hidden").device)
        for group in GROUPS:
            multipliers = getattr(self, group)
            if self.scale == "counts":
                wanted = masks.full[group] - progress * (masks.full[group] - masks.kept[group])
                delta = masks.keep_probability(group).sum(dim=-1).reshape(-1) - wanted
                total = total + (multipliers[0] * delta + multipliers[1] * delta**2).sum()
            else:
                delta = masks.sparsity(group).reshape(-1) - progress * masks.target_sparsity(group)
                total = total + (multipliers[0] * delta + multipliers[1] * delta**2).mean()
        return total

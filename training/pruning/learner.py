"""Pruning as something the trainer trains: weights, gates and multipliers together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from corpus.settings import Settings
from training.checkpoint import save_model
from training.config import Phase
from training.learner import Learner, loaded, token_loss, weight_groups
from training.llama import Llama
from training.parallel import whole
from training.pruning.constraint import Lagrange, Scale
from training.pruning.cut import cut
from training.pruning.masks import GROUPS, PruningMasks
from training.pruning.target import Target, target_shape


class Gates(Settings):
    """How gates and multipliers are learnt."""

    lr: float = Field(default=1.0, gt=0)
    """Learning rate of the gates (the paper: 1.0)."""
    multiplier_lr: float = Field(default=1.0, gt=0)
    """Learning rate of the multipliers, upwards (the paper: 1.0)."""
    beta: float = Field(default=0.83, gt=0)
    """Temperature of the gates: .83 in the paper, 2/3 in its code."""
    ramp: float = Field(default=0.2, ge=0, le=1)
    """Share of the steps over which the target grows to its full size (the paper: 640 of 3,200)."""
    scale: Scale = "fractions"
    """Terms over shares of zeros (the code) or over counts, per layer (the paper)."""


class _Pruned(nn.Module):
    def __init__(self, model: Llama, masks: PruningMasks, lagrange: Lagrange) -> None:
        super().__init__()
        self.model, self.masks, self.lagrange = model, masks, lagrange

    def forward(self, inputs: Tensor, labels: Tensor, documents: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        if not self.training:
            logits = self.model(inputs, document_ids=documents, masks=self.masks.at_rest())
            return token_loss(logits, labels), torch.zeros((), device=logits.device)
        logits = self.model(inputs, document_ids=documents, masks=self.masks.sample(step))
        return token_loss(logits, labels), self.lagrange.penalty(self.masks, step)


class Pruning(Learner):
    """Targeted structured pruning of ``model`` to ``target``. What is saved is the cut model."""

    def __init__(self, model: Llama, target: Target, gates: Gates, *, steps: int, seed: int) -> None:
        self.shape = target_shape(model.shape, target)
        self.model, self._gates = model, gates
        self.masks = PruningMasks(model.shape, target, beta=gates.beta, seed=seed)
        self.lagrange = Lagrange(self.masks, ramp=round(gates.ramp * steps), scale=gates.scale)
        self.module = _Pruned(model, self.masks, self.lagrange)

    @property
    def flops_per_token(self) -> int:
        return self.model.shape.flops_per_token

    def groups(self, phase: Phase) -> list[dict[str, Any]]:
        """Weights, gates (minimised) and multipliers (maximised), each with its own learning rate."""
        plain = {"weight_decay": 0.0}
        return [
            *weight_groups(self.model.named_parameters(), phase),
            {"params": list(self.masks.parameters()), "peak": self._gates.lr, **plain},
            {"params": list(self.lagrange.parameters()), "peak": self._gates.multiplier_lr, "maximize": True, **plain},
        ]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.model.layers)

    def after_update(self, step: int, optimiser: Optimizer) -> Mapping[str, Any]:
        """Keep the gates where they can still move."""
        self.masks.clamp()
        return {}

    def facts(self) -> Mapping[str, float]:
        """Expected sparsity of each group, and what it should be at the end."""
        with torch.no_grad():
            found = {f"sparsity/{group}": float(whole(self.masks.sparsity(group).mean())) for group in GROUPS}
        return found | {f"target/{group}": self.masks.target_sparsity(group) for group in GROUPS}

    def save(self, folder: Path, weights: Mapping[str, Tensor], tokenizer: bytes) -> None:
        """Write the cut model as a plain Hugging Face checkpoint."""
        model = loaded(self.model.shape, weights)
        masks = self.masks.with_parameters({name: weights[f"masks.{name}"] for name in GROUPS})
        save_model(cut(model, masks.at_rest()), folder, tokenizer=tokenizer)

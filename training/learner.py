"""What a trainer trains: a model and how its loss comes about. Pruning is another learner, not another trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn
from torch.optim import Optimizer

from training.checkpoint import save_model
from training.config import Phase
from training.data.batches import IGNORE
from training.llama import Llama
from training.shape import LlamaShape


class Learner(ABC):
    """The parts of a phase that depend on what is learnt. The last five do nothing unless a learner needs them."""

    module: nn.Module
    """Called with input_ids, labels, document_ids (or None) and the step; returns the summed token losses of the
    micro-batch and a penalty that counts once per step. In evaluation mode there is no noise and no penalty. All that
    is trained or saved belongs to it."""

    @property
    @abstractmethod
    def flops_per_token(self) -> int:
        """Of the next step, forward and backward, matrices only."""

    @abstractmethod
    def groups(self, phase: Phase) -> list[dict[str, Any]]:
        """Parameter groups for AdamW; ``peak`` is the learning rate after warm-up."""

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The parts of the module that are compiled, and that FSDP shards, by themselves."""

    @abstractmethod
    def save(self, folder: Path, weights: Mapping[str, Tensor], tokenizer: bytes) -> None:
        """Write what was learnt; ``weights`` is the whole state of ``module``."""

    def after_update(self, step: int, optimiser: Optimizer) -> Mapping[str, Any]:
        """Called after the update of ``step`` (from 0) with the optimiser that made it; returns events for the log."""
        return {}

    def facts(self) -> Mapping[str, float]:
        """Numbers for the log besides the loss."""
        return {}

    def other_modes(self) -> Mapping[str, AbstractContextManager[None]]:
        """Other ways to run the model: held-out losses are measured within each as well, as ``held_out/<mode>``."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the learner knows besides the state of ``module``: small JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most have nothing to restore
        """Go on from ``state``."""


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the cross-entropies in nats over all labelled tokens. ``logits`` [rows, L, vocab]; computed in float32."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum")


class _LanguageModel(nn.Module):
    def __init__(self, model: Llama) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor, documents: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        summed = token_loss(self.model(inputs, document_ids=documents), labels)
        return summed, torch.zeros_like(summed)


class LanguageModel(Learner):
    """Plain pre-training: the mean cross-entropy of the next token."""

    def __init__(self, model: Llama) -> None:
        self.model = model
        self.module = _LanguageModel(model)

    @property
    def flops_per_token(self) -> int:
        return self.model.shape.flops_per_token

    def groups(self, phase: Phase) -> list[dict[str, Any]]:
        """Matrices with weight decay, gains without."""
        return weight_groups(self.model.named_parameters(), phase)

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.model.layers)

    def save(self, folder: Path, weights: Mapping[str, Tensor], tokenizer: bytes) -> None:
        """Write a plain Hugging Face checkpoint."""
        save_model(loaded(self.model.shape, weights), folder, tokenizer=tokenizer)


def loaded(shape: LlamaShape, weights: Mapping[str, Tensor]) -> Llama:
    """A model on the CPU with the weights that stand under ``model.`` in a learner's state."""
    model = Llama(shape)
    prefix = "model."
    model.load_state_dict(
        {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    )
    return model


def weight_groups(parameters: Iterator[tuple[str, nn.Parameter]], phase: Phase) -> list[dict[str, Any]]:
    """The groups of a model's own weights."""
    named = list(parameters)
    decayed = [parameter for _, parameter in named if parameter.ndim > 1]
    others = [parameter for _, parameter in named if parameter.ndim <= 1]
    peak = phase.schedule.peak
    return [
        {"params": decayed, "peak": peak, "weight_decay": phase.optimiser.weight_decay},
        {"params": others, "peak": peak, "weight_decay": 0.0},
    ]

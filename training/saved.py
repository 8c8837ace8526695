"""Checkpoints of a trainer: weights and moments as safetensors, everything else as small JSON.

    <folder>/checkpoints/step-00000500/   model.safetensors  optimiser.safetensors  state.json

A checkpoint is written beside its place and renamed into it, so that a kill leaves it whole or not at all. Tensors are
named by their parameters and whole, however many ranks hold parts of them: another number of ranks can go on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from corpus.errors import TrainingError
from corpus.failpoints import failpoint
from training.folder import CHECKPOINTS, PARTIAL, STATE, checkpoints
from training.ranks import Ranks

KEPT = 2
"""Checkpoints that stay; older ones are removed."""
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
WEIGHTS, OPTIMISER = "model.safetensors", "optimiser.safetensors"


class TrainerState(BaseModel):
    """What a trainer knows besides tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    """Of everything the phase depends on: settings, model, corpora."""
    step: int = 0
    """Updates done."""
    loader: dict[str, Any] = {}
    mixer: dict[str, Any] | None = None
    learner: dict[str, Any] = {}
    tokens: int = 0
    """Labelled tokens seen."""
    flops: float = 0.0
    """Floating-point operations of the model's matrices so far."""
    seconds: float = 0.0
    """Time spent in updates."""
    waited: float = 0.0
    """Time spent waiting for batches."""


def whole_weights(module: nn.Module) -> dict[str, Any]:
    """The state of a module on the CPU, gathered from all ranks. Every rank calls this; only rank 0 need get it all."""
    return get_model_state_dict(module, options=WHOLE)


def save_checkpoint(folder: Path, module: nn.Module, optimiser: Optimizer, state: TrainerState, ranks: Ranks) -> None:
    """Write a checkpoint after ``state.step`` updates. Every rank calls this; rank 0 writes."""
    weights = whole_weights(module)
    moments: Any = get_optimizer_state_dict(module, optimiser, options=WHOLE).get("state", {})
    if ranks.leads:
        final = folder / CHECKPOINTS / f"step-{state.step:08d}"
        partial = final.with_suffix(PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_separate(weights), partial / WEIGHTS)
        save_file(
            _separate({f"{name}/{key}": value for name, found in moments.items() for key, value in found.items()}),
            partial / OPTIMISER,
        )
        (partial / STATE).write_text(state.model_dump_json(), "utf-8")
        for path in partial.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        failpoint("trainer.checkpoint")
        partial.rename(final)
        for old in checkpoints(folder)[:-KEPT]:
            shutil.rmtree(old)
    ranks.barrier()


def read_state(checkpoint: Path) -> TrainerState:
    """The state of a checkpoint. Raises ``TrainingError`` where it is damaged."""
    try:
        return TrainerState.model_validate_json((checkpoint / STATE).read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise TrainingError(
            f"the checkpoint cannot be read: {error}",
            where=str(checkpoint),
            fix="delete this folder: training goes on from the checkpoint before it",
        ) from None


def load_tensors(checkpoint: Path, module: nn.Module, optimiser: Optimizer) -> None:
    """Restore weights and moments. Every rank reads the whole file and keeps its part."""
    options = StateDictOptions(full_state_dict=True, strict=True)
    try:
        weights: dict[str, Any] = load_file(checkpoint / WEIGHTS)
        flat = load_file(checkpoint / OPTIMISER)
    except Exception as error:  # the library raises its own kind for torn files
        raise TrainingError(f"the checkpoint cannot be read: {error}", where=str(checkpoint)) from None
    set_model_state_dict(module, weights, options=options)
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in flat.items():
        parameter, _, key = name.rpartition("/")
        moments.setdefault(parameter, {})[key] = value
    groups = get_optimizer_state_dict(module, optimiser, options=options)["param_groups"]
    state: dict[str, Any] = {"state": moments, "param_groups": groups}
    set_optimizer_state_dict(module, optimiser, state, options=options)


def _separate(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors with memory of their own: the format stores none twice."""
    return {
        name: (value.detach().cpu() if isinstance(value, Tensor) else torch.tensor(float(value))).clone().contiguous()
        for name, value in sorted(tensors.items())
    }

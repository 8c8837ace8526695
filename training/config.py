"""Settings of one training phase."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from corpus.settings import Settings
from training.dynamic import DynamicLoading


class Schedule(Settings):
    """Learning rate over the steps: linear warm-up, then a cosine down to a share of the peak."""

    peak: float = Field(gt=0)
    """Learning rate after warm-up."""
    warmup: float = Field(default=0.03, ge=0, le=1)
    """Share of the steps that warm up. The paper of Sheared-LLaMA: 10 % in pruning, 3 % afterwards."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""

    def at(self, step: int, steps: int) -> float:
        """Factor on the peak for the update of ``step`` (from 0) out of ``steps``."""
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Optimiser(Settings):
    """AdamW."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the two moments."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of matrices; gains are left alone."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of the whole model."""


class Phase(Settings):
    """One training phase: how long, how fast, on what mixture."""

    steps: int = Field(ge=1)
    """Updates of the weights."""
    global_batch: int = Field(ge=1)
    """Rows per update, over all ranks and micro-batches."""
    micro_batch: int = Field(default=8, ge=1)
    """Rows that go through the model at once on one device; the rest of a rank's rows follow (accumulation)."""
    schedule: Schedule
    """Learning rate of the weights."""
    optimiser: Optimiser = Optimiser()
    """How gradients become updates."""
    weights: dict[str, float] | None = None
    """Mixture at the start; default: the domains' shares of the corpus."""
    dynamic: DynamicLoading | None = None
    """Let the mixture follow the losses; without it, it stays as it is."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16: matrices are multiplied in bfloat16, weights and moments kept in float32. auto: bf16 on a GPU."""
    document_attention: bool = False
    """Keep attention within documents. Slower: the causal kernel cannot be used."""
    compile: bool = False
    """Let torch.compile fuse each layer: faster steps after about half a minute per model shape."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Several workers: copies of the model (ddp), or its weights, gradients and moments in parts (fsdp)."""
    evaluate_every: int = Field(default=100, ge=1)
    """Steps between measurements of the held-out losses (and, with ``dynamic``, its ``every`` counts as well)."""
    evaluate_rows: int = Field(default=64, ge=1)
    """Held-out rows per domain that are measured, the same ones each time."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints to resume from."""
    snapshot_every: int | None = Field(default=None, ge=1)
    """Steps between models that stay, as plain Hugging Face folders, from the untrained one on; default: none."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of the log."""
    seed: int = Field(default=0, ge=0)
    """Of the order of rows, of new weights and of noise."""
    window: int = Field(default=16, ge=1)
    """Blocks per domain among which rows are shuffled."""

    @model_validator(mode="after")
    def _dynamic_steps(self) -> Phase:
        if self.dynamic is not None and self.dynamic.every > self.steps:
            raise ValueError(f"dynamic.every is {self.dynamic.every}, but the phase has {self.steps} steps: no update")
        return self

    def evaluates_after(self, step: int) -> bool:
        """Whether held-out losses are measured after ``step`` (from 0)."""
        done = step + 1
        due = done % self.evaluate_every == 0 or done == self.steps
        return due or (self.dynamic is not None and done % self.dynamic.every == 0)

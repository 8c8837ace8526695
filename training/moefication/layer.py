"""A ReLU feed-forward that can run dense or sparse: the same neurons, all of them or the experts that a router names.

The gates of the chosen experts are one, so that the sparse layer is the dense one restricted to their neurons; the
router learns through them all the same (``a - stop_gradient(a) + 1`` with a, a softmax over the chosen: the layer that
the authors of MoEfication released).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from pydantic import Field, model_validator
from torch import Tensor, nn

from corpus.errors import TrainingError
from corpus.settings import Settings
from training.llama import Llama, ReluFeedForward
from training.shape import LlamaShape
from training.sparse.decode import MOST_ROWS, decode_ffn
from training.sparse.ffn import sparse_ffn

Kernel = Literal["auto", "masked", "loop", "bmm", "grouped", "triton"]


class Experts(Settings):
    """How neurons are grouped, and how many groups a token gets."""

    number: int = Field(default=32, ge=1)
    """Experts per layer, of equal size."""
    active: int = Field(default=8, ge=1)
    """Experts that each token is sent to."""
    by: Literal["weights", "coactivation", "random"] = "weights"
    """What makes neurons alike: their input weights, which others they fire with, or nothing (a control)."""
    kernel: Kernel = "auto"
    """How sparse products are computed. auto: the fastest by measurement on a GPU (the dense product among them)."""

    @model_validator(mode="after")
    def _some(self) -> Experts:
        if self.active > self.number:
            raise ValueError(f"{self.active} of {self.number} experts cannot be active")
        return self

    @property
    def share(self) -> float:
        """Share of the neurons that a token gets."""
        return self.active / self.number


class SwitchableFeedForward(ReluFeedForward):
    """``dense`` with a router over ``experts.number`` slices of its neurons. Shares the parameters of ``dense``."""

    load: Tensor
    """[E] int64: tokens that each expert got in training since ``take_load``."""

    def __init__(self, shape: LlamaShape, experts: Experts, dense: ReluFeedForward) -> None:
        super().__init__(shape)
        self.w_in, self.w_out = dense.w_in, dense.w_out
        self.experts = experts
        self.router = nn.Parameter(torch.zeros(experts.number, shape.hidden))
        self.register_buffer("load", torch.zeros(experts.number, dtype=torch.int64))
        self.sparse = False

    def forward(self, x: Tensor, intermediate: Tensor | None) -> Tensor:
        if self.sparse:
            return self._sparse(x)
        inner = F.relu(F.linear(x, self.w_in))
        # nothing times the router: every parameter has a gradient in every mode, as groups of ranks and AdamW expect
        nothing = self.router.sum(dim=0) * 0.0 if self.training else None
        return F.linear(inner if intermediate is None else inner * intermediate, self.w_out.t(), nothing)

    def _sparse(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        experts, gates = self.route(flat)
        number, kernel = self.experts.number, self.experts.kernel
        if len(flat) <= MOST_ROWS and not torch.is_grad_enabled():
            return decode_ffn(flat, self.w_in, self.w_out, experts, number).view(x.shape)
        return sparse_ffn(flat, self.w_in, self.w_out, experts, gates, kernel=kernel, number=number).view(x.shape)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Experts [N, k] of tokens ``x`` [N, d], and their gates: ones that carry the router's gradient."""
        with torch.autocast(x.device.type, enabled=False):
            logits, experts = F.linear(x.float(), self.router.float()).topk(self.experts.active, dim=-1)
            shares = logits.softmax(dim=-1)
        if self.training:
            chosen = experts.flatten()
            self.load.scatter_add_(0, chosen, torch.ones_like(chosen))  # unlike bincount, waits for no device
        return experts, (shares - shares.detach()) + 1  # in this order one is exactly one

    def take_load(self) -> Tensor:
        """The counts in ``load``, which start anew."""
        found = self.load.clone()
        self.load.zero_()
        return found


def switchable(model: Llama, experts: Experts) -> list[SwitchableFeedForward]:
    """Put a ``SwitchableFeedForward`` in the place of every feed-forward of ``model``; returns them.

    Raises ``TrainingError`` for another kind of feed-forward, or sizes that do not divide.
    """
    shape = model.shape
    if shape.feed_forward != "relu":
        raise TrainingError(
            f"experts are slices of ReLU neurons, but the model has the feed-forward {shape.feed_forward!r}",
            fix="use a shape with feed_forward: relu",
        )
    if shape.intermediate % experts.number:
        raise TrainingError(
            f"{shape.intermediate} neurons cannot be divided evenly into {experts.number} experts",
            fix="choose experts.number so that it divides shape.intermediate",
        )
    for block in model.model.layers:
        assert isinstance(block.mlp, ReluFeedForward)
        block.mlp = SwitchableFeedForward(shape, experts, block.mlp)
    return feed_forwards(model)


def feed_forwards(model: nn.Module) -> list[SwitchableFeedForward]:
    """The switchable feed-forwards of a model, layer by layer."""
    return [layer for layer in model.modules() if isinstance(layer, SwitchableFeedForward)]


@contextmanager
def running(layers: Iterable[SwitchableFeedForward], *, sparse: bool) -> Iterator[None]:
    """Within it, ``layers`` run dense or sparse."""
    before = [(layer, layer.sparse) for layer in layers]
    for layer, _ in before:
        layer.sparse = sparse
    try:
        yield
    finally:
        for layer, was in before:
            layer.sparse = was


def flops_per_token(shape: LlamaShape, experts: Experts, *, sparse: bool) -> int:
    """Of a training step, matrices only: in sparse steps the chosen experts and the router."""
    if not sparse:
        return shape.flops_per_token
    saved = round(shape.feed_forward_weights * (1 - experts.share)) - experts.number * shape.hidden
    return shape.flops_per_token - 6 * shape.layers * saved

"""What a kernel must offer for the sparse feed-forward, and the kernels by name.

Three products carry forward and backward: rows gathered by token times an expert's weights, rows of an expert times its
weights, and the gradient of an expert's weights. A kernel offers them over its own arrangement of rows; what stands
between them has plain definitions in ``Unfused``; other kernels fuse it into their products.
"""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from corpus.errors import TrainingError
from training.sparse.pairs import Pairs, accumulator, gather_sum, sort_pairs

KERNELS = ("masked", "loop", "bmm", "grouped", "triton")


class Inner(NamedTuple):
    """What the backward pass needs of the inner layer, per row."""

    scaled: Tensor
    """Activations times gates, for the gradient of ``w_out``. [R, m]"""
    before: Tensor
    """Gradient before the ReLU. [R, m]"""
    gate: Tensor
    """Gradient of the gate. [R], float32 or wider"""


class Products(ABC):
    """One kernel. Weights come as [E, m, d], all matrices in one dtype; sums are taken in float32 or wider."""

    def arrange(self, experts: Tensor, weights: Tensor) -> Pairs:
        """The arrangement of rows that the products below take, for ``experts`` [N, k] of ``weights``."""
        return sort_pairs(experts, weights.shape[0])

    @abstractmethod
    def up(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        """Row r of ``rows`` [N, d] at its token, times its expert's weights transposed, through the ReLU: [R, m]."""

    @abstractmethod
    def up_backward(self, gradient: Tensor, weights: Tensor, pairs: Pairs, active: Tensor, gates: Tensor) -> Inner:
        """From ``gradient`` [N, d] of the output through ``w_out``, gates [R] and ReLU, given activations [R, m]."""

    @abstractmethod
    def expert_matmul(self, inner: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        """Row r of ``inner`` [R, m] times its expert's weights: [R, d]."""

    @abstractmethod
    def weight_gradient(self, inner: Tensor, rows: Tensor, pairs: Pairs, dtype: torch.dtype) -> Tensor:
        """For each expert, its ``inner`` rows [R, m] transposed times ``rows`` [N, d] at their tokens: [E, m, d].

        Exact zeros for an expert without rows.
        """

    def gather_sum(self, rows: Tensor, pairs: Pairs, weights: Tensor | None) -> Tensor:
        """As in ``pairs``."""
        return gather_sum(rows, pairs, weights)


class Unfused(Products):
    """A kernel of plain products: what comes after them has its definition here."""

    @abstractmethod
    def gather_matmul(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        """Row r of ``rows`` [N, d] at its token, times its expert's weights transposed: [R, m]."""

    def up(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        """Activations [R, m]."""
        return self.gather_matmul(rows, weights, pairs).relu_()

    def up_backward(self, gradient: Tensor, weights: Tensor, pairs: Pairs, active: Tensor, gates: Tensor) -> Inner:
        """From ``gradient`` [N, d] of the output through ``w_out``, gates [R] and ReLU, given activations [R, m]."""
        inner = self.gather_matmul(gradient, weights, pairs)
        wide = accumulator(inner.dtype)
        gate = (inner.to(wide) * active).sum(-1)
        scale = gates.to(inner.dtype)[:, None]
        return Inner(active * scale, torch.where(active > 0, inner * scale, 0), gate)


def products(name: str, device: torch.device, dtype: torch.dtype, *, capacity_factor: float | None = None) -> Products:
    """The kernel called ``name``. Raises TrainingError if it is unknown or cannot run here."""
    reason = _why_not(name, device, dtype)
    if reason is not None:
        what, fix = reason
        raise TrainingError(f"the sparse kernel {name!r} {what}", where=f"{dtype} on {device}", fix=fix)
    if capacity_factor is not None and name != "bmm":
        raise TrainingError(
            f"a capacity factor is given, but the sparse kernel {name!r} drops nothing",
            fix="take kernel 'bmm', or leave the capacity factor out",
        )
    if name == "loop":
        from training.sparse.loop import Loop

        return Loop()
    if name == "bmm":
        from training.sparse.bmm import Buffers

        return Buffers(capacity_factor)
    if name == "grouped":
        from training.sparse.grouped import Grouped

        return Grouped()
    from training.sparse.fused import Fused

    return Fused()


def usable(device: torch.device, dtype: torch.dtype) -> list[str]:
    """Names of the kernels that can run here."""
    return [name for name in KERNELS if _why_not(name, device, dtype) is None]


@cache
def has_triton() -> bool:
    """Is Triton there? It is not imported by asking."""
    try:
        return importlib.util.find_spec("triton") is not None
    except (ImportError, ValueError):  # kept out by whoever runs us
        return False


def _why_not(name: str, device: torch.device, dtype: torch.dtype) -> tuple[str, str] | None:
    """What keeps a kernel from running here, and what to do."""
    other = "take another kernel, or 'auto'"
    if name not in KERNELS:
        return "does not exist", f"one of: auto, {', '.join(KERNELS)}"
    if name == "grouped" and not hasattr(torch.nn.functional, "grouped_mm"):
        return f"needs a later PyTorch than {torch.__version__}", f"install torch>=2.10, or {other}"
    if name == "grouped" and dtype != torch.bfloat16:
        return "computes in bfloat16 only", f"run under torch.autocast(dtype=torch.bfloat16), or {other}"
    return _why_not_triton(device, dtype, other) if name == "triton" else None


def _why_not_triton(device: torch.device, dtype: torch.dtype, other: str) -> tuple[str, str] | None:
    if not has_triton():
        return "needs the package triton, which is not installed", f"pip install triton, or {other}"
    if dtype == torch.float64:
        return "does not compute in float64", other
    if device.type == "cuda":
        return None
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "needs a GPU", f"{other}; to try the kernel on a CPU, slowly, set TRITON_INTERPRET=1"
    if dtype == torch.bfloat16:
        return "cannot be interpreted in bfloat16", "take float16 or float32: Triton's interpreter multiplies its bits"
    return None

"""The sparse feed-forward: out[t] = sum over j of gates[t, j] * relu(x[t] W_in_e^T) W_out_e with e = experts[t, j].

Forward and backward stand here once, over the products of whichever kernel. Activations are kept for the backward pass,
the experts' outputs are not. Under autocast all matrices are cast once; sums are taken in float32, and gradients of
weights are rounded once, to the weights' own dtype.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from corpus.errors import TrainingError
from training.sparse.dispatch import choose
from training.sparse.masked import masked_ffn
from training.sparse.pairs import accumulator, of_pairs, of_rows
from training.sparse.products import Products, products


def sparse_ffn(
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    experts: Tensor,
    gates: Tensor,
    *,
    kernel: str = "auto",
    number: int,
    capacity_factor: float | None = None,
) -> Tensor:
    """Output [N, d] of tokens ``x`` [N, d] through their ``experts`` [N, k], weighted by ``gates`` [N, k].

    ``w_in`` and ``w_out`` [f, d] hold ``number`` experts of f / number neighbouring rows. Experts of a token are int64,
    below ``number`` and distinct; neither is checked, as that would wait for the device. ``kernel`` is one of
    ``products.KERNELS`` or ``auto`` (see ``dispatch``). A ``capacity_factor``, of kernel ``bmm`` only, drops pairs that
    overflow (``bmm.overflow`` counts them). Raises TrainingError for shapes and kernels that cannot be.
    """
    out: Tensor = _run(x, w_in, w_out, experts, gates, kernel, number, capacity_factor)
    return out


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _run(
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    experts: Tensor,
    gates: Tensor,
    kernel: str,
    number: int,
    capacity_factor: float | None,
) -> Tensor:
    """Not compiled by torch: it would trace measurements and launches, and gain nothing."""
    _check(x, w_in, w_out, experts, gates, number)
    if x.shape[0] == 0:
        kernel, capacity_factor = "masked", None
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    training = torch.is_grad_enabled() and any(one.requires_grad for one in (x, w_in, w_out, gates))
    with torch.autocast(device, enabled=False):
        if kernel == "auto":
            kernel = choose(x, w_in, experts, number, dtype=dtype, training=training)
        if kernel == "masked" and capacity_factor is None:
            return masked_ffn(x.to(dtype), w_in.to(dtype), w_out.to(dtype), experts, gates, number)
        found = products(kernel, x.device, dtype, capacity_factor=capacity_factor)
        out: Tensor = _SparseFFN.apply(x, w_in, w_out, gates, experts, found, number, dtype)
        return out


class _SparseFFN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w_in: Tensor,
        w_out: Tensor,
        gates: Tensor,
        experts: Tensor,
        kernel: Products,
        number: int,
        dtype: torch.dtype,
    ) -> Tensor:
        rows = _rows(x.to(dtype))
        first, second = (w.to(dtype).contiguous().view(number, -1, w.shape[1]) for w in (w_in, w_out))
        pairs = kernel.arrange(experts, first)
        active = kernel.up(rows, first, pairs)
        weights = gates.to(accumulator(dtype))
        out = kernel.gather_sum(kernel.expert_matmul(active, second, pairs), pairs, weights)
        ctx.save_for_backward(rows, first, second, active, weights)
        ctx.kernel, ctx.pairs = kernel, pairs
        ctx.dtypes = [one.dtype for one in (x, w_in, w_out, gates)]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, first, second, active, weights = ctx.saved_tensors
        kernel, pairs, shape = ctx.kernel, ctx.pairs, (-1, rows.shape[1])
        of_x, of_in, of_out, of_gates = ctx.dtypes
        wants_x, wants_in, wants_out, wants_gates = ctx.needs_input_grad[:4]
        d_x = d_in = d_out = d_gates = None
        with torch.autocast(rows.device.type, enabled=False):
            gradient = _rows(gradient)
            inner = kernel.up_backward(gradient, second, pairs, active, of_rows(weights, pairs))
            if wants_out:
                d_out = kernel.weight_gradient(inner.scaled, gradient, pairs, of_out).view(shape)
            if wants_in:
                d_in = kernel.weight_gradient(inner.before, rows, pairs, of_in).view(shape)
            if wants_x:
                d_x = kernel.gather_sum(kernel.expert_matmul(inner.before, first, pairs), pairs, None).to(of_x)
            if wants_gates:
                d_gates = of_pairs(inner.gate, pairs).to(of_gates)
        return d_x, d_in, d_out, d_gates, None, None, None, None


def _rows(matrix: Tensor) -> Tensor:
    """Rows may lie anywhere, their elements side by side."""
    return matrix if matrix.stride(1) == 1 or matrix.shape[1] == 1 else matrix.contiguous()


def _check(x: Tensor, w_in: Tensor, w_out: Tensor, experts: Tensor, gates: Tensor, number: int) -> None:
    where = ", ".join(
        f"{name} {tuple(value.shape)}"
        for name, value in (("x", x), ("w_in", w_in), ("w_out", w_out), ("experts", experts), ("gates", gates))
    )
    if x.ndim != 2 or w_in.ndim != 2 or w_in.shape != w_out.shape or x.shape[1] != w_in.shape[1]:
        raise TrainingError(
            "these are no inputs and weights of a feed-forward",
            where=where,
            fix="x is [N, d], w_in and w_out are [f, d]: one row for each neuron",
        )
    if number < 1 or w_in.shape[0] % number:
        raise TrainingError(
            f"{w_in.shape[0]} neurons cannot be divided into {number} experts of one size",
            fix="take a number of experts that divides the neurons",
        )
    if experts.ndim != 2 or experts.shape != gates.shape or experts.shape[0] != x.shape[0]:
        raise TrainingError("each token needs as many gates as experts", where=where, fix="both are [N, k]")
    if experts.dtype != torch.int64 or not 1 <= experts.shape[1] <= number:
        raise TrainingError(
            f"{experts.shape[1]} experts of {number} per token, as {experts.dtype}, cannot be chosen",
            where=where,
            fix="between one and all, as int64",
        )
    if not w_in.dtype == w_out.dtype == x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TrainingError(
            f"inputs are {x.dtype}, weights {w_in.dtype} and {w_out.dtype}",
            fix="cast them to one dtype, or run under torch.autocast",
        )

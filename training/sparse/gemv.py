"""Triton kernels of ``decode``, and how they are launched. See there for what they do and why."""

# Arguments of kernels are pointers and numbers of the device, for which Python has no types.
# ruff: noqa: ANN001, ANN201
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]
from torch import Tensor

NEURONS, DEPTH = 4, 2048
"""Neurons of a program of the first kernel, and how much of their weights it asks for at once."""
SUMMED, COLUMNS = 64, 128
"""Neurons and columns of a program of the second kernel."""


def decode(x: Tensor, first: Tensor, second: Tensor, experts: Tensor) -> Tensor:
    """``x`` [B, d], weights [E, m, d], ``experts`` [B, k]: [B, d]."""
    (batch, d), m, k = x.shape, first.shape[1], experts.shape[1]
    splits, blocks = triton.cdiv(m, SUMMED), triton.cdiv(d, COLUMNS)
    inner = x.new_empty(batch * k, m, dtype=torch.float32)
    parts = x.new_empty(batch * blocks, k * splits, COLUMNS, dtype=torch.float32)
    arrived = torch.empty(batch * blocks, dtype=torch.int32, device=x.device)
    out = torch.empty_like(x)
    depth = min(DEPTH, triton.next_power_of_2(d))
    first_kernel[(batch * k, triton.cdiv(m, NEURONS))](
        x, first, experts, inner, arrived, d, m, batch * blocks,
        k=k, even=m % NEURONS == 0 and d % depth == 0, block_m=NEURONS, block_d=depth,
        counters=triton.next_power_of_2(batch * blocks), num_warps=4,
    )  # fmt: skip
    second_kernel[(batch * k, splits * blocks)](
        inner, second, experts, parts, arrived, out, d, m, splits, blocks,
        k=k, even=m % SUMMED == 0 and d % COLUMNS == 0, block_m=SUMMED, block_d=COLUMNS, together=32, num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def first_kernel(
    x, weights, experts, inner, arrived, d, m, counted,
    k: tl.constexpr, even: tl.constexpr, block_m: tl.constexpr, block_d: tl.constexpr, counters: tl.constexpr,
):  # fmt: skip
    """Activations of some neurons of the expert of one pair. Pairs are the fast index: what two rows read is shared."""
    pair, block = tl.program_id(0), tl.program_id(1)
    if pair + block == 0:
        # counters of the second kernel, which starts after this one
        at = tl.arange(0, counters)
        tl.store(arrived + at, tl.zeros((counters,), tl.int32), mask=at < counted)
    expert = tl.load(experts + pair).to(tl.int64)
    n = block * block_m + tl.arange(0, block_m)
    i = tl.arange(0, block_d)
    rows = weights + ((expert * m + n) * d)[:, None] + i[None, :]
    total = tl.zeros((block_m, block_d), tl.float32)
    for step in range(0, d, block_d):
        if even:
            w, value = tl.load(rows + step), tl.load(x + (pair // k) * d + step + i)
        else:
            w = tl.load(rows + step, mask=(n < m)[:, None] & (step + i < d)[None, :], other=0.0)
            value = tl.load(x + (pair // k) * d + step + i, mask=step + i < d, other=0.0)
        total += w.to(tl.float32) * value.to(tl.float32)[None, :]
    tl.store(inner + pair * m + n, tl.maximum(tl.sum(total, axis=1), 0.0), mask=n < m)


@triton.jit
def second_kernel(
    inner, weights, experts, parts, arrived, out, d, m, splits, blocks,
    k: tl.constexpr, even: tl.constexpr, block_m: tl.constexpr, block_d: tl.constexpr, together: tl.constexpr,
):  # fmt: skip
    """Part of some columns of a row's output, from some neurons; the last of the parts to arrive adds them all up."""
    pair, split, block = tl.program_id(0), tl.program_id(1) // blocks, tl.program_id(1) % blocks
    expert = tl.load(experts + pair).to(tl.int64)
    i = split * block_m + tl.arange(0, block_m)
    within = tl.arange(0, block_d)
    n = block * block_d + within
    rows = weights + ((expert * m + i) * d)[:, None] + n[None, :]
    w = tl.load(rows) if even else tl.load(rows, mask=(i < m)[:, None] & (n < d)[None, :], other=0.0)
    h = tl.load(inner + pair * m + i, mask=i < m, other=0.0)
    counter = (pair // k) * blocks + block
    own = parts + counter.to(tl.int64) * (k * splits) * block_d
    tl.store(own + ((pair % k) * splits + split) * block_d + within, tl.sum(w.to(tl.float32) * h[:, None], axis=0))
    # all threads' stores come before the count, and the count before the loads, which must not come from a cache of
    # this processor alone
    tl.debug_barrier()
    before = tl.atomic_add(arrived + counter, 1, sem="acq_rel", scope="gpu")
    if before == k * splits - 1:
        tl.debug_barrier()
        total = tl.zeros((block_d,), tl.float32)
        for step in range(0, k * splits, together):
            at = step + tl.arange(0, together)
            found = own + (at * block_d)[:, None] + within[None, :]
            total += tl.sum(tl.load(found, mask=(at < k * splits)[:, None], other=0.0, cache_modifier=".cg"), axis=0)
        tl.store(out + (pair // k) * d + n, total.to(out.dtype.element_ty), mask=n < d)

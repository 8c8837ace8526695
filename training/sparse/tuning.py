"""Block sizes of the Triton kernels by measurement, one kernel at a time: minutes of compiling, some percent of speed.

Off unless called: ``pin(d, m, tune(...))``. Candidates that do not fit the processor are passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]

from training.sparse.dispatch import seconds
from training.sparse.fused import Blocks, Fused, Plan, pin, plan_for

CANDIDATES = (Blocks(256, 64, 8, 3), Blocks(256, 64, 8, 4), Blocks(128, 64, 4, 3), Blocks(128, 64, 4, 4))
_log = logging.getLogger(__name__)


def tune(tokens: int, d: int, m: int, number: int, k: int, device: torch.device) -> Plan:
    """The fastest plan found for bfloat16 layers of ``number`` experts of ``m`` neurons, ``k`` for a token."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=generator).mul_(shape[-1] ** -0.5).to(dtype)

    weights, rows = drawn(number, m, d), drawn(tokens, d)
    experts = torch.rand(tokens, number, device=device, generator=generator).topk(k, dim=-1).indices
    inner, gates = drawn(tokens * k, m), torch.ones(tokens * k, device=device)
    kernel, before = Fused(), plan_for(d, m, tokens * k // number, dtype)

    def taken(plan: Plan, part: str) -> float:
        pin(d, m, plan)
        pairs = kernel.arrange(experts, weights)
        calls: dict[str, Callable[[], object]] = {
            "up": partial(kernel.up, rows, weights, pairs),
            "back": partial(kernel.up_backward, rows, weights, pairs, inner, gates),
            "down": partial(kernel.expert_matmul, inner, weights, pairs),
            "weight": partial(kernel.weight_gradient, inner, rows, pairs, dtype),
        }
        try:
            return seconds(calls[part], device)
        except (RuntimeError, triton.runtime.errors.TritonError) as error:
            _log.info("%s of %s: %s", part, plan, error)
            return float("inf")

    best = before
    try:
        for part in ("up", "back", "down", "weight"):
            # a weight gradient finds rows through tokens, which takes two more steps in flight
            more = 2 if part == "weight" else 0
            tried = [_with(best, part, one._replace(stages=one.stages + more)) for one in CANDIDATES]
            best = min([best, *tried], key=partial(taken, part=part))
        return min((best._replace(spread=spread) for spread in (False, True)), key=partial(taken, part="up"))
    finally:
        pin(d, m, None)


def _with(plan: Plan, part: str, blocks: Blocks) -> Plan:
    return Plan(**(plan._asdict() | {part: blocks}))

"""Compile the kernels for a Hopper GPU, as they are launched at d = 2048, without one. Run by ``test_triton``.

Prints for each the shared memory it takes and whether it multiplies by the tensor cores' instruction for whole tiles.
"""

from __future__ import annotations

import sys

import torch
from triton import compile as compiled  # type: ignore[import-untyped, import-not-found, unused-ignore]
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped, import-not-found, unused-ignore]
from triton.compiler import ASTSource  # type: ignore[import-untyped, import-not-found, unused-ignore]

from training.sparse import gemv, kernels
from training.sparse.fused import plan_for

BFLOAT = {"rows", "weights", "out", "scaled", "active", "inner", "x"}
WIDE = {"gates", "gate_parts", "parts"}
LONG = {"token", "start_of", "offsets", "heavy", "place", "experts"}
NARROW = {"expert_of", "arrived"}


def main() -> None:
    for m in (256, 1024):
        plan = plan_for(2048, m, 8192, torch.bfloat16)
        both, even = {"exact": False, "block_r": plan.rows}, {"even_d": True, "even_m": True}
        for name, blocks, backward in (("up", plan.up, False), ("back", plan.back, True)):
            sizes = {"block_n": blocks.columns, "block_k": blocks.depth, "backward": backward}
            told(f"{name} {m}", kernels.up_kernel, both | even | sizes, blocks.warps, blocks.stages)
        sizes = {"block_n": plan.down.columns, "block_k": plan.down.depth, "even": True}
        told(f"down {m}", kernels.down_kernel, both | sizes, plan.down.warps, plan.down.stages)
        sizes = {"block_m": plan.rows, "block_n": plan.weight.columns, "block_p": plan.weight.depth, "exact": False}
        told(f"weight {m}", kernels.weight_kernel, even | sizes, plan.weight.warps, plan.weight.stages)
    told("sum", kernels.sum_kernel, {"experts": 8, "weighted": True, "block_n": 1024}, 4, 3)
    decoding = {"k": 8, "even": True}
    first = {"block_m": gemv.NEURONS, "block_d": gemv.DEPTH, "counters": 64}
    told("first", gemv.first_kernel, decoding | first, 4, 3)
    second = {"block_m": gemv.SUMMED, "block_d": gemv.COLUMNS, "together": 32}
    told("second", gemv.second_kernel, decoding | second, 4, 3)


def told(label: str, kernel: object, fixed: dict[str, object], warps: int, stages: int) -> None:
    signature, divisible = {}, {}
    for position, name in enumerate(kernel.arg_names):  # type: ignore[attr-defined]
        if name in fixed:
            signature[name] = "constexpr"
            continue
        pointer = {**dict.fromkeys(BFLOAT, "*bf16"), **dict.fromkeys(WIDE, "*fp32"), **dict.fromkeys(LONG, "*i64")}
        pointer |= dict.fromkeys(NARROW, "*i32")
        # the first kernel's inner rows are sums, as are the second's
        if label in ("first", "second"):
            pointer["inner"] = "*fp32"
        if label == "sum":
            pointer["weights"] = "*fp32"
        signature[name] = pointer.get(name, "i32")
        if name != "number":
            divisible[position,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, fixed, divisible)
    found = compiled(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages})
    sys.stdout.write(f"{label.replace(' ', '_')} {found.metadata.shared} {'wgmma' in found.asm['ptx']}\n")


if __name__ == "__main__":
    main()

"""The sparse feed-forward on one GPU: right first, then its speed beside the dense layer, then decoding.

    PYTHONPATH=. python benchmarks/sparse_kernels.py --output sparse_kernels.json [--seconds 95] [--large] [--tune]

Every kernel is held against the masked dense layer in float32, with the traps that others fell into; a failure ends
the run. Tokens are routed at random, some experts more often than others. Time is that of the GPU's own clock, the
median of several calls. Needs torch and triton. --seconds ends the run in order, after the measurement in hand; --large
adds sizes at which 32-bit addresses overflow (some 30 GB); --tune looks for block sizes first (minutes: give it more
--seconds). `--tiny` tries the script on a CPU.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from training.sparse.decode import decode_ffn
from training.sparse.dispatch import seconds
from training.sparse.ffn import sparse_ffn
from training.sparse.products import usable

Call = Callable[[], object]


class Shape(NamedTuple):
    d: int
    f: int
    number: int
    k: int

    @property
    def m(self) -> int:
        return self.f // self.number


TIMED = [Shape(2048, 8192, 8, 2), Shape(2048, 8192, 32, 8), Shape(1024, 4096, 8, 2), Shape(1024, 4096, 32, 8)]
CHECKED = [(4096, Shape(512, 2048, 8, 2)), (2500, Shape(512, 4096, 4, 2)), (1001, Shape(264, 72 * 5, 5, 2))]
"""The first two meet the kernels that are timed; the third has tails on every side."""
ON_CPU = [Shape(256, 2048, 32, 6), Shape(512, 4096, 32, 6)]
DECODED = [Shape(2048, 8192, 32, 8), Shape(4096, 16384, 32, 8)]
LAYERS = 8
"""Read in rotation, so that no cache holds the weights."""
BOUNDS = {torch.bfloat16: 1e-2, torch.float32: 1e-5}


class Inputs(NamedTuple):
    x: Tensor
    w_in: Tensor
    w_out: Tensor
    experts: Tensor
    gates: Tensor

    def learnt(self, dtype: torch.dtype | None = None) -> Inputs:
        """Fresh leaves with gradients."""
        one = [value.detach().to(dtype or value.dtype).requires_grad_() for value in (self.x, self.w_in, self.w_out)]
        return Inputs(*one, self.experts, self.gates.detach().clone().requires_grad_())

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.x, self.w_in, self.w_out, self.gates


def main() -> None:
    arguments = _arguments()
    began = time.perf_counter()
    on_cpu = arguments.tiny or arguments.cpu
    device = torch.device("cpu" if on_cpu else "cuda")
    torch.manual_seed(0)
    result = {
        "device": f"cpu, {torch.get_num_threads()} threads" if on_cpu else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "tokens": 256 if arguments.tiny else 2048 if arguments.cpu else arguments.tokens,
        "checks": {},
        "training": [],
        "parts": [],
        "decoding": [],
        "skipped": [],
    }
    timed, decoded, checked = TIMED, DECODED, CHECKED
    if arguments.tiny:
        timed, decoded, checked = [Shape(64, 256, 8, 2)], [Shape(64, 256, 8, 2)], [(100, Shape(48, 160, 5, 2))]
    if arguments.cpu:
        timed, decoded, checked = ON_CPU, [], [(100, Shape(48, 160, 5, 2))]
    names = [name for name in usable(device, torch.bfloat16) if not arguments.kernels or name in arguments.kernels]
    work: list[tuple[str, Call]] = [(f"check {name}", partial(_check, name, checked, device, result)) for name in names]
    if arguments.large:
        work.append(("large", partial(_large, names, device, result)))
    work += [(f"train {shape}", partial(_train, shape, names, device, result, arguments.tune)) for shape in timed]
    work += [
        (f"decode {shape} {b}", partial(_decode, shape, b, device, result)) for shape in decoded for b in (1, 2, 4)
    ]
    for label, call in work:
        if time.perf_counter() - began > arguments.seconds:
            result["skipped"].append(label)
            continue
        at = time.perf_counter()
        call()
        print(f"{label}: {time.perf_counter() - at:.1f} s", flush=True)
    result["seconds"] = time.perf_counter() - began
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1))
    _print_table(result)


# right


def _drawn(tokens: int, shape: Shape, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Inputs:
    """Random inputs; popular experts are chosen about twice as often as others."""
    x, w_in, w_out = (
        (torch.randn(rows, shape.d, device=device) * scale).to(dtype)
        for rows, scale in ((tokens, 1.0), (shape.f, shape.d**-0.5), (shape.f, shape.f**-0.5))
    )
    scores = torch.randn(tokens, shape.number, device=device) + 0.25 * torch.randn(shape.number, device=device)
    experts = scores.topk(shape.k, dim=-1).indices
    return Inputs(x, w_in, w_out, experts, 0.5 + torch.rand(tokens, shape.k, device=device))


def _step(kernel: str, inputs: Inputs, number: int, gradient: Tensor) -> list[Tensor]:
    """The output and all gradients."""
    out = sparse_ffn(*inputs, kernel=kernel, number=number)
    return [out.detach(), *torch.autograd.grad(out, inputs.leaves, gradient.to(out.dtype))]


def _error(found: Tensor, wanted: Tensor) -> float:
    return ((found.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30)).item()


def _compare(kernel: str, what: str, inputs: Inputs, number: int) -> float:
    """Largest error of output and gradients against the masked layer in float32. Two calls must give the same bits."""
    gradient = torch.randn_like(inputs.x)
    wanted = _step("masked", inputs.learnt(torch.float32), number, gradient)
    own = inputs.learnt()
    _poison(inputs.x.device)
    found = _step(kernel, own, number, gradient)
    with _watched(kernel, inputs.x.device):
        again = _step(kernel, own, number, gradient)
    for name, one, other in zip(("out", "x", "w_in", "w_out", "gates"), found, again, strict=True):
        assert torch.equal(one, other), f"{kernel}, {what}: {name} differs from call to call"
    errors = [_error(one, other) for one, other in zip(found, wanted, strict=True)]
    assert max(errors) < BOUNDS[inputs.x.dtype], f"{kernel}, {what}: errors {errors}"
    return max(errors)


@contextmanager
def _watched(kernel: str, device: torch.device) -> Iterator[None]:
    """Say where a kernel that promises not to wait for the GPU does."""
    if device.type == "cpu" or kernel not in ("grouped", "triton"):
        yield
        return
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        yield
        torch.cuda.set_sync_debug_mode("default")
    for one in heard:
        if "synchroniz" in str(one.message):
            print(f"{kernel} waits for the GPU: {one.filename}:{one.lineno}", flush=True)


def _poison(device: torch.device) -> None:
    """Leave NaN in the memory that the next tensors will get."""
    for size in (2**10, 2**14, 2**18, 2**21, 2**23):
        many = [torch.full((size,), torch.nan, device=device) for _ in range(4)]
        del many


def _check(kernel: str, cases: list[tuple[int, Shape]], device: torch.device, result: dict) -> None:
    worst = {}
    for tokens, shape in cases:
        if kernel == "grouped" and (shape.d % 8 or shape.m % 8):
            continue
        inputs, number = _drawn(tokens, shape, device), shape.number
        worst[f"{tokens} tokens, {shape}"] = _compare(kernel, f"{shape}", inputs, number)
        # experts without tokens, after a call in which all were busy
        one = inputs.experts[:, 0]
        idle = torch.stack([one % 2, torch.full_like(one, 2)], dim=1)
        few = inputs._replace(experts=idle, gates=inputs.gates[:, :2])
        _compare(kernel, "idle experts", few, number)
        _, _, w_in, w_out, _ = _step(kernel, few.learnt(), number, torch.randn_like(inputs.x))
        for gradient in (w_in, w_out):
            assert not gradient.view(number, -1)[3:].any(), f"{kernel}: an idle expert has a gradient"
        alone = inputs._replace(experts=torch.full_like(inputs.experts[:, :1], number - 1), gates=inputs.gates[:, :1])
        _compare(kernel, "one expert takes all", alone, number)
        every = torch.rand(tokens, number, device=device).argsort(-1)
        full = inputs._replace(experts=every, gates=torch.ones(tokens, number, device=device))
        _compare(kernel, "all experts", full, number)
    result["checks"][kernel] = worst


def _large(names: list[str], device: torch.device, result: dict) -> None:
    """More than 2^31 elements in the rows of pairs: the last tokens, which lie beyond, and gradients of all weights."""
    shape = Shape(2048, 32 * 64, 32, 8)
    tokens = 2**31 // (shape.k * shape.d) + 1000
    inputs = _drawn(tokens, shape, device)
    gradient = torch.randn_like(inputs.x)
    chunks = torch.arange(tokens, device=device).split(16384)
    sums: list[Tensor] = []
    for rows in chunks:
        part = inputs._replace(x=inputs.x[rows], experts=inputs.experts[rows], gates=inputs.gates[rows])
        last = _step("masked", part.learnt(torch.float32), shape.number, gradient[rows])
        sums = [total + one for total, one in zip(sums, last[2:4], strict=True)] if sums else last[2:4]
    tail = chunks[-1]
    for name in names:
        if name not in ("triton", "grouped"):
            continue
        found = _step(name, inputs.learnt(), shape.number, gradient)
        pairs = [(found[0][tail], last[0]), (found[1][tail], last[1]), *zip(found[2:4], sums, strict=True)]
        errors = [_error(one, other) for one, other in pairs]
        assert max(errors) < BOUNDS[torch.bfloat16], f"{name}, beyond 2^31: {errors}"
        result["checks"].setdefault(name, {})["beyond 2^31"] = max(errors)


# training


def _train(shape: Shape, names: list[str], device: torch.device, result: dict, tune: bool) -> None:
    if tune and "triton" in names:
        from training.sparse.fused import pin
        from training.sparse.tuning import tune as tuned

        plan = tuned(result["tokens"], shape.d, shape.m, shape.number, shape.k, device)
        pin(shape.d, shape.m, plan)
        print(shape, plan, flush=True)
    inputs = _drawn(result["tokens"], shape, device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    inputs = inputs._replace(gates=torch.ones_like(inputs.gates))
    gradient = torch.randn_like(inputs.x)

    def run(call: Callable[[Inputs], Tensor], backward: bool) -> float:
        own = inputs.learnt() if backward else inputs

        def step() -> None:
            with torch.set_grad_enabled(backward):
                out = call(own)
            if backward:
                torch.autograd.grad(out, own.leaves, gradient, allow_unused=True)

        return seconds(step, device, warm=3, timed=7)

    calls: dict[str, Callable[[Inputs], Tensor]] = {"dense": lambda own: (own.x @ own.w_in.t()).relu() @ own.w_out}
    for name in names:
        calls[name] = partial(lambda own, **how: sparse_ffn(*own, number=shape.number, **how), kernel=name)
        if name == "bmm":
            how = {"kernel": name, "capacity_factor": 1.25}
            calls["bmm, factor 1.25"] = partial(lambda own, **how: sparse_ffn(*own, number=shape.number, **how), **how)
    row: dict[str, object] = {"shape": shape._asdict()}
    for name, call in calls.items():
        row[name] = {"forward": run(call, backward=False), "both": run(call, backward=True)}
    result["training"].append(row)
    if "triton" in names:
        result["parts"].append({"shape": shape._asdict()} | _parts(inputs, shape, gradient, device))


def _parts(inputs: Inputs, shape: Shape, gradient: Tensor, device: torch.device) -> dict[str, float]:
    """Seconds of each kernel of the Triton path."""
    from training.sparse.fused import Fused

    kernel = Fused()
    first, second = (w.view(shape.number, shape.m, shape.d) for w in (inputs.w_in, inputs.w_out))
    pairs = kernel.arrange(inputs.experts, first)
    active = kernel.up(inputs.x, first, pairs)
    rows = kernel.expert_matmul(active, second, pairs)
    ones = torch.ones(active.shape[0], device=device)
    calls: dict[str, Call] = {
        "arrange": lambda: kernel.arrange(inputs.experts, first),
        "up": lambda: kernel.up(inputs.x, first, pairs),
        "down": lambda: kernel.expert_matmul(active, second, pairs),
        "sum": lambda: kernel.gather_sum(rows, pairs, inputs.gates),
        "back": lambda: kernel.up_backward(gradient, second, pairs, active, ones),
        "weight": lambda: kernel.weight_gradient(active, inputs.x, pairs, torch.bfloat16),
    }
    return {name: seconds(call, device) for name, call in calls.items()}


# decoding


def _decode(shape: Shape, batch: int, device: torch.device, result: dict) -> None:
    layers = [_drawn(batch, shape, device) for _ in range(LAYERS)]
    for one in layers[:2]:
        ones = torch.ones_like(one.gates)
        wide = sparse_ffn(
            *(value.float() for value in one[:3]), one.experts, ones, kernel="masked", number=shape.number
        )
        found = decode_ffn(*one[:4], shape.number)
        assert _error(found, wide) < BOUNDS[torch.bfloat16], f"decoding {shape}: {_error(found, wide)}"
        assert torch.equal(found, decode_ffn(*one[:4], shape.number)), "decoding differs from call to call"

    def dense(one: Inputs) -> Tensor:
        return (one.x @ one.w_in.t()).relu() @ one.w_out

    def sparse(one: Inputs) -> Tensor:
        return decode_ffn(*one[:4], shape.number)

    row: dict[str, object] = {"shape": shape._asdict(), "batch": batch}
    distinct = sum(one.experts.unique().numel() for one in layers) / LAYERS
    for name, call, experts in (("dense", dense, shape.number), ("sparse", sparse, distinct)):
        taken = seconds(_recorded(partial(lambda call: [call(one) for one in layers], call), device), device) / LAYERS
        read = 2 * 2 * experts * shape.m * shape.d
        row[name] = {"seconds": taken, "bytes": read, "bytes_per_second": read / taken}
    result["decoding"].append(row)


def _recorded(call: Call, device: torch.device) -> Call:
    """The call as a CUDA graph."""
    if device.type == "cpu":
        return call
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay(kept: object = kept) -> None:
        graph.replay()

    return replay


# told


def _print_table(result: dict) -> None:
    print(f"\n{result['device']}, torch {result['torch']}, {result['tokens']} tokens, {result['seconds']:.0f} s")
    for kernel, found in result["checks"].items():
        print(f"{kernel}: largest error {max(found.values()):.1e}")
    print("\n| d, f, E, k | kernel | forward ms | against dense | both ms | against dense |\n|---|---|---|---|---|---|")
    for row in result["training"]:
        shape, dense = ", ".join(str(value) for value in row["shape"].values()), row["dense"]
        for name, found in row.items():
            if name != "shape":
                cells = [f"{found[one] * 1e3:.3f} | {dense[one] / found[one]:.2f}" for one in ("forward", "both")]
                print(f"| {shape} | {name} | {' | '.join(cells)} |")
    for row in result["parts"]:
        shape = row["shape"]
        flops = 2 * result["tokens"] * shape["k"] * shape["d"] * shape["f"] / shape["number"]
        for name, taken in row.items():
            if name != "shape":
                rate = f", {flops / taken / 1e12:.0f} TFLOP/s" if name in ("up", "down", "back", "weight") else ""
                where = ", ".join(str(value) for value in shape.values())
                print(f"| {where} | triton: {name}{rate} | {taken * 1e3:.3f} | | | |")
    for row in result["decoding"]:
        shape, dense = ", ".join(str(value) for value in row["shape"].values()), row["dense"]
        for name in ("dense", "sparse"):
            found = row[name]
            told = f"decode {row['batch']}, {name}: {found['bytes_per_second'] / 1e12:.2f} TB/s"
            print(
                f"| {shape} | {told} | {found['seconds'] * 1e3:.4f} | {dense['seconds'] / found['seconds']:.2f} | | |"
            )
    if result["skipped"]:
        print(f"\nno time left for: {'; '.join(result['skipped'])}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="where to write all figures as JSON")
    parser.add_argument("--seconds", type=float, default=90, help="start nothing new after so many")
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--kernels", nargs="*", help="only these")
    parser.add_argument("--large", action="store_true", help="also sizes beyond 32-bit addresses")
    parser.add_argument("--tune", action="store_true", help="look for block sizes first")
    parser.add_argument("--cpu", action="store_true", help="speed on a CPU, float32, 2,048 tokens")
    parser.add_argument("--tiny", action="store_true", help="on a CPU, in seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()

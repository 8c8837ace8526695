"""Switchable sparse-dense training on one GPU within eight minutes: step times, SSD beside dense, decode and prefill.

    PYTHONPATH=. python benchmarks/ssd_gpu.py TOKENS --output runs/ssd_gpu --seconds 470

TOKENS is a token corpus with held-out rows (`pipeline run manifests/tokenize.yaml`; rows of 1,024 tokens suit). Needs
torch and Triton, no Ray. Three parts, in this order, each printed as a table when it is done:

steps   one training step dense and sparse (a quarter of the neurons), at d=1024 and d=2048
decode  batch-1 decoding as one CUDA graph and prefill, dense and sparse, with the bytes that a step reads
train   SSD and dense for equal tokens with whatever time is left: losses in both modes, wall time, FLOPs

`--tiny` runs the same on a CPU in about a minute, to try the script.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.optim import AdamW

from benchmarks.gpu import Told, print_rows
from training.config import Phase, Schedule
from training.data.source import open_tokens
from training.llama import Llama, new_model
from training.moefication.generate import Generator
from training.moefication.layer import Experts, feed_forwards, flops_per_token, running, switchable
from training.parallel import wrap
from training.ranks import Ranks
from training.shape import LlamaShape
from training.sparse import dispatch
from training.ssd.learner import SwitchableTraining
from training.ssd.recipe import SsdRecipe
from training.ssd.run import run_ssd
from training.ssd.settings import Switching

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
WARM, TIMED = 3, 8
DIVISIONS = ((8, 2), (32, 8))
"""Experts and active ones: a quarter of the neurons, in wide experts and in narrow ones."""


def main() -> None:
    arguments = _arguments()
    began = time.perf_counter()
    arguments.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if CUDA else "cpu",
        "torch": torch.__version__,
    }
    print(found, flush=True)
    parts: dict[str, Callable[[argparse.Namespace, float], Any]] = {"steps": steps, "decode": decode, "train": train}
    for name in arguments.parts.split(","):
        found[name] = parts[name](arguments, arguments.seconds - (time.perf_counter() - began))
        found[f"{name}_done"] = round(time.perf_counter() - began, 1)
        (arguments.output / "result.json").write_text(json.dumps(found, indent=1))
    if dispatch.TABLE.seconds:
        dispatch.save(arguments.output / "kernels.json")
    print(f"{time.perf_counter() - began:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=470)
    parser.add_argument("--parts", default="steps,decode,train")
    parser.add_argument("--stable", type=float, default=0.85, help="cosine from which SSD goes sparse")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def _shape(hidden: int, layers: int, wide: int, vocab: int, *, tiny: bool) -> LlamaShape:
    heads = max(1, hidden // (16 if tiny else 128))
    sizes = {"layers": layers, "hidden": hidden, "intermediate": wide * hidden, "heads": heads, "kv_heads": heads}
    return LlamaShape(**sizes, head_dim=hidden // heads, vocab=vocab, feed_forward="relu")


def _model(shape: LlamaShape, experts: Experts, seed: int) -> Llama:
    """Random weights and routers on the device: routing as uneven as chance makes it."""
    model = new_model(shape, seed).to(DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(seed)
    for layer in switchable(model, experts):
        layer.to(DEVICE)
        layer.router.data.normal_(0.0, 0.02, generator=generator)
    return model


def _wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def _timed(call: Callable[[], object]) -> float:
    """Seconds of a call: the median of several after some."""
    for _ in range(WARM):
        call()
    found = []
    for _ in range(TIMED):
        _wait()
        began = time.perf_counter()
        call()
        _wait()
        found.append(time.perf_counter() - began)
    return median(found)


def steps(arguments: argparse.Namespace, seconds: float) -> list[dict[str, Any]]:
    """Whole training steps: forward, backward, clipping, AdamW, layers compiled, bf16 products."""
    tiny = arguments.tiny
    plans = [(64, 2, 4, 64)] if tiny else [(1024, 16, 32, 1024), (2048, 12, 16, 1024)]
    rows: list[dict[str, Any]] = []
    for hidden, layers, batch, length in plans:
        for number, active in DIVISIONS:
            shape = _shape(hidden, layers, 4, 512 if tiny else 32000, tiny=tiny)
            experts = Experts(number=number, active=active)
            by_mode = _step_seconds(shape, experts, batch, length, arguments.seed)
            flops = [flops_per_token(shape, experts, sparse=mode) for mode in (False, True)]
            rows.append(
                {
                    "d": hidden,
                    "layers": layers,
                    "experts": f"{active} of {number}",
                    "tokens": batch * length,
                    **{f"{mode} ms": round(by_mode[mode] * 1e3, 2) for mode in ("dense", "sparse")},
                    "dense/sparse": round(by_mode["dense"] / by_mode["sparse"], 3),
                    "FLOPs": round(flops[0] / flops[1], 3),
                    "load": round(by_mode["load"], 2),
                }
            )
    print_rows(rows)
    return rows


def _step_seconds(shape: LlamaShape, experts: Experts, batch: int, length: int, seed: int) -> dict[str, float]:
    probe = torch.zeros(1, 16, dtype=torch.int64)
    learner = SwitchableTraining(
        new_model(shape, seed), experts, "dense", Switching(), steps=10**9, probe=probe, seed=seed
    )
    learner.module.to(DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(seed)
    for layer in learner.module.layers:
        layer.router.data.normal_(0.0, 0.02, generator=generator)
    phase = Phase(steps=1, global_batch=batch, schedule=Schedule(peak=1e-4), compile=CUDA)
    module = wrap(learner, phase, Ranks.current())
    optimiser = AdamW(learner.groups(phase), lr=1e-4, fused=CUDA)
    tokens = torch.randint(0, shape.vocab, (batch, length + 1), device=DEVICE, generator=generator)
    found = {}
    for mode in ("dense", "sparse"):
        learner.module.train_sparse = mode == "sparse"

        def step() -> None:
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=CUDA):
                summed, _ = module(tokens[:, :-1], tokens[:, 1:], None, 0)
            (summed / tokens.numel()).backward()
            torch.nn.utils.clip_grad_norm_(learner.model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        found[mode] = _timed(step)
    loads = [layer.take_load().float() for layer in learner.module.layers]
    found["load"] = max(float(load.max() / load.mean()) for load in loads)
    if CUDA:
        torch.cuda.empty_cache()
    return found


def decode(arguments: argparse.Namespace, seconds: float) -> list[dict[str, Any]]:
    """One token after another for one row, and a prompt at once; weights in bfloat16 on a GPU."""
    tiny = arguments.tiny
    plans = [(64, 2, 4)] if tiny else [(2048, 12, 4), (2048, 12, 8)]
    prompt = 64 if tiny else 2048
    rows: list[dict[str, Any]] = []
    for hidden, layers, wide in plans:
        for number, active in ((8, 2), (32, 4)):
            shape = _shape(hidden, layers, wide, 512 if tiny else 32000, tiny=tiny)
            experts = Experts(number=number, active=active)
            model = _model(shape, experts, arguments.seed)
            model = model.to(torch.bfloat16) if CUDA else model
            row: dict[str, Any] = {"d": hidden, "f/d": wide, "layers": layers, "experts": f"{active} of {number}"}
            times = {}
            for mode in ("dense", "sparse"):
                with running(feed_forwards(model), sparse=mode == "sparse"), torch.no_grad():
                    generator = Generator(model, length=512 if not tiny else 96)
                    token = torch.zeros(1, 1, dtype=torch.int64, device=DEVICE)
                    times[f"decode {mode}"] = _timed(partial(generator.step, token, 64))
                    text = torch.randint(0, shape.vocab, (8 if not tiny else 1, prompt), device=DEVICE)
                    times[f"prefill {mode}"] = _timed(partial(model, text))
            read = {mode: _bytes(shape, experts, mode == "sparse", 2 if CUDA else 4) for mode in ("dense", "sparse")}
            row |= {f"{name} ms": round(value * 1e3, 3) for name, value in times.items()}
            row["decode gain"] = round(times["decode dense"] / times["decode sparse"], 2)
            row["bytes gain"] = round(read["dense"] / read["sparse"], 2)
            row["dense TB/s"] = round(read["dense"] / times["decode dense"] / 1e12, 2)
            row["sparse TB/s"] = round(read["sparse"] / times["decode sparse"] / 1e12, 2)
            row["prefill gain"] = round(times["prefill dense"] / times["prefill sparse"], 2)
            rows.append(row)
    print_rows(rows)
    return rows


def _bytes(shape: LlamaShape, experts: Experts, sparse: bool, width: int) -> int:
    """Weights that decoding a token reads."""
    return flops_per_token(shape, experts, sparse=sparse) // 6 * width


def train(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """SSD and dense, the same rows in the same order; steps such that both fit the time."""
    tiny = arguments.tiny
    vocab = open_tokens(str(arguments.tokens)).vocab
    shape = _shape(*((64, 2, 8) if tiny else (1024, 8, 8)), vocab, tiny=tiny)
    experts = Experts(number=16, active=4)
    batch = 8 if tiny else 32
    length = open_tokens(str(arguments.tokens)).sequence_length
    dense = _step_seconds(shape, experts, batch, length, arguments.seed)["dense"]
    count = 60 if tiny else max(100, int((seconds - 45) / 2.05 / dense))
    phase = Phase(
        steps=count,
        global_batch=batch,
        micro_batch=batch,
        schedule=Schedule(peak=1e-3 if not tiny else 3e-3),
        compile=CUDA,
        seed=arguments.seed,
        evaluate_rows=2 if tiny else 32,
        evaluate_every=max(10, count // 12),
        checkpoint_every=10**6,
    )
    rule = Switching(
        check_every=max(2, count // 60),
        stable=arguments.stable if not tiny else 0.3,
        dense_steps=max(4, count // 20),
        sparse_steps=max(4, count // 5),
        final_dense=0.12,
    )
    recipe = SsdRecipe(
        train="ssd",
        output=arguments.output / "train",
        data=str(arguments.tokens),
        executor="local",
        shape=shape,
        phase=phase,
        experts=experts,
        switching=rule,
        baselines=("dense",),
    )
    summaries = run_ssd(recipe, Ranks.current(), Told(time.perf_counter()))
    return _compared(recipe, summaries)


def _compared(recipe: SsdRecipe, summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rows = []
    for name, found in summaries.items():
        means = {kind: sum(v.values()) / len(v) for kind, v in found.items() if kind.startswith("held_out")}
        rows.append(
            {
                "arm": name,
                "steps": found["steps"],
                "Mtokens": round(found["tokens"] / 1e6, 1),
                "PFLOPs": round(found["flops"] / 1e15, 2),
                "s": round(found["seconds"], 1),
                **{kind: round(value, 4) for kind, value in means.items()},
            }
        )
    print_rows(rows)
    ssd, dense = summaries["ssd"], summaries["dense"]
    goal = sum(ssd["held_out"].values()) / len(ssd["held_out"])
    return {
        "shape": recipe.shape.model_dump() | {"parameters": recipe.shape.parameters},
        "arms": rows,
        "wall dense/ssd": dense["seconds"] / ssd["seconds"],
        "flops dense/ssd": dense["flops"] / ssd["flops"],
        "dense seconds to SSD's loss": next(iter(_reached(recipe.output / "dense", goal)), None),
    }


def _reached(folder: Path, goal: float) -> Iterator[float]:
    """Seconds at which a phase was at most at ``goal``."""
    for text in (folder / "log.jsonl").read_text("utf-8").splitlines():
        line = json.loads(text)
        if "held_out" in line and sum(line["held_out"].values()) / len(line["held_out"]) <= goal:
            yield line["seconds"]


if __name__ == "__main__":
    main()

"""Sheared LLaMA on one GPU in some minutes: pruning against training from scratch, magnitude pruning, a static mixture.

    PYTHONPATH=. python benchmarks/sheared_gpu.py TOKENS --output runs/sheared_gpu --seconds 480

TOKENS is a token corpus with several domains and held-out rows (`pipeline run manifests/tokenize.yaml`). The speed of
each kind of step is measured first, and the seconds are dealt out to the phases in steps. One table is printed last;
all logs lie under --output. Needs torch only, no Ray. `--tiny` runs the same on a CPU in about a minute, to try the
script.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import TIMED, WARM, Told, step_seconds
from training.config import Phase, Schedule
from training.data.source import open_tokens
from training.dynamic import DynamicLoading
from training.learner import LanguageModel, Learner
from training.llama import new_model
from training.pruning.learner import Gates, Pruning
from training.pruning.recipe import ShearedRecipe
from training.pruning.run import run_sheared
from training.pruning.target import Target, target_shape
from training.ranks import Ranks
from training.recipe import Data, Source, TrainedSource, open_data
from training.shape import LlamaShape

SHARES = "source=.34,prune=.2,continued=.115,static=.115,magnitude=.115"
"""Of the seconds, in steps; training from scratch comes on top: its steps follow from those of the others."""
LARGE = {
    "source": {"layers": 14, "hidden": 768, "intermediate": 2304, "heads": 12, "kv_heads": 12, "head_dim": 64},
    "target": {"layers": 10, "hidden": 512, "intermediate": 1408, "heads": 8},
}
TINY = {
    "source": {"layers": 4, "hidden": 64, "intermediate": 192, "heads": 4, "kv_heads": 4, "head_dim": 16},
    "target": {"layers": 3, "hidden": 48, "intermediate": 128, "heads": 3},
}


def main() -> None:
    arguments = _arguments()
    began = time.perf_counter()
    base = _recipe(arguments)
    trained = base.source.train
    assert trained is not None
    speeds = _speeds(trained.shape, base.target, base.prune, open_data(base), arguments.output / "speed")
    print({name: f"{1 / seconds:.2f} steps/s" for name, seconds in speeds.items()}, flush=True)
    left = arguments.seconds - (time.perf_counter() - began)
    shares = {name: float(value) for name, value in (part.split("=") for part in arguments.shares.split(","))}
    summaries = run_sheared(_dealt(base, base.prune, speeds, left, shares), Ranks.current(), Told(began))
    target = target_shape(trained.shape, base.target)
    result = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "source": trained.shape.model_dump() | {"parameters": trained.shape.parameters},
        "target": target.model_dump() | {"parameters": target.parameters},
        "step_seconds": speeds,
        "source_losses": json.loads((arguments.output / "source_losses.json").read_text())["losses"],
        "phases": summaries,
        "seconds": time.perf_counter() - began,
    }
    (arguments.output / "result.json").write_text(json.dumps(result, indent=1))
    _print_table(result)


def _recipe(arguments: argparse.Namespace) -> ShearedRecipe:
    """The models, and phases that only measure speed."""
    tiny = arguments.tiny
    sizes = TINY if tiny else LARGE
    phase = Phase(
        steps=WARM + TIMED,
        global_batch=4 if tiny else 32,
        micro_batch=4 if tiny else 32,
        schedule=Schedule(peak=1e-3),
        compile=not tiny,
        seed=arguments.seed,
        evaluate_rows=2 if tiny else 64,
        evaluate_every=10**6,
        checkpoint_every=10**6,
    )
    shape = LlamaShape(**sizes["source"], vocab=open_tokens(str(arguments.tokens)).vocab)
    return ShearedRecipe(
        train="sheared",
        output=arguments.output,
        data=str(arguments.tokens),
        source=Source(train=TrainedSource(shape=shape, phase=phase)),
        target=Target(**sizes["target"]),
        prune=phase,
        continued=phase,
        executor="local",
        scratch=arguments.scratch,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", choices=["tokens", "compute"], default="tokens")
    parser.add_argument("--shares", default=SHARES, help="of the seconds, by phase")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def _speeds(shape: LlamaShape, target: Target, phase: Phase, data: Data, folder: Path) -> dict[str, float]:
    """Seconds per step of the three kinds, compiled: the median of the timed ones."""
    learners: dict[str, Learner] = {
        "source": LanguageModel(new_model(shape, 0)),
        "prune": Pruning(new_model(shape, 0), target, Gates(), steps=phase.steps, seed=0),
        "target": LanguageModel(new_model(target_shape(shape, target), 0)),
    }
    return step_seconds(learners, phase, data, folder)


def _dealt(
    base: ShearedRecipe, phase: Phase, speeds: dict[str, float], seconds: float, shares: dict[str, float]
) -> ShearedRecipe:
    trained = base.source.train
    assert trained is not None

    def made(share: str, kind: str, peak: float, warmup: float) -> Phase:
        steps = max(20, int(shares[share] * seconds / speeds[kind]))
        schedule = Schedule(peak=peak, warmup=warmup)
        return phase.model_copy(update={"steps": steps, "schedule": schedule, "evaluate_every": max(10, steps // 16)})

    continued = made("continued", "target", 6e-4, 0.03)
    dynamic = DynamicLoading(every=max(10, continued.steps // 20), floor=0.01)
    return base.model_copy(
        update={
            "source": Source(train=TrainedSource(shape=trained.shape, phase=made("source", "source", 1e-3, 0.03))),
            # the paper's rate for the weights (1e-4) suits models that saw thousands of times more tokens
            "prune": made("prune", "prune", 3e-4, 0.1),
            "continued": continued.model_copy(update={"dynamic": dynamic}),
            "baselines": tuple(name for name in base.baselines if shares.get(name, 1.0) > 0),
        }
    )


def _print_table(result: dict[str, Any]) -> None:
    source = result["source_losses"]
    names = list(source)
    print(f"\n{result['device']}, torch {result['torch']}, {result['seconds']:.0f} s")
    print(f"step: { ({name: round(value, 4) for name, value in result['step_seconds'].items()}) }")
    print(
        "| phase | steps | Mtokens | PFLOPs | s | waited s | mean loss | spread over source | "
        + " | ".join(names)
        + " |"
    )
    print("|---" * (8 + len(names)) + "|")
    for name, found in result["phases"].items():
        held = found["held_out"]
        excess = [held[domain] - source[domain] for domain in names]
        row = [name, found["steps"], f"{found['tokens'] / 1e6:.1f}", f"{found['flops'] / 1e15:.1f}"]
        row += [f"{found['seconds']:.0f}", f"{found['waited']:.1f}", f"{sum(held.values()) / len(held):.4f}"]
        row += [f"{max(excess) - min(excess):.3f}", *(f"{held[domain]:.3f}" for domain in names)]
        print("| " + " | ".join(map(str, row)) + " |")
    for name in ("continued", "static"):
        if name not in result["phases"]:
            continue
        drawn = result["phases"][name]["drawn"]
        print(name, "drawn:", {d: f"{count / sum(drawn.values()):.3f}" for d, count in drawn.items()})


if __name__ == "__main__":
    main()

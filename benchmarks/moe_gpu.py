"""Rectify-Router on one GPU in two minutes: a dense model, upcycled and trained on under each way of routing.

    PYTHONPATH=. python benchmarks/moe_gpu.py TOKENS --output runs/moe_gpu --seconds 110

TOKENS is a token corpus with held-out rows (`pipeline run manifests/tokenize.yaml`). The speed of the dense model and
of the dearest arm is measured first, and the seconds are dealt out in steps: every arm gets equally many. Ranks are
virtual: what would have crossed between GPUs is counted, not sent. One table is printed last; all logs lie under
--output. Needs torch only, no Ray. `--tiny` runs the same on a CPU in about a minute, to try the script.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.gpu import TIMED, WARM, Told, step_seconds
from training.config import Phase, Schedule
from training.data.source import open_tokens
from training.learner import LanguageModel, Learner
from training.llama import new_model
from training.moe.learner import MixtureLearner
from training.moe.recipe import MoeRecipe, runs
from training.moe.run import run_moe
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import upcycle
from training.ranks import Ranks
from training.recipe import Data, Source, TrainedSource, open_data
from training.shape import LlamaShape

SOURCE_SHARE = 0.4
"""Of the seconds; the arms share the rest."""
SPARE = 0.88
"""Of the seconds goes into steps; the rest is for evaluations and files."""
LARGE = {"layers": 8, "hidden": 512, "intermediate": 2048, "heads": 8, "kv_heads": 8, "head_dim": 64}
TINY = {"layers": 2, "hidden": 64, "intermediate": 192, "heads": 4, "kv_heads": 4, "head_dim": 16}
FACTS = ("dropped", "padded", "filled", "rerouted", "load", "crossed")


def main() -> None:
    arguments = _arguments()
    began = time.perf_counter()
    base = _recipe(arguments)
    trained = base.source.train
    assert trained is not None
    speeds = _speeds(trained.shape, base, open_data(base), arguments.output / "speed")
    print({name: f"{1 / seconds:.2f} steps/s" for name, seconds in speeds.items()}, flush=True)
    left = SPARE * arguments.seconds - (time.perf_counter() - began)
    recipe = _dealt(base, speeds, left)
    summaries = run_moe(recipe, Ranks.current(), Told(began))
    result = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "source": trained.shape.model_dump() | {"parameters": trained.shape.parameters},
        "mixture": recipe.mixture.model_dump(),
        "step_seconds": speeds,
        "phases": {name: found | _told(recipe, name) for name, found in summaries.items()},
        "seconds": time.perf_counter() - began,
    }
    (arguments.output / "result.json").write_text(json.dumps(result, indent=1))
    _print_table(recipe, trained.shape, result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=110)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--top-k", type=int, default=1)
    parser.add_argument("--factor", type=float, default=1.0, help="capacity factor")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def _recipe(arguments: argparse.Namespace) -> MoeRecipe:
    """The models, and phases that only measure speed."""
    tiny = arguments.tiny
    phase = Phase(
        steps=WARM + TIMED,
        global_batch=8 if tiny else 32,
        micro_batch=8 if tiny else 32,
        schedule=Schedule(peak=1e-3),
        seed=arguments.seed,
        evaluate_rows=8 if tiny else 32,
        evaluate_every=10**6,
        checkpoint_every=10**6,
    )
    shape = LlamaShape(**(TINY if tiny else LARGE), vocab=open_tokens(str(arguments.tokens)).vocab)
    return MoeRecipe(
        train="moe",
        output=arguments.output,
        data=str(arguments.tokens),
        source=Source(train=TrainedSource(shape=shape, phase=phase)),
        mixture=Mixture(
            experts=arguments.experts,
            top_k=arguments.top_k,
            ranks=arguments.ranks,
            every=1 if tiny else 2,
            capacity_factor=arguments.factor,
        ),
        continued=phase,
        executor="local",
    )


def _speeds(shape: LlamaShape, base: MoeRecipe, data: Data, folder: Path) -> dict[str, float]:
    """Seconds per step of the dense model and of the mixture with both rectifications: the median of the timed ones."""
    both = base.mixture.model_copy(update={"rectify": Rectify(intra=True, fill_in=True)})
    learners: dict[str, Learner] = {
        "dense": LanguageModel(new_model(shape, 0)),
        "both": MixtureLearner(upcycle(new_model(shape, 0), both, 0), both),
    }
    return step_seconds(learners, base.continued.model_copy(update={"evaluate_rows": 1}), data, folder)


def _dealt(base: MoeRecipe, speeds: dict[str, float], seconds: float) -> MoeRecipe:
    trained = base.source.train
    assert trained is not None
    arms = sum(speeds["dense" if run.arm == "dense" else "both"] for run in runs(base))

    def made(steps: float, peak: float) -> Phase:
        whole = max(20, int(steps))
        return base.continued.model_copy(
            update={"steps": whole, "schedule": Schedule(peak=peak), "log_every": max(1, min(10, whole // 10))}
        )

    first = made(SOURCE_SHARE * seconds / speeds["dense"], 1e-3)
    return base.model_copy(
        update={
            "source": Source(train=TrainedSource(shape=trained.shape, phase=first)),
            "continued": made((1 - SOURCE_SHARE) * seconds / arms, 3e-4),
        }
    )


def _told(recipe: MoeRecipe, name: str) -> dict[str, float]:
    """Means over the log of a phase of what its routers told."""
    lines = [json.loads(line) for line in (recipe.output / name / "log.jsonl").read_text().splitlines()]
    return {
        fact: mean(values)
        for fact in FACTS
        if (values := [v for line in lines if (v := line.get(f"moe/{fact}")) is not None])
    }


def _print_table(recipe: MoeRecipe, shape: LlamaShape, result: dict[str, Any]) -> None:
    layers = shape.layers // recipe.mixture.every
    expert = 6 * shape.feed_forward_weights * layers
    row_bytes = 2 * shape.hidden * 2 * layers / 1024  # bfloat16, there and back, forward; as much again backward
    print(f"\n{result['device']}, torch {result['torch']}, {result['seconds']:.0f} s; {recipe.mixture}")
    print(f"step: { ({name: round(value, 4) for name, value in result['step_seconds'].items()}) }")
    print(
        "| phase | steps | loss | tested with intra | fill_in | both | dropped | padded | filled | rerouted | load "
        "| extra FLOPs | KiB/token across | tokens/s |"
    )
    print("|---" * 14 + "|")
    for name, found in result["phases"].items():
        losses = [found.get(kind) for kind in ("held_out", "held_out/intra", "held_out/fill_in", "held_out/both")]
        row = [name, found["steps"], *(f"{mean(of.values()):.4f}" if of else "" for of in losses)]
        row += [f"{found[fact]:.3f}" if fact in found else "" for fact in FACTS[:-1]]
        row += [f"{100 * found['rerouted'] * expert / shape.flops_per_token:.1f} %" if "rerouted" in found else ""]
        row += [f"{found['crossed'] * row_bytes:.2f}" if "crossed" in found else ""]
        row += [f"{found['tokens'] / found['seconds']:,.0f}"]
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()

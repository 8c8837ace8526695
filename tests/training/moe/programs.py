"""Small jobs on mixtures, and a program that runs several on two ranks: ``... RANK STORE TASKS`` (JSON).

``layer``: outputs and gradients of one layer, to OUT-RANK.safetensors. ``train``: a phase in the folder OUT.
``recipe``: all phases of a recipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from tests.training.jobs import SHAPE, phase
from tests.training.moe.test_layer import made
from training.data.source import open_tokens
from training.data.write import HELD_OUT
from training.job import Job
from training.llama import new_model
from training.moe.learner import MixtureLearner
from training.moe.parallel import spread
from training.moe.recipe import MoeRecipe
from training.moe.run import run_moe
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import upcycle
from training.ranks import Ranks
from training.trainer import Trainer

ROOT = Path(__file__).parents[3]


def batch():
    """The tokens of all ranks: [1, 48, 16]."""
    return torch.randn(1, 48, 16, generator=torch.Generator().manual_seed(5))


def layer_outcome(x, settings: dict[str, Any], ranks: Ranks) -> dict[str, torch.Tensor]:
    """Output and gradients for this rank's tokens ``x``; the gradient is that of the mean over ranks."""
    layer = made(**settings)
    spread(layer, ranks)
    x = x.clone().requires_grad_()
    out = layer(x)
    weights = torch.linspace(-1, 1, batch().numel()).view(batch().shape).chunk(ranks.world, dim=1)[ranks.rank]
    (out * weights).sum().backward()
    found = {"out": out.detach(), "x": x.grad}
    for name, parameter in layer.named_parameters():
        gradient = parameter.grad
        found[name] = gradient.full_tensor() if isinstance(gradient, DTensor) else ranks.sum(gradient) / ranks.world
    return {name: value.contiguous() for name, value in found.items()}


def job(folder: Path, tokens: str, settings: dict[str, Any], ranks: Ranks) -> Job:
    """An upcycled model on the small corpus; ``mixture`` and ``spread`` in settings, the rest changes the phase."""
    settings = dict(settings)
    mixture = Mixture(**{"experts": 4, "ranks": 2, "every": 1, **settings.pop("mixture", {})})
    model = upcycle(new_model(SHAPE, 7), mixture, 3)
    if settings.pop("spread", False):
        spread(model, ranks)
    learner = MixtureLearner(model, mixture, {"other": Rectify(intra=True)})
    train, held_out = open_tokens(tokens), open_tokens(tokens, HELD_OUT)
    return Job("job", folder, phase(**{"dynamic": None, "micro_batch": 8, **settings}), learner, "o", train, held_out)


class Killed(BaseException):
    """Stops a run as a kill does: nothing is tidied up."""


def train(folder: Path, tokens: str, settings: dict[str, Any], ranks: Ranks) -> dict[str, Any] | None:
    """Run a job on this rank; ``die`` in settings is the step after which it is stopped."""
    settings = dict(settings)
    die = settings.pop("die", None)

    def observe(line: Any) -> None:
        if die is not None and line["step"] >= die:
            raise Killed

    try:
        return Trainer(job(folder, tokens, settings, ranks), ranks, observe).run()
    except Killed:
        return None


def run_on_two(folder: Path, tasks: list[dict[str, Any]]) -> None:
    """Start two processes that do ``tasks`` one after another."""
    command = [sys.executable, "-m", "tests.training.moe.programs"]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(folder / "store"), json.dumps(tasks)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors


def main() -> None:
    rank, store, tasks = sys.argv[1:]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
    ranks = Ranks.current()
    for task in json.loads(tasks):
        out = Path(task["out"])
        if "layer" in task:
            found = layer_outcome(batch().chunk(2, dim=1)[ranks.rank], task["layer"], ranks)
            save_file(found, out.with_name(f"{out.name}-{rank}.safetensors"))
        elif "recipe" in task:
            run_moe(MoeRecipe.model_validate(task["recipe"]), ranks, lambda _: None)
        else:
            train(out, task["tokens"], task["train"], ranks)
            ranks.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Small training jobs, also as programs that may be killed: ``python -m tests.training.jobs FOLDER TOKENS ...``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist

from training.config import Phase, Schedule
from training.data.source import open_tokens
from training.data.write import HELD_OUT
from training.dynamic import DynamicLoading
from training.evaluate import first_rows
from training.job import Job
from training.learner import LanguageModel, Learner
from training.llama import new_model
from training.moefication.layer import Experts
from training.pruning.learner import Gates, Pruning
from training.pruning.target import Target
from training.ranks import Ranks
from training.shape import LlamaShape
from training.ssd.learner import SwitchableTraining
from training.ssd.settings import Plan, Switching
from training.trainer import Trainer

SHAPE = LlamaShape(layers=2, hidden=32, intermediate=48, heads=2, kv_heads=1, head_dim=16, vocab=300)
RELU = SHAPE.model_copy(update={"feed_forward": "relu"})
EXPERTS = Experts(number=6, active=2)
SWITCHING = Switching(check_every=1, stable=0.1, dense_steps=2, sparse_steps=3, final_dense=0.2)
TARGET = Target(layers=1, hidden=24, intermediate=32, heads=2)


def phase(**changes: Any) -> Phase:
    """Twelve steps with dynamic loading and a checkpoint after every fourth."""
    base = Phase(
        steps=12,
        global_batch=8,
        micro_batch=4,
        schedule=Schedule(peak=3e-3),
        dynamic=DynamicLoading(every=3),
        evaluate_every=6,
        evaluate_rows=4,
        checkpoint_every=4,
        log_every=1,
    )
    return base.model_copy(update=changes)


def learner(kind: str, settings: Phase, tokens: Path) -> Learner:
    """One of each kind: plain, pruned, or a plan of SSD that switches every few steps."""
    if kind == "plain":
        return LanguageModel(new_model(SHAPE, 7))
    if kind == "pruned":
        return Pruning(new_model(SHAPE, 7), TARGET, Gates(), steps=settings.steps, seed=3)
    probe, _, _ = first_rows(open_tokens(str(tokens), HELD_OUT), "easy", 2)
    model, plan = new_model(RELU, 7), cast(Plan, kind)
    return SwitchableTraining(model, EXPERTS, plan, SWITCHING, steps=settings.steps, probe=probe, seed=3)


def job(folder: Path, tokens: Path, settings: Phase, *, kind: str = "plain") -> Job:
    """A job on the small corpus."""
    train, held_out = open_tokens(str(tokens)), open_tokens(str(tokens), HELD_OUT)
    reference = {"easy": 1.0, "hard": 5.0} if settings.dynamic else {}
    return Job("job", folder, settings, learner(kind, settings, tokens), "fresh", train, held_out, reference)


def numbers(folder: Path) -> list[dict[str, Any]]:
    """The log without what differs from run to run."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in lines if "resumed" not in line]


def main() -> None:
    """FOLDER TOKENS RANK WORLD STORE CHANGES: run a job; CHANGES is JSON, ``die`` in it the step to be killed after."""
    folder, tokens, rank, world, store, changes = sys.argv[1:]
    settings = json.loads(changes)
    die, kind = settings.pop("die", None), settings.pop("kind", "plain")
    if int(world) > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world))

    def observe(line: Any) -> None:
        if die is not None and line["step"] >= die:
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer(job(Path(folder), Path(tokens), phase(**settings), kind=kind), Ranks.current(), observe).run()
    if int(world) > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

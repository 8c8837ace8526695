"""Training on Ray: one process per worker, each with its GPU where there are some, through Ray Train's
``TorchTrainer``.

Everything that can be wrong is checked before Ray starts. A worker that dies takes its group with it; Ray starts the
group again, and every phase goes on from its last checkpoint. Numbers appear as gauges ``pipeline_train_*`` by phase at
Ray's metrics port (and in its dashboard), in ``log.jsonl`` of each phase, and as lines here.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus.errors import CorpusError, RunError
from pipeline.executors.ray import RayExecutor
from pipeline.phase_logs import mean_loss
from pipeline.run import only_driver
from pipeline.task import Place
from training.folder import DONE, LOG, RECIPE, publish
from training.ranks import Ranks
from training.recipe import TrainingRecipe

RESTARTS = 3
POLL_S = 0.5
Tell = Callable[[str], None]


def train_on_tokens(recipe: TrainingRecipe, tell: Tell) -> dict[str, dict[str, Any]]:
    """Run the recipe to its end; returns the summary of each phase. Raises ``CorpusError``."""
    recipe.check()
    recipe = recipe.absolute()
    with only_driver(Place(str(recipe.output))):
        publish(recipe.output / RECIPE, {"train": recipe.train, "phases": list(recipe.about().items())})
        if recipe.executor == "local":
            return recipe.run(Ranks.current(), lambda line: _tell(line, tell))
        with RayExecutor(workers=_processors(recipe)) as executor, _followed(recipe.output, tell):
            tell(executor.describe())
            _fit(recipe)
    folders = sorted(recipe.output.glob(f"*/{DONE}"))
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in folders}


def _processors(recipe: TrainingRecipe) -> int:
    return max(recipe.workers, len(os.sched_getaffinity(0)))


def _fit(recipe: TrainingRecipe) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    resources: dict[str, float] = ray.cluster_resources()
    has_gpus = resources.get("GPU", 0) >= recipe.workers
    trainer = TorchTrainer(
        _work,
        train_loop_config={"recipe": recipe},
        scaling_config=ScalingConfig(num_workers=recipe.workers, use_gpu=has_gpus),
        run_config=RunConfig(
            name="train",
            storage_path=str((recipe.output / "ray").absolute()),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise _cause(error, recipe) from None


def _cause(error: Any, recipe: TrainingRecipe) -> CorpusError:
    found = list(getattr(error, "worker_failures", {}).values())
    ours = [failure for failure in found if isinstance(failure, CorpusError)]
    ours += [cause for failure in found if isinstance(cause := getattr(failure, "cause", None), CorpusError)]
    if ours:
        return ours[0]
    return RunError(f"training failed: {found[0] if found else error}", where=str(recipe.output))


def _work(config: Mapping[str, Any]) -> None:
    """What each worker runs; the process group is there already."""
    import torch
    from ray.train.torch import get_device

    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())
    ranks = Ranks.current()
    recipe: TrainingRecipe = config["recipe"]
    recipe.run(ranks, _Gauges() if ranks.leads else _ignore)


def _ignore(line: Mapping[str, Any]) -> None:
    pass


class _Gauges:
    """Numbers of the log as gauges of Ray."""

    def __init__(self) -> None:
        self._gauges: dict[str, Any] = {}

    def __call__(self, line: Mapping[str, Any]) -> None:
        tags = {"phase": line["phase"]}
        for name, value in line.items():
            gauge = name.replace("/", "_")  # the only mark in names of the log that a gauge cannot have
            if isinstance(value, (int, float)):
                self._set(gauge, value, tags)
            elif isinstance(value, dict):
                for domain, found in value.items():
                    self._set(gauge, found, {**tags, "domain": domain})

    def _set(self, name: str, value: float, tags: dict[str, str]) -> None:
        from ray.util.metrics import Gauge

        if name not in self._gauges:
            self._gauges[name] = Gauge(f"pipeline_train_{name}", description=f"Training: {name}", tag_keys=tuple(tags))
        self._gauges[name].set(float(value), tags)


@contextmanager
def _followed(folder: Path, tell: Tell) -> Iterator[None]:
    """Tell the lines that workers, wherever they are, append to the logs."""
    ended = threading.Event()
    places = {path: path.stat().st_size for path in folder.glob(f"*/{LOG}")}

    def follow() -> None:
        while True:
            last = ended.wait(POLL_S)
            for path in sorted(folder.glob(f"*/{LOG}"), key=lambda path: path.stat().st_mtime):
                places[path] = _tell_new(path, places.get(path, 0), tell)
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell_new(path: Path, place: int, tell: Tell) -> int:
    data = path.read_bytes()
    if len(data) < place:
        place = 0  # begun anew, or cut back to a checkpoint
    end = data.rfind(b"\n") + 1
    for line in data[place:end].splitlines():
        _tell(json.loads(line), tell)
    return max(place, end)


def _tell(line: Mapping[str, Any], tell: Tell) -> None:
    start = f"{line['phase']}: step {line['step']}"
    if "resumed" in line:
        tell(f"{start}: going on from checkpoint {line['resumed']}")
    elif "told" in line:
        tell(f"{start}: {line['told']}, {line['seconds']:.1f} s")
    elif "held_out" in line:
        losses = [f"{name} {loss:.3f}" for name, loss in line["held_out"].items()]
        others = {key.partition("/")[2]: mean_loss(line[key]) for key in line if key.startswith("held_out/")}
        losses += [f"mean of {mode} {loss:.3f}" for mode, loss in others.items()]
        tell(f"{start}, held out: {', '.join(losses)}")
    elif "loss" in line:
        tell(f"{start}, loss {line['loss']:.4f}, {line['tokens']:,} tokens, {line['seconds']:.1f} s")
    else:
        known = ("phase", "step", "tokens", "flops", "seconds")
        events = {name: value for name, value in line.items() if name not in known}
        tell(f"{start}: " + ", ".join(f"{name} {_short(value)}" for name, value in events.items()))


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)

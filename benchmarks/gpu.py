"""What the scripts for one GPU share: the speed of learners, lines of progress, tables."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from training.config import Phase
from training.job import Job
from training.learner import Learner
from training.ranks import Ranks
from training.recipe import Data
from training.trainer import Trainer

WARM, TIMED = 4, 12
"""Steps before, and in, a measurement of speed."""


def step_seconds(learners: Mapping[str, Learner], phase: Phase, data: Data, folder: Path) -> dict[str, float]:
    """Seconds per step of each learner: the median of the timed ones. ``phase`` has ``WARM + TIMED`` steps."""
    found = {}
    every = phase.model_copy(update={"log_every": 1})  # to log a loss is to wait for it
    for name, learner in learners.items():
        job = Job(name, folder / name, every, learner, "fresh", data.train, data.held_out)
        lines: list[float] = []
        Trainer(job, Ranks.current(), lambda line, seen=lines: seen.append(line["seconds"])).run()
        times = [after - before for before, after in pairwise(lines[: WARM + TIMED])]
        found[name] = median(times[WARM:])
    return found


class Told:
    """Prints lines of the log: all but those of single steps, of which one now and then."""

    def __init__(self, began: float) -> None:
        self._began, self._last = began, 0.0

    def __call__(self, line: Mapping[str, Any]) -> None:
        now = time.perf_counter()
        if "loss" not in line or now - self._last > 15:
            self._last = now
            print(f"{now - self._began:6.1f}s", json.dumps(rounded(line)), flush=True)


def rounded(value: Any) -> Any:
    """The same with shorter numbers."""
    if isinstance(value, Mapping):
        return {name: rounded(found) for name, found in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A Markdown table of rows that need not have the same columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("\n| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        print("| " + " | ".join(str(row.get(name, "")) for name in names) + " |", flush=True)

"""What phases of a training left behind, read for reports and ``pipeline status``. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.folder import DONE, LOG, RECIPE


class PhaseLog(NamedTuple):
    """What a phase left behind."""

    name: str
    about: str
    summary: Mapping[str, Any] | None
    lines: Sequence[Mapping[str, Any]]

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if "held_out" in line]

    @property
    def modes(self) -> dict[str, float]:
        """Mean held-out losses at the end of other ways to run the model, by their names."""
        last = self.evaluations[-1] if self.evaluations else {}
        return {key.partition("/")[2]: mean_loss(last[key]) for key in last if key.startswith("held_out/")}

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if "loss" in line]


def is_training(folder: Path) -> bool:
    """Whether a folder holds phases of a training."""
    return (folder / RECIPE).is_file()


def kind_of(folder: Path) -> str:
    """What was trained there: the ``train`` of its recipe."""
    return str(json.loads((folder / RECIPE).read_text("utf-8"))["train"])


def read_phases(folder: Path) -> list[PhaseLog]:
    """The phases of a recipe, in their order, finished or not."""
    found = []
    for name, about in json.loads((folder / RECIPE).read_text("utf-8"))["phases"]:
        log, done = folder / name / LOG, folder / name / DONE
        if log.is_file():
            lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")]
            summary = json.loads(done.read_text("utf-8")) if done.is_file() else None
            found.append(PhaseLog(name, about, summary, lines))
    return found


def progress(folder: Path) -> list[dict[str, Any]]:
    """How far each phase is: its state, updates done, last training loss and last mean held-out loss."""
    found = []
    for phase in read_phases(folder):
        held_out = mean_loss(phase.evaluations[-1]["held_out"]) if phase.evaluations else None
        found.append(
            {
                "phase": phase.name,
                "state": "finished" if phase.summary else "not finished",
                "step": phase.lines[-1]["step"] if phase.lines else 0,
                "loss": phase.steps[-1]["loss"] if phase.steps else None,
                "held_out": held_out,
            }
        )
    return found


def progress_line(entry: Mapping[str, Any]) -> str:
    """One entry of ``progress``, for people."""
    losses = {"loss": entry["loss"], "held out": entry["held_out"]}
    told = "".join(f", {name} {value:.4f}" for name, value in losses.items() if value is not None)
    return f"{entry['state']}, step {entry['step']}{told}"


def loss_over(phase: PhaseLog, x: str, losses: str = "held_out") -> list[tuple[float, float]]:
    """The curve of mean held-out losses over ``x``: step, tokens or flops."""
    return [(line[x], mean_loss(line[losses])) for line in phase.evaluations if losses in line]


def points(phase: PhaseLog, fact: str) -> list[tuple[float, float]]:
    """A number of the log over steps."""
    return [(line["step"], line[fact]) for line in phase.lines if fact in line]


def mean_loss(losses: Mapping[str, float]) -> float:
    """Mean over domains, each counting once."""
    return sum(losses.values()) / len(losses)

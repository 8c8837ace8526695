"""``report.html`` of a training: what each phase reached, at what cost, and the curves. One page, no scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.curves import Line, by_domain, chart
from training.folder import DONE, LOG, checkpoints

PAGE = "report.html"
ORDER = ("source", "prune", "continued", "static", "magnitude", "random", "scratch")
ABOUT = {
    "source": "the model that is pruned, trained here",
    "prune": "pruning to the target shape; losses are those of the cut model",
    "continued": "the pruned model, trained on with dynamic batch loading",
    "static": "the pruned model, trained on with the mixture as it is",
    "magnitude": "the target shape by the size of weights, trained on like `continued`",
    "random": "the target shape at random, trained on like `continued`",
    "scratch": "the target shape from fresh weights",
}


class PhaseLog(NamedTuple):
    """What a phase left behind."""

    name: str
    summary: Mapping[str, Any] | None
    lines: Sequence[Mapping[str, Any]]

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if "held_out" in line]

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if "loss" in line]


def read_phases(folder: Path) -> list[PhaseLog]:
    """The phases of a recipe, in their order, finished or not."""
    found = []
    for name in ORDER:
        log, done = folder / name / LOG, folder / name / DONE
        if log.is_file():
            lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")]
            summary = json.loads(done.read_text("utf-8")) if done.is_file() else None
            found.append(PhaseLog(name, summary, lines))
    return found


def is_training(folder: Path) -> bool:
    """Whether a folder holds phases of a training."""
    return any((folder / name / LOG).is_file() for name in ORDER)


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


def mean_loss(losses: Mapping[str, float]) -> float:
    """Mean over domains, each counting once."""
    return sum(losses.values()) / len(losses)


def compute_to_reach(phases: Mapping[str, PhaseLog], goal: float) -> tuple[float, float] | None:
    """FLOPs and tokens of pruning and continued training at which their held-out loss first is at most ``goal``."""
    flops, tokens = 0.0, 0
    for name in ("prune", "continued"):
        for line in phases[name].evaluations if name in phases else ():
            if mean_loss(line["held_out"]) <= goal:
                return flops + line["flops"], tokens + line["tokens"]
        summary = phases[name].summary if name in phases else None
        if summary is not None:
            flops, tokens = flops + summary["flops"], tokens + summary["tokens"]
    return None


def write_training_report(folder: Path) -> Path:
    """Write the page beside the phases; returns its path."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = (Path(__file__).parent / "training_page.html").read_text("utf-8")
    style = source.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("training_page.html").render(style_hash=digest, **_page(folder))
    path = folder / PAGE
    path.write_text(page, "utf-8")
    return path


def _page(folder: Path) -> dict[str, Any]:
    phases = {phase.name: phase for phase in read_phases(folder)}
    source = _source_losses(folder)
    domains = list(source) or list(next((p.summary["held_out"] for p in phases.values() if p.summary), {}))
    rows = [_row(phase, source, folder) for phase in phases.values()]
    return {
        "name": folder.name,
        "domains": domains,
        "rows": rows,
        "source": source,
        "verdict": _verdict(phases),
        "charts": [found for found in _charts(phases, source) if found],
    }


def _source_losses(folder: Path) -> dict[str, float]:
    path = folder / "source_losses.json"
    return dict(json.loads(path.read_text("utf-8"))["losses"]) if path.is_file() else {}


def _row(phase: PhaseLog, source: Mapping[str, float], folder: Path) -> dict[str, Any]:
    last = phase.evaluations[-1]["held_out"] if phase.evaluations else {}
    excess = [last[name] - source[name] for name in last if name in source]
    line = phase.lines[-1] if phase.lines else {"step": 0, "tokens": 0, "flops": 0.0, "seconds": 0.0}
    stopped = "" if phase.summary else f"stopped; {len(checkpoints(folder / phase.name))} checkpoints"
    return {
        "name": phase.name,
        "about": ABOUT[phase.name],
        "state": stopped or "finished",
        "steps": line["step"],
        "tokens": line["tokens"],
        "flops": line["flops"],
        "seconds": line["seconds"],
        "mean": mean_loss(last) if last else None,
        "spread": max(excess) - min(excess) if excess else None,
        "losses": last,
        "drawn": _shares(phase.summary["drawn"]) if phase.summary else {},
    }


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.items()}


def _verdict(phases: Mapping[str, PhaseLog]) -> str:
    """How much of the baseline's compute pruning needed, in one sentence; empty where that cannot be said."""
    scratch = phases.get("scratch")
    if scratch is None or scratch.summary is None or "continued" not in phases:
        return ""
    goal = mean_loss(scratch.summary["held_out"])
    found = compute_to_reach(phases, goal)
    start = f"Training from scratch ended at a mean held-out loss of {goal:.3f} nats. "
    if found is None:
        return start + "Pruning and continued training did not reach it."
    flops, tokens = found
    return start + (
        f"Pruning and continued training reached it with {flops / scratch.summary['flops']:.0%} of its FLOPs and "
        f"{tokens / scratch.summary['tokens']:.0%} of its tokens (the training of the source is not counted)."
    )


def _charts(phases: Mapping[str, PhaseLog], source: Mapping[str, float]) -> list[Any]:
    curves, ahead = [], 0.0
    for name, phase in phases.items():
        if name == "source":
            continue  # another shape
        before = ahead if name in ("continued", "static") else 0.0
        points = [(before + line["flops"], mean_loss(line["held_out"])) for line in phase.evaluations]
        curves.append(Line(name, points, dashed=name not in ("prune", "continued")))
        if name == "prune" and phase.summary:
            ahead = phase.summary["flops"]
    ends = [points[-1][1] for _, points, _ in curves if points]
    top = min(ends) + 2.5 if ends else None
    found = [chart("Mean held-out loss", curves, x="FLOPs, pruning included", y="nats per token", top=top)]
    for name, phase in phases.items():
        lines, steps = phase.evaluations, [line["step"] for line in phase.evaluations]
        if name != "source" and source and lines:
            excess = [{d: loss - source[d] for d, loss in line["held_out"].items() if d in source} for line in lines]
            title = f"{name}: loss above the source model's"
            found.append(chart(title, by_domain(excess, steps), x="step", y="nats", top=1.5))
        if phase.summary and len(phase.summary["journal"]) > 1:
            journal = phase.summary["journal"]
            weights = by_domain([change["weights"] for change in journal], [change["step"] for change in journal])
            found.append(chart(f"{name}: weights of the mixture", weights, x="step", y="share"))
        sparse = [{k.partition("/")[2]: v for k, v in s.items() if k.startswith("sparsity/")} for s in phase.steps]
        if any(sparse):
            steps = [line["step"] for line in phase.steps]
            found.append(chart(f"{name}: expected share of zeros", by_domain(sparse, steps), x="step", y="share"))
    return found

"""``report.html`` of a training: what each phase reached, at what cost, and the curves. One page, no scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import moe_report, sheared_report, ssd_report
from pipeline.modularity_report import write_modularity_report
from pipeline.page import render
from pipeline.phase_logs import PhaseLog, kind_of, mean_loss, read_phases
from training.folder import checkpoints

PAGE = "report.html"


class Report(NamedTuple):
    """What is said of one kind of training beyond the table."""

    verdict: Callable[[Mapping[str, PhaseLog]], str]
    """One sentence or two; empty where nothing can be said yet."""
    charts: Callable[[Mapping[str, PhaseLog], Mapping[str, float]], list[Any]]
    """Curves; the second argument are the source model's losses, where there are any."""


REPORTS = {
    "sheared": Report(sheared_report.verdict, sheared_report.charts),
    "ssd": Report(ssd_report.verdict, ssd_report.charts),
    "moe": Report(moe_report.verdict, moe_report.charts),
}


def write_training_report(folder: Path) -> Path:
    """Write the page beside the phases; returns its path."""
    if kind_of(folder) == "modularity":
        return write_modularity_report(folder)
    path = folder / PAGE
    path.write_text(render("training_page.html", **_page(folder)), "utf-8")
    return path


def _page(folder: Path) -> dict[str, Any]:
    phases = {phase.name: phase for phase in read_phases(folder)}
    report, source = REPORTS[kind_of(folder)], _source_losses(folder)
    domains = list(source) or list(next((p.summary["held_out"] for p in phases.values() if p.summary), {}))
    rows = [_row(phase, source, folder) for phase in phases.values()]
    modes = list(dict.fromkeys(mode for row in rows for mode in row["modes"]))
    return {
        "modes": modes,
        "name": folder.name,
        "domains": domains,
        "rows": rows,
        "source": source,
        "verdict": report.verdict(phases),
        "charts": [found for found in report.charts(phases, source) if found],
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
        "about": phase.about,
        "state": stopped or "finished",
        "steps": line["step"],
        "tokens": line["tokens"],
        "flops": line["flops"],
        "seconds": line["seconds"],
        "mean": mean_loss(last) if last else None,
        "spread": max(excess) - min(excess) if excess else None,
        "losses": last,
        "modes": phase.modes,
        "drawn": _shares(phase.summary["drawn"]) if phase.summary else {},
    }


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.items()}

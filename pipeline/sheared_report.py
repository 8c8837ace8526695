"""What the report of a sheared model says beyond its table: the compute it saved, and its curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.curves import Line, by_domain, chart
from pipeline.phase_logs import PhaseLog, loss_over, mean_loss


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


def verdict(phases: Mapping[str, PhaseLog]) -> str:
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


def charts(phases: Mapping[str, PhaseLog], source: Mapping[str, float]) -> list[Any]:
    """Losses over FLOPs; and by phase the excess over the source, the mixture, and the sparsity of masks."""
    curves, ahead = [], 0.0
    for name, phase in phases.items():
        if name == "source":
            continue  # another shape
        before = ahead if name in ("continued", "static") else 0.0
        points = [(before + flops, loss) for flops, loss in loss_over(phase, "flops")]
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

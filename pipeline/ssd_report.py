"""What the report of switchable sparse-dense pre-training says beyond its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.curves import Line, chart, short
from pipeline.phase_logs import PhaseLog, loss_over, mean_loss, points

SPARSE = "held_out/sparse"


def verdict(phases: Mapping[str, PhaseLog]) -> str:
    """Loss and cost beside dense training, in a few sentences; empty where that cannot be said."""
    ssd, dense = phases.get("ssd"), phases.get("dense")
    if ssd is None or ssd.summary is None or dense is None or dense.summary is None:
        return ""
    ours, theirs = (mean_loss(phase.summary["held_out"]) for phase in (ssd, dense) if phase.summary)
    both, after = (mean_loss(phase.summary[SPARSE]) for phase in (ssd, dense) if phase.summary)
    cost, other = (phase.summary["flops"] for phase in (ssd, dense) if phase.summary)
    return (
        f"SSD ended at {ours:.3f} nats dense and {both:.3f} sparse, with {short(cost)} FLOPs; dense training at "
        f"{theirs:.3f}, and {after:.3f} made sparse after training, with {short(other)} FLOPs, "
        f"{other / cost:.2f} times as many. {_turns(ssd)}"
    )


def _turns(ssd: PhaseLog) -> str:
    """How often and how long it was sparse."""
    assert ssd.summary is not None
    switches = [(line["step"], line["mode"]) for line in ssd.lines if "mode" in line]
    ends = [*(step for step, _ in switches[1:]), ssd.summary["steps"]]
    sparse = sum(end - start for (start, mode), end in zip(switches, ends, strict=True) if mode == "sparse")
    count = sum(mode == "sparse" for _, mode in switches)
    if not count:
        return "Its neurons never were stable enough to switch."
    return f"{sparse / ssd.summary['steps']:.0%} of its steps were sparse, in {count} phases."


def charts(phases: Mapping[str, PhaseLog], source: Mapping[str, float]) -> list[Any]:
    """Losses over FLOPs and tokens; how many neurons fire, and whether still with the same others."""
    shown = {
        "active": ("Neurons that fire for a token", "share"),
        "similarity": ("Covariance of activations: cosine with the check-up before", "cosine"),
        "jaccard": ("Firing neurons: overlap with the check-up before", "share"),
        "agreement": ("Experts: agreement with the ones before (adjusted Rand index)", "index"),
        "load": ("Busiest expert's load over the mean", "ratio"),
    }
    losses = [_losses(phases, "flops", "FLOPs"), _losses(phases, "tokens", "tokens")]
    watched = [
        chart(title, [Line(name, points(phase, fact)) for name, phase in phases.items()], x="step", y=unit)
        for fact, (title, unit) in shown.items()
    ]
    return [*losses, *watched]


def _losses(phases: Mapping[str, PhaseLog], x: str, unit: str) -> Any:
    dense = [Line(name, loss_over(phase, x)) for name, phase in phases.items()]
    sparse = [Line(f"{name}, sparse", loss_over(phase, x, SPARSE), dashed=True) for name, phase in phases.items()]
    ends = [line.points[-1][1] for line in dense if line.points]
    top = min(ends) + 2.0 if ends else None  # the start of the curves is cut off
    return chart(f"Mean held-out loss over {unit}", [*dense, *sparse], x=unit, y="nats per token", top=top)

"""What the report of mixtures of experts says beyond its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.curves import Line, chart
from pipeline.phase_logs import PhaseLog, loss_over, mean_loss, points

FACTS = {
    "moe/dropped": ("Tokens that reached no expert", "share of tokens"),
    "moe/padded": ("Slots that were padding", "share of slots"),
    "moe/filled": ("Slots that were filled in", "share of slots"),
    "moe/rerouted": ("Tokens with a stand-in", "share of tokens"),
    "moe/load": ("Busiest expert's load over the mean", "ratio"),
}


def verdict(phases: Mapping[str, PhaseLog]) -> str:
    """What rectification gained over plain routing, and what routers wasted; empty where nothing is known."""
    ends = {name: mean_loss(phase.summary["held_out"]) for name, phase in phases.items() if phase.summary}
    plain = {name: loss for name, loss in ends.items() if name.startswith("vanilla")}
    found = []
    for name, loss in plain.items():
        rest = name.removeprefix("vanilla")
        arms = {"intra": "stand-ins", "fill_in": "filling in", "both": "both"}
        gains = [f"{ends[arm + rest] - loss:+.3f} with {said}" for arm, said in arms.items() if arm + rest in ends]
        if gains:
            found.append(f"Plain routing ({name}) ended at {loss:.3f} nats: {', '.join(gains)}.")
    wasted = [
        f"{name} {dropped[-1][1]:.1%} / {points(phase, 'moe/padded')[-1][1]:.1%}"
        for name, phase in phases.items()
        if (dropped := points(phase, "moe/dropped"))
    ]
    if wasted:
        found.append(f"Tokens dropped / slots padded in the last step: {', '.join(wasted)}.")
    return " ".join(found)


def charts(phases: Mapping[str, PhaseLog], source: Mapping[str, float]) -> list[Any]:
    """Losses over tokens, and over them what the routers did."""
    arms = {name: phase for name, phase in phases.items() if name != "source"}
    losses = [Line(name, loss_over(phase, "tokens"), dashed=name == "dense") for name, phase in arms.items()]
    found = [chart("Mean held-out loss", losses, x="tokens", y="nats per token")]
    for fact, (title, unit) in FACTS.items():
        lines = [Line(name, points(phase, fact)) for name, phase in arms.items()]
        found.append(chart(title, lines, x="step", y=unit))
    return found

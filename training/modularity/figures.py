"""From predictivities and partitions to ``modularity.json``: all figures, and what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from training.modularity.chance import Floats
from training.modularity.emergence import settling
from training.modularity.experts import Partition
from training.modularity.functional import Degree, Tested, compared, hold_against_chance, similarity, top_neurons

SETTLING_PARTITIONS = 50
"""Random partitions whose settling is followed (the paper: 50 for T5)."""


@dataclass(frozen=True)
class Measured:
    """What has been measured of the model that is looked at."""

    parts: Mapping[str, Sequence[str]]
    """Function -> its sub-functions."""
    predictivity: Mapping[str, Floats]
    """Function -> [sub-functions, layers, neurons]."""
    real: Partition
    """[layers, neurons]"""
    random: Partition
    """[layers, partitions, neurons]"""
    experts: int
    top: int


def tested(measured: Measured, function: str, predictivity: Floats | None = None) -> list[Tested]:
    """The test of every layer."""
    values = measured.predictivity[function] if predictivity is None else predictivity
    layers = range(values.shape[1])
    return [
        hold_against_chance(
            values[:, layer], measured.real[layer], measured.random[layer], experts=measured.experts, top=measured.top
        )
        for layer in layers
    ]


def functional_figures(measured: Measured) -> dict[str, Any]:
    """Functional experts by function: of each layer, of all layers together, and which they are."""
    found: dict[str, Any] = {}
    for function, names in measured.parts.items():
        layers = tested(measured, function)
        listed = [
            {"part": names[part], "layer": number, "expert": int(expert), "count": int(layer.counts[part, expert])}
            for number, layer in enumerate(layers)
            for part, expert in np.argwhere(layer.counts > layer.threshold)
        ]
        whole = [_mean([layer.parts for layer in layers]), _mean([layer.pooled for layer in layers])]
        found[function] = {
            "threshold": layers[0].threshold,
            "pooled_threshold": layers[0].pooled_threshold,
            "layers": [_told(layer.parts, layer.pooled) for layer in layers],
            "all": _told(*whole),
            "experts": listed,
        }
    return found


def _told(parts: Degree, pooled: Degree) -> dict[str, Any]:
    return {
        "proportion": compared(parts.proportion),
        "degree": compared(parts.degree),
        "pooled_proportion": compared(pooled.proportion),
        "pooled_degree": compared(pooled.degree),
    }


def _mean(layers: Sequence[Degree]) -> Degree:
    """The mean over layers: random partition i of the whole is random in every layer."""
    return Degree(*(np.mean([layer[field] for layer in layers], axis=0) for field in range(2)))


def similarity_figures(measured: Measured) -> dict[str, Any]:
    """Overlap of the top neurons of all pairs of sub-functions."""
    every = np.concatenate(list(measured.predictivity.values()))
    matrix = similarity(top_neurons(every.transpose(1, 0, 2), measured.top), every.shape[-1])
    owners = [function for function, names in measured.parts.items() for _ in names]
    labels = [name for names in measured.parts.values() for name in names]
    owner = np.array(owners)
    off = ~np.eye(len(owners), dtype=bool)
    pairs = {}
    for number, one in enumerate(measured.parts):
        for other in list(measured.parts)[number:]:
            chosen = (owner == one)[:, None] & (owner == other)[None] & off
            if chosen.any():
                pairs[one if one == other else f"{one} and {other}"] = float(matrix[chosen].mean())
    return {
        "parts": labels,
        "functions": owners,
        "matrix": matrix.round(6).tolist(),
        "means": pairs,
        "chance": measured.top / every.shape[-1],
    }


def best_figures(measured: Measured, fresh: Mapping[str, Floats]) -> dict[str, Any]:
    """Best predictivity by layer: the best neuron's, averaged over sub-functions; and that of an untrained model."""
    found: dict[str, Any] = {}
    for function, values in measured.predictivity.items():
        found[function] = {"model": best(values), "fresh": best(fresh[function]) if function in fresh else None}
    return found


def best(predictivity: Floats) -> list[float]:
    """[layers]"""
    found: list[float] = predictivity.max(axis=-1).mean(axis=0).tolist()
    return found


def emergence_figures(measured: Measured, snapshots: Mapping[int, Mapping[str, Floats]]) -> dict[str, Any]:
    """Settling between consecutive snapshots, and best predictivity and functional experts at each.

    ``snapshots``: step -> function -> predictivities. Experts are those of the last one.
    """
    steps = sorted(snapshots)
    random = measured.random[:, :SETTLING_PARTITIONS]
    functions: dict[str, Any] = {}
    for function in measured.parts:
        settled = []
        for before, after in pairwise(steps):
            found = settling(snapshots[before][function], snapshots[after][function], measured.real, random)
            lines = {name: [_number(value) for value in values] for name, values in found._asdict().items()}
            means = {name: _number(float(np.nanmean(values))) for name, values in found._asdict().items()}
            settled.append({"before": before, "step": after, **means, "layers": lines})
        reached = []
        for step in steps:
            values = snapshots[step][function]
            layers = [layer.parts for layer in tested(measured, function, values)]
            whole = _mean(layers)
            reached.append(
                {
                    "step": step,
                    "best": best(values),
                    "proportion": [float(layer.proportion[0]) for layer in layers],
                    "degree": [float(layer.degree[0]) for layer in layers],
                    "random_proportion": float(whole.proportion[1:].mean()),
                }
            )
        functions[function] = {"settling": settled, "reached": reached}
    return {"steps": steps, "partitions": random.shape[1], "functions": functions}


def perturbation_figures(parts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Means over sub-functions and seeds, by function, method and budget.

    ``parts``: function -> sub-function -> what ``perturbation.measure`` returned. ``gap``: what own sequences lose more
    than others. ``above_random``: the gap less that of as many random neurons, a mean of pairs; ``error``: its standard
    error over sub-functions (None for a single one).
    """
    found = []
    for function, measured in parts.items():
        losses: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for one in measured.values():
            for row in one["disturbed"]:
                sides = (float(np.mean(row["own"])), float(np.mean(row["other"])))
                losses.setdefault((row["method"], row["budget"]), []).append(sides)
        gaps = {key: np.array([own - other for own, other in sided]) for key, sided in losses.items()}
        for (method, budget), sided in losses.items():
            own, other = np.array(sided).mean(axis=0).tolist()
            above = gaps[method, budget] - gaps["random", budget]
            error = float(above.std(ddof=1)) / math.sqrt(len(above)) if len(above) > 1 else None
            found.append(
                {
                    "function": function,
                    "method": method,
                    "budget": budget,
                    "own": own,
                    "other": other,
                    "gap": own - other,
                    "above_random": float(above.mean()),
                    "error": error,
                }
            )
    return found


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else float(value)

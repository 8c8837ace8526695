"""``report.html`` of a modularity analysis: what was found against chance. One page, no scripts, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.curves import Line, chart
from pipeline.page import render

FIGURES, PAGE, TEMPLATE = "modularity.json", "report.html", "modularity_page.html"
SIGNIFICANT = 0.01
"""Largest p-value that is called more than chance."""
CELL, LABELS, MOST_WRITTEN = 34, 110, 16
"""Of the heat map, in pixels; a larger one has no numbers in its cells."""


def write_modularity_report(folder: Path) -> Path:
    """Write the page beside ``modularity.json``; returns its path."""
    found = json.loads((folder / FIGURES).read_text("utf-8"))
    path = folder / PAGE
    path.write_text(render(TEMPLATE, name=folder.name, **_page(found)), "utf-8")
    return path


def _page(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": found["model"],
        "top": found["top"],
        "partitions": found["partitions"],
        "verdicts": verdicts(found),
        "rows": [row for function in found["functional"] for row in _rows(function, found["functional"][function])],
        "experts": [{"function": name, **one} for name, of in found["functional"].items() for one in of["experts"]],
        "similarity": found["similarity"],
        "heat_map": heat_map(found["similarity"]),
        "disturbed": found["perturbation"]["means"] if found["perturbation"] else [],
        "settings": found["perturbation"]["settings"] if found["perturbation"] else None,
        "disturbed_layers": found["perturbation"]["layers"] if found["perturbation"] else [],
        "charts": [drawn for drawn in _charts(found) if drawn],
    }


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """What the figures say of each function, in a few sentences."""
    return [
        " ".join(
            told
            for told in (
                _functional(function, of["all"]),
                _predictive(found["best"][function]),
                _settled(found["emergence"], function),
                _lost(found["perturbation"], function),
            )
            if told
        )
        for function, of in found["functional"].items()
    ]


def _functional(function: str, of: Mapping[str, Any]) -> str:
    proportion, degree = of["proportion"], of["degree"]
    more = "more modular than chance" if proportion["p"] <= SIGNIFICANT else "not shown to be more modular than chance"
    return (
        f"{function}: {more}. {proportion['experts']:.2%} of the pairs of expert and sub-function are functional; in "
        f"random partitions {proportion['random']:.3%} (p = {proportion['p']:.2g}). Modularisation degree "
        f"{degree['experts']:.2f}, at random {degree['random']:.3f} (p = {degree['p']:.2g})."
    )


def _predictive(best: Mapping[str, Any]) -> str:
    model = _average(best["model"])
    fresh = f", that of an untrained model {_average(best['fresh']):.3f}" if best["fresh"] else ""
    return f"The best neuron of a layer tells a sub-function with an average precision of {model:.3f}{fresh}."


def _settled(emergence: Mapping[str, Any] | None, function: str) -> str:
    pairs = emergence["functions"][function]["settling"] if emergence else []
    whole = [pair for pair in pairs if None not in (pair["experts"], pair["neurons"], pair["random"])]
    if not whole:
        return ""
    ahead = {name: _average([pair["experts"] - pair[name] for pair in whole]) for name in ("neurons", "random")}
    first = max(whole, key=lambda pair: pair["experts"] - max(pair["neurons"], pair["random"]))
    order = "earlier" if min(ahead.values()) > 0 else "no earlier"
    return (
        f"Experts settle {order} than neurons and random groups: between snapshots their rank correlation differs by "
        f"{ahead['neurons']:+.3f} and {ahead['random']:+.3f} on average, most from step {first['before']:,} to "
        f"{first['step']:,} ({first['experts']:.2f} against {first['neurons']:.2f} and {first['random']:.2f})."
    )


def _lost(perturbation: Mapping[str, Any] | None, function: str) -> str:
    means = [one for one in perturbation["means"] if one["function"] == function] if perturbation else []
    if not means:
        return ""
    budget = max(one["budget"] for one in means)
    by_method = {one["method"]: one for one in means if one["budget"] == budget}
    experts, random = by_method["experts"], by_method["random"]
    error = f" ± {experts['error']:.3f}" if experts["error"] is not None else ""
    return (
        f"Disturbing {budget} of its experts in a layer costs its own sequences {experts['own']:+.3f} nats and others "
        f"{experts['other']:+.3f}; as many random neurons cost {random['own']:+.3f} and {random['other']:+.3f}: "
        f"{experts['above_random']:+.3f}{error} more of a difference."
    )


def _rows(function: str, of: Mapping[str, Any]) -> list[dict[str, Any]]:
    layers = [(f"{number}", layer) for number, layer in enumerate(of["layers"])]
    return [{"function": function, "layer": name, **layer} for name, layer in [*layers, ("all", of["all"])]]


def heat_map(similarity: Mapping[str, Any]) -> Markup:
    """The overlap of all pairs of sub-functions; the diagonal, which is 1, is left blank."""
    names, matrix = similarity["parts"], similarity["matrix"]
    apart = [value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j]
    most = max([*apart, 2 * similarity["chance"]])
    out = Markup("")
    for i, row in enumerate(matrix):
        out += Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(LABELS - 6, _middle(i) + 4, names[i])
        out += Markup('<text transform="translate({} {}) rotate(-60)">{}</text>').format(
            _middle(i) + 4, LABELS - 6, names[i]
        )
        for j, value in enumerate(row):
            if i != j:
                out += _cell(i, j, value, value / most, written=len(names) <= MOST_WRITTEN)
    side = LABELS + CELL * len(names)
    return Markup(
        '<svg class="heat" viewBox="0 0 {} {}" width="{}" role="img" aria-label="Overlap of top neurons">{}</svg>'
    ).format(side + 60, side, min(side + 60, 900), out)


def _cell(row: int, column: int, value: float, share: float, *, written: bool) -> Markup:
    x, y = LABELS + CELL * column, LABELS + CELL * row
    rect = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="#2563a8" fill-opacity="{:.2f}"/>').format(
        x, y, CELL - 1, CELL - 1, share
    )
    if not written:
        return rect
    return rect + Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
        _middle(column), _middle(row) + 4, f"{value:.2f}".removeprefix("0")
    )


def _middle(number: int) -> float:
    return LABELS + CELL * number + CELL / 2


def _charts(found: Mapping[str, Any]) -> list[Markup]:
    drawn = []
    for function in found["functional"]:
        if found["emergence"]:
            drawn += _emergence(function, found["emergence"]["functions"][function])
        best = {"this model": found["best"][function]["model"], "untrained": found["best"][function]["fresh"] or []}
        lines = [Line(name, list(enumerate(values)), dashed=name == "untrained") for name, values in best.items()]
        drawn.append(chart(f"{function}: best neuron of each layer", lines, x="layer", y="average precision"))
        if found["perturbation"]:
            means = [one for one in found["perturbation"]["means"] if one["function"] == function]
            drawn.append(_budgets(function, means))
    return drawn


def _emergence(function: str, of: Mapping[str, Any]) -> list[Markup]:
    settled = [
        Line(
            name,
            [(pair["step"], pair[key]) for pair in of["settling"] if pair[key] is not None],
            dashed=key == "random",
        )
        for key, name in (("experts", "experts"), ("neurons", "neurons"), ("random", "random groups"))
    ]
    layers = range(len(of["reached"][0]["best"]))
    best = [Line(f"layer {i}", [(one["step"], one["best"][i]) for one in of["reached"]]) for i in layers]
    shares = [("experts", [(one["step"], _average(one["proportion"])) for one in of["reached"]])]
    shares.append(("random partitions", [(one["step"], one["random_proportion"]) for one in of["reached"]]))
    proportions = [Line(name, points, dashed=name != "experts") for name, points in shares]
    return [
        chart(f"{function}: settling", settled, x="step", y="rank correlation with the snapshot before"),
        chart(f"{function}: best neuron over the training", best, x="step", y="average precision"),
        chart(f"{function}: functional experts", proportions, x="step", y="share of pairs"),
    ]


def _budgets(function: str, means: Sequence[Mapping[str, Any]]) -> Markup:
    lines = []
    for method in dict.fromkeys(one["method"] for one in means):
        points = {side: [(0.0, 0.0)] for side in ("own", "other")}
        for one in means:
            if one["method"] == method:
                for side, found in points.items():
                    found.append((one["budget"], one[side]))
        lines += [Line(f"{method}, {side}", found, dashed=side == "other") for side, found in points.items()]
    return chart(f"{function}: loss under perturbation", lines, x="experts' worth of neurons", y="rise in nats")


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)

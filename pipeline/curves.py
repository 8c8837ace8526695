"""Line charts as inline SVG: losses, weights, sparsity over a training. No script, no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 560, 266
_LEFT, _RIGHT, _TOP, _BASE = 52, 8, 24, 230
COLOURS = ("#2563a8", "#c2410c", "#15803d", "#7e22ce", "#ca8a04", "#0e7490", "#be185d", "#4d7c0f", "#475569")
"""One per line, told apart in print and by most colour-blind readers together with the legend's order."""


class Line(NamedTuple):
    """One line: points (x, y) in order of x."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def chart(title: str, lines: Sequence[Line], *, x: str, y: str, top: float | None = None) -> Markup:
    """Lines over common axes, with a legend. ``top`` cuts off what lies above (the start of a loss curve, say)."""
    shown = [line for line in lines if line.points]
    if not shown:
        return Markup("")
    xs = [point[0] for line in shown for point in line.points]
    ys = [point[1] for line in shown for point in line.points if math.isfinite(point[1])]
    high = min(max(ys), top) if top is not None else max(ys)
    box = _Box(min(xs), max(xs), min(*ys, high), high)
    drawn = Markup("").join(_polyline(line, box, COLOURS[i % len(COLOURS)]) for i, line in enumerate(shown))
    return Markup(
        '<figure class="curve"><figcaption>{title}</figcaption><svg viewBox="0 0 {w} {h}" role="img" '
        'aria-label="{title}">{grid}{drawn}<text class="axis" x="{middle}" y="{bottom}" text-anchor="middle">{x}</text>'
        '<text class="axis" x="4" y="9">{y}</text></svg>{legend}</figure>'
    ).format(
        title=title,
        w=WIDTH,
        h=HEIGHT,
        middle=WIDTH / 2,
        bottom=HEIGHT - 4,
        x=x,
        y=y,
        grid=_grid(box),
        drawn=drawn,
        legend=_legend(shown),
    )


class _Box(NamedTuple):
    left: float
    right: float
    low: float
    high: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.left) / ((self.right - self.left) or 1.0)
        up = (min(y, self.high) - self.low) / ((self.high - self.low) or 1.0)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), _BASE - up * (_BASE - _TOP)


def _polyline(line: Line, box: _Box, colour: str) -> Markup:
    points = " ".join("{:.1f},{:.1f}".format(*box.place(x, y)) for x, y in line.points if math.isfinite(y))
    dash = Markup(' stroke-dasharray="5 3"') if line.dashed else Markup("")
    return Markup('<polyline fill="none" stroke="{}" stroke-width="1.6"{} points="{}"/>').format(colour, dash, points)


def _grid(box: _Box) -> Markup:
    out = Markup("")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = box.low + share * (box.high - box.low)
        _, at = box.place(box.left, value)
        out += Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, WIDTH, at, at)
        out += Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
            _LEFT - 5, at + 4, short(value)
        )
        value = box.left + share * (box.right - box.left)
        across, _ = box.place(value, box.low)
        anchor = "end" if share == 1.0 else "middle"
        out += Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            across, _BASE + 15, anchor, short(value)
        )
    return out


def _legend(lines: Sequence[Line]) -> Markup:
    entries = (
        Markup('<li><svg width="12" height="12"><rect width="12" height="12" fill="{}"/></svg> {}</li>').format(
            COLOURS[number % len(COLOURS)], line.name
        )
        for number, line in enumerate(lines)
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(entries))


def short(value: float) -> str:
    """A number in a few signs: 3.54T."""
    size = abs(value)
    if 1000 <= size < 1e4:
        return f"{value:.0f}"
    for bound, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= bound:
            return f"{value / (1e3 if unit == 'k' else bound):.3g}{unit}"
    return f"{value:.3g}"


def by_domain(rows: Sequence[Mapping[str, float]], xs: Sequence[float]) -> list[Line]:
    """One line per key of ``rows``, over ``xs``."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [Line(name, [(x, row[name]) for x, row in zip(xs, rows, strict=True) if name in row]) for name in names]

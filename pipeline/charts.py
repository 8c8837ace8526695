"""Charts as inline SVG: the funnel and pairs of histograms. No script, no library; colours come from the page's CSS.

Everything is put together with ``markupsafe``, so a label can never become markup.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.funnel import Left
from pipeline.survey import Axis

WIDTH, HEIGHT = 300, 128
_BASE, _TOP = 104, 12
_FUNNEL_WIDTH, _ROW, _BAR, _LABELS = 1000, 46, 26, 210


def histogram(axis: Axis, counts: NDArray[np.int64], *, compared: str) -> Markup:
    """Kept documents as bars, the others as a line; each as shares of its own total, on one scale."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    peak = max(float(shares.max()), 1e-9)
    step = WIDTH / counts.shape[1]
    heights = shares / peak * (_BASE - _TOP)
    bars = Markup("").join(
        Markup('<rect class="kept" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            i * step + 0.5, _BASE - height, step - 1, height
        )
        for i, height in enumerate(heights[0])
        if height > 0
    )
    points = " ".join(
        f"{x:.1f},{_BASE - height:.1f}" for i, height in enumerate(heights[1]) for x in (i * step, (i + 1) * step)
    )
    line = Markup('<polyline class="cut" points="{}"/>').format(points) if counts[1].any() else Markup("")
    label = f"{axis.title}: {counts[0].sum()} documents kept, {counts[1].sum()} {compared}"
    return Markup(
        '<svg class="histogram" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">'
        '<text class="peak" x="0" y="9">{peak}</text>{bars}{line}'
        '<line class="axis" x1="0" x2="{w}" y1="{base}" y2="{base}"/>{ticks}</svg>'
    ).format(w=WIDTH, h=HEIGHT, label=label, peak=f"{peak:.0%}", bars=bars, line=line, base=_BASE, ticks=_ticks(axis))


def _ticks(axis: Axis) -> Markup:
    if axis.log:
        exponents = range(round(np.log10(axis.low)), round(np.log10(axis.high)) + 1)
        values = [10.0**exponent for exponent in exponents]
        places = np.linspace(0, WIDTH, len(values))
    else:
        values = [float(value) for value in np.linspace(axis.low, axis.high, 5)]
        places = np.linspace(0, WIDTH, 5)
    anchors = ["start", *["middle"] * (len(values) - 2), "end"]
    return Markup("").join(
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            x, _BASE + 16, anchor, short(value)
        )
        for x, value, anchor in zip(places, values, anchors, strict=True)
    )


def funnel_chart(rows: Sequence[Left]) -> Markup:
    """One bar per step: what it left, and pale behind it what it removed, on the scale of what was read."""
    read = max(rows[0].before.documents, 1) if rows else 1
    room = _FUNNEL_WIDTH - _LABELS - 190  # the rest is for the numbers
    parts = []
    for number, row in enumerate(rows):
        y = number * _ROW + 8
        before, after = (count.documents / read * room for count in (row.before, row.after))
        parts.append(
            Markup(
                '<text class="step" x="{at}" y="{text}" text-anchor="end">{title}</text>'
                '<rect class="gone" x="{x}" y="{y}" width="{before:.1f}" height="{bar}" rx="3"/>'
                '<rect class="kept" x="{x}" y="{y}" width="{after:.1f}" height="{bar}" rx="3"/>'
                '<text class="count" x="{end:.1f}" y="{text}">{left} <tspan class="lost">{lost}</tspan></text>'
            ).format(
                at=_LABELS - 14,
                x=_LABELS,
                y=y,
                text=y + 18,
                bar=_BAR,
                before=before,
                after=after,
                end=_LABELS + before + 8,
                title=row.step.title,
                left=f"{row.after.documents:,}",
                lost=f"−{row.lost:.1%}" if row.removed.documents else "",
            )
        )
    label = "Documents left after each step"
    return Markup('<svg class="funnel" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _FUNNEL_WIDTH, len(rows) * _ROW + 8, label, Markup("").join(parts)
    )


def bar(value: float, most: float) -> Markup:
    """A small bar for a table cell."""
    width = 100 * value / most if most > 0 else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="kept" width="{:.2f}" height="8"/></svg>'
    ).format(width)


def short(value: float) -> str:
    """``1200000`` as ``1.2M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.3g}"


def curve(points: Sequence[tuple[float, float]], *, across: str, up: str) -> Markup:
    """A rising line through ``points`` from the origin, with its values written beside them."""
    right = max((x for x, _ in points), default=0) or 1
    top = max((y for _, y in points), default=0) or 1
    placed = [(70 + x / right * 560, 210 - y / top * 180, y) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
    dots = Markup("").join(
        Markup('<circle class="kept" cx="{:.1f}" cy="{:.1f}" r="4"/><text x="{:.1f}" y="{:.1f}">{}</text>').format(
            x, y, x + 6, y + 16, f"{value:,.0f}"
        )
        for x, y, value in placed
    )
    return Markup(
        '<svg class="curve" viewBox="0 0 720 250" role="img" aria-label="{up} by {across}">'
        '<line class="axis" x1="70" x2="630" y1="210" y2="210"/><line class="axis" x1="70" x2="70" y1="30" y2="210"/>'
        '<polyline class="cut" points="{line}"/>{dots}'
        '<text x="630" y="240" text-anchor="end">{across}: {right}</text><text x="70" y="20">{up}</text></svg>'
    ).format(up=up, across=across, line=line, dots=dots, right=f"{right:,.0f}")

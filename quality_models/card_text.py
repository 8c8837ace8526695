"""A model card for people: ``card.md``, and ``reliability.svg``, the picture of how far its probabilities are true."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from quality_models.card import Bin, ModelCard

SIDE, MARGIN = 220, 36  # of the diagram, in pixels


def card_markdown(card: ModelCard) -> str:
    """The card as Markdown."""
    parts = (_head(card), _sources(card), _measured(card), _bound(card), _calibration(card), _ordinary(card))
    lines = [line for part in parts for line in part]
    training = ", ".join(f"{key} {value}" for key, value in card.training.items())
    return "\n".join([*lines, "## Training", "", training + ".", ""])


def _head(card: ModelCard) -> Iterator[str]:
    yield from (f"# {card.name}, version {card.version}", "", card.summary, "")
    yield f"- Score: 0 to 1, {card.orientation}. Suggested bound: {_side(card)} {card.threshold}."
    seen = f"the `{card.view}` view of" if card.tier == "fasttext" else "the text of"
    yield (
        f"- Sees: {seen} up to {card.windows.count} windows of {card.windows.characters} characters"
        f" (head, middle, tail), combined by their {card.windows.combine}."
    )
    if card.backbone:
        yield (
            f"- Encoder: {card.backbone.place}, {card.backbone.output}, up to {card.backbone.tokens} tokens, "
            f"{card.backbone.precision}; sha256 of its weights `{card.backbone.files['model.safetensors']}`."
        )
    if card.band:
        yield (
            f"- Cascade: `{card.band.first}` decides below {card.band.low} and above {card.band.high}, "
            f"`{card.band.second}` between, for {card.band.sent:.1%} of the sample. {card.band.rule}"
        )
    yield (
        f"- Calibration: Platt, slope {card.calibration.slope}, offset {card.calibration.offset}, for a share of"
        f" {card.calibration.prior:g} positive windows."
    )
    pinned = f" sha256 of `{card.weights}`: `{card.weights_sha256}`." if card.weights else ""
    yield f"- Licence of the weights: {card.licence}.{pinned}"
    yield from ("", "## Limits and biases", "", *[f"- {bias}" for bias in card.biases], "")


def _side(card: ModelCard) -> str:
    return "above" if card.orientation == "higher is worse" else "below"


def _sources(card: ModelCard) -> Iterator[str]:
    yield from ("## Training data", "", "| data | licence | origin | use |", "|---|---|---|---|")
    yield from (f"| {s.name} | {s.licence} | {s.origin} | {s.use} |" for s in card.sources)
    counts = ", ".join(f"{name} {count:,}" for name, count in card.examples.items())
    yield from ("", f"Windows: {counts}.", "", card.split, "")


def _measured(card: ModelCard) -> Iterator[str]:
    yield from ("## Measured", "", "| measure (held-out windows) | value | 95 % interval | n |", "|---|---|---|---|")
    yield from (f"| {m.name} | {m.value:.4f} | {m.low:.4f} - {m.high:.4f} | {m.n:,} |" for m in card.metrics)
    yield ""


def _bound(card: ModelCard) -> Iterator[str]:
    if card.curve:
        yield from ("## The bound", "", card.threshold_rule, "")
        yield from (
            "| bound | ordinary documents past it | windows of the other kind past it |",
            "|---|---|---|",
        )
        yield from (f"| {p.threshold:.3f} | {p.ordinary:.2%} | {p.caught:.2%} |" for p in card.curve)
        yield ""
    if card.group_audit:
        audit = card.group_audit
        yield from (
            f"{audit.terms} terms for groups of people, three times each in {audit.documents} clean documents: the "
            f"score moves by {audit.mean_shift:.4f} on average and {audit.largest_shift:.4f} at most, and "
            f"{audit.crossed} of {audit.terms * audit.documents:,} documents pass the bound.",
            "",
        )


def _calibration(card: ModelCard) -> Iterator[str]:
    if not card.reliability:
        return
    yield from ("## Calibration", "", "![reliability](reliability.svg)", "")
    yield from ("| score | held-out windows | mean score | share that is positive |", "|---|---|---|---|")
    yield from (
        f"| {b.low:.1f} to {b.low + 0.1:.1f} | {b.n:,} | {b.score:.3f} | {b.share:.3f} |" for b in card.reliability
    )
    yield ""


def _ordinary(card: ModelCard) -> Iterator[str]:
    yield from (
        "Ordinary documents, whole (development figures, see above):",
        "",
        "| documents | n | 1st percentile | median | 99th percentile | past the bound |",
        "|---|---|---|---|---|---|",
    )
    for c in card.clean_checks:
        yield f"| {c.documents} | {c.n:,} | {c.p01:.4f} | {c.median:.4f} | {c.p99:.4f} | {c.beyond:.2%} |"
    yield ""


def reliability_svg(bins: tuple[Bin, ...]) -> str:
    """Mean score against the share of positives, bin by bin; on the diagonal a probability is what it says."""
    edge = SIDE + MARGIN
    points = [(MARGIN + bin_.score * SIDE, edge - bin_.share * SIDE) for bin_ in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="#0b5"/>').format(x, y) for x, y in points
    )
    ticks = Markup("").join(
        Markup(
            '<text x="{x:.0f}" y="{below}" text-anchor="middle">{value}</text>'
            '<text x="{left}" y="{y:.0f}" text-anchor="end">{value}</text>'
        ).format(x=MARGIN + v * SIDE, y=edge - v * SIDE + 3, below=edge + 14, left=MARGIN - 4, value=v)
        for v in (0.0, 0.5, 1.0)
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} {full}" width="{full}" font-size="10" '
        'font-family="sans-serif" role="img" aria-label="share of positives by mean score">'
        '<rect width="100%" height="100%" fill="#fff"/>'
        '<path d="M{m},{m}V{e}H{e}" fill="none" stroke="#888"/>'
        '<line x1="{m}" y1="{e}" x2="{e}" y2="{m}" stroke="#bbb" stroke-dasharray="4 3"/>'
        '<polyline points="{line}" fill="none" stroke="#0b5"/>{dots}{ticks}</svg>\n'
    ).format(full=edge + MARGIN, m=MARGIN, e=edge, line=line, dots=dots, ticks=ticks)

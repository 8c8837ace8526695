"""What ``pipeline models`` shows: the installed scorers, and the card of one of them."""

from __future__ import annotations

import difflib
from typing import Any

from corpus.errors import ModelError
from pipeline import console
from quality_models.card_text import card_markdown
from quality_models.registry import ModelInfo, installed

_EACH = "never seen"


def list_models() -> list[dict[str, Any]]:
    """One entry per installed model: every card is checked against its pinned sha256 on the way."""
    return [_entry(info) for info in installed()]


def describe_model(name: str) -> ModelInfo:
    """The installed model of that name. Raises ``ModelError`` with a suggestion."""
    known = {info.name: info for info in installed()}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}?" if close else f"installed are {', '.join(known)}"
        raise ModelError(f"there is no model {name!r}", fix=hint)
    return known[name]


def print_models(found: list[dict[str, Any]]) -> None:
    """A table for people."""
    for entry in found:
        console.out.print(console.safe(f"{entry['name']} {entry['version']}: {entry['summary']}"))
        side = "above" if entry["orientation"] == "higher is worse" else "below"
        console.print_rows(
            [
                ("bound", f"{side} {entry['threshold']:g}"),
                ("rank AUC", ", ".join(f"{value:.3f} {name}".strip() for name, value in entry["auc"].items())),
                ("files", f"{entry['bytes'] / 1e6:.1f} MB in {entry['directory']}"),
                ("card sha256", entry["card_sha256"]),
            ]
        )
    console.out.print("pipeline models NAME shows a card")


def print_card(info: ModelInfo) -> None:
    """The card as it is."""
    console.out.print(console.safe(card_markdown(info.card), limit=1 << 20))


def _entry(info: ModelInfo) -> dict[str, Any]:
    card = info.card
    measured = {metric.name.removeprefix("rank AUC").strip(", "): metric.value for metric in card.metrics}
    aucs = {name: value for name, value in measured.items() if not name or name.startswith(_EACH)}
    return {
        "name": info.name,
        "version": card.version,
        "summary": card.summary,
        "orientation": card.orientation,
        "threshold": card.threshold,
        "auc": aucs,
        "licence": card.licence,
        "directory": str(info.directory),
        "bytes": sum(path.stat().st_size for path in info.directory.iterdir() if path.is_file()),
        "card_sha256": info.sha256,
    }

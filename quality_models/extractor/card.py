"""The card of the extractor's weights, written from the report of their training (``card.md.jinja``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quality_models.extractor.recipe import ExtractorRecipe

TEMPLATE = "card.md.jinja"
FEWEST = 10  # pages; groups of fewer are only named


def card_markdown(recipe: ExtractorRecipe, report: Mapping[str, Any]) -> str:
    """The whole card. The same report gives the same card."""
    # Markdown, read by people from this repository: nothing to escape
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True
    )

    def pages_of(source: str) -> int:
        names: Mapping[str, Any] = report["by_source"]
        return sum(found["pages"] for name, found in names.items() if name.split(", ")[0] == source)

    def few_of(summaries: Mapping[str, Any]) -> list[str]:
        return [name for name, found in summaries.items() if found["pages"] < FEWEST]

    tables = {
        "source": report["by_source"],
        "kind of page": report["by_type"],
        "language of the main text": report["by_language"],
    }
    return environment.get_template(TEMPLATE).render(
        recipe=recipe, report=report, tables=tables, pages_of=pages_of, few_of=few_of, fewest=FEWEST
    )

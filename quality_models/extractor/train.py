"""``pipeline run manifests/train_extractor.yaml``: from a recipe to a model, its card and its report.

Written to ``output``: ``model.npz``, ``MODEL_CARD.md``, ``report.json``, ``folds/fold-K.npz`` with ``folds/pages.json``
(sha1 of a page's bytes, or its host -> the fold that has not seen it, for measurements elsewhere) and ``teacher/``
(answers).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import ModelError
from quality_models.extractor.card import card_markdown
from quality_models.extractor.examples import Example, build_examples
from quality_models.extractor.fit import EVERYTHING, Fitted, fit
from quality_models.extractor.measure import as_json, by, confidence_table, score_pages
from quality_models.extractor.recipe import ExtractorRecipe
from quality_models.extractor.sources import read_sources
from stages.extract.blocks.model import save_model


@dataclass(frozen=True, slots=True)
class Trained:
    """Where the model is, its sha256, and what ``report.json`` holds."""

    model: Path
    sha256: str
    report: dict[str, Any]


def train_extractor(recipe: ExtractorRecipe, tell: Callable[[str], None] = lambda text: None) -> Trained:
    """Run a recipe. ``tell`` is called with lines of progress. Raises ``ModelError`` for what a user can mend."""
    try:
        import lightgbm  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as missing:
        fix = "pip install -c requirements.lock 'corpus-pipeline[fit]'"
        raise ModelError(f"training needs a library that is not installed: {missing.name}", fix=fix) from None
    recipe.output.mkdir(parents=True, exist_ok=True)
    dropped: Counter[str] = Counter()
    examples = build_examples(read_sources(recipe, dropped), recipe, dropped)
    if len({example.fold for example in examples}) < 2:
        raise ModelError(f"{len(examples)} pages are too few for {recipe.folds} folds", fix="add sources")
    tell(f"{len(examples)} pages, {sum(len(e.labels) for e in examples)} blocks; left out: {dict(dropped) or 'none'}")
    fitted = fit(examples, recipe, tell)
    sha256 = _write_models(fitted, examples, recipe.output)
    report = make_report(examples, fitted, dropped) | {"sha256": sha256}
    (recipe.output / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    (recipe.output / "MODEL_CARD.md").write_text(card_markdown(recipe, report))
    return Trained(recipe.output / "model.npz", sha256, report)


def make_report(examples: list[Example], fitted: Fitted, dropped: Counter[str]) -> dict[str, Any]:
    """All figures of the card: scores out of fold, counts, what was left out."""
    scores = score_pages(examples, fitted.likely)
    gold = [at for at, example in enumerate(examples) if example.kind == "gold"]
    gold_examples, gold_scores = [examples[at] for at in gold], [scores[at] for at in gold]
    return {
        "pages": len(examples),
        "blocks": sum(len(example.labels) for example in examples),
        "main_blocks": int(sum(example.labels.sum() for example in examples)),
        "dropped": dict(sorted(dropped.items())),
        "gold_by_source": as_json(by(gold_examples, gold_scores, lambda e: e.source)),
        "by_source": as_json(by(examples, scores, lambda e: e.source)),
        "by_type": as_json(by(examples, scores, lambda e: e.type)),
        "by_language": as_json(by(examples, scores, lambda e: e.language)),
        "confidence": confidence_table(scores),
    }


def _write_models(fitted: Fitted, examples: list[Example], output: Path) -> str:
    folds = output / "folds"
    folds.mkdir(exist_ok=True)
    for fold, model in fitted.models.items():
        if fold != EVERYTHING:
            save_model(model, folds / f"fold-{fold}.npz")
    known = {
        "pages": {example.sha1: example.fold for example in examples},
        "hosts": {example.host: example.fold for example in examples if example.host},
    }
    (folds / "pages.json").write_text(json.dumps(known, indent=0, sort_keys=True) + "\n")
    return save_model(fitted.models[EVERYTHING], output / "model.npz")

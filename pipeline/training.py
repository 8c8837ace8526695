"""Training recipes: manifests with a top-level ``train:`` make a model instead of a corpus."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import ManifestError
from pipeline.faults import validated
from pipeline.manifest import apply_override
from pipeline.yaml_source import read_yaml
from quality_models.extractor.recipe import ExtractorRecipe
from quality_models.recipe import CascadeRecipe, ClassifierRecipe

Recipe = ExtractorRecipe | ClassifierRecipe | CascadeRecipe
RECIPES: dict[str, type[ExtractorRecipe] | type[ClassifierRecipe] | type[CascadeRecipe]] = {
    "extractor": ExtractorRecipe,
    "classifier": ClassifierRecipe,
    "cascade": CascadeRecipe,
}
"""What ``train:`` may say."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The model's file, its sha256, and how well it does: a value by name."""

    model: Path
    sha256: str
    metrics: dict[str, float]

    def to_json(self) -> str:
        """One line for programs."""
        return json.dumps({"model": str(self.model), "sha256": self.sha256, "metrics": self.metrics})


def load_recipe(path: Path, overrides: Sequence[str]) -> Recipe | None:
    """The recipe in a manifest, None where it describes a corpus. Raises ``ManifestError`` with every fault's place."""
    document = read_yaml(path)
    if not isinstance(document.data, dict) or "train" not in document.data:
        return None
    for override in overrides:
        apply_override(document.data, override)
    kind = document.data["train"]
    if kind not in RECIPES:
        close = difflib.get_close_matches(str(kind), RECIPES, n=1, cutoff=0)
        raise ManifestError(
            f"{document.where(('train',))}: nothing named {kind!r} can be trained", fix=f"use {close[0]}"
        )
    return validated(RECIPES[kind], document)


def train(recipe: Recipe, tell: Callable[[str], None]) -> TrainingResult:
    """Run a recipe; ``tell`` gets lines of progress."""
    if isinstance(recipe, ClassifierRecipe):
        from quality_models.train import train_classifier

        scorer = train_classifier(recipe, tell)
        return TrainingResult(scorer.model, scorer.sha256, {m.name: m.value for m in scorer.card.metrics})
    if isinstance(recipe, CascadeRecipe):
        from quality_models.cascade_train import train_cascade

        path, card = train_cascade(recipe, tell)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return TrainingResult(path, digest, {m.name: m.value for m in card.metrics})
    from quality_models.extractor.train import train_extractor

    extractor = train_extractor(recipe, tell)
    scores = {f"F1 {name}": found["f1"] for name, found in extractor.report["gold_by_source"].items()}
    return TrainingResult(extractor.model, extractor.sha256, scores)

"""Training recipes: manifests with a top-level ``train:`` make a model instead of a corpus."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from corpus.errors import ManifestError
from pipeline.faults import validated
from pipeline.manifest import apply_override
from pipeline.yaml_source import read_yaml
from quality_models.extractor.recipe import ExtractorRecipe
from quality_models.recipe import CascadeRecipe, ClassifierRecipe

if TYPE_CHECKING:
    from training.recipe import TrainingRecipe

Recipe = Union[ExtractorRecipe, ClassifierRecipe, CascadeRecipe, "TrainingRecipe"]
TRAININGS = {
    "sheared": ("training.pruning.recipe", "ShearedRecipe"),
    "ssd": ("training.ssd.recipe", "SsdRecipe"),
    "moe": ("training.moe.recipe", "MoeRecipe"),
    "modularity": ("training.modularity.recipe", "ModularityRecipe"),
}
"""What trains on a token corpus: module and class of its settings, imported when asked for as they need torch."""
KINDS = ("extractor", "classifier", "cascade", *TRAININGS)
"""What ``train:`` may say."""


def recipe_type(kind: str) -> type[Recipe]:
    """The settings behind ``train: kind``."""
    if kind in TRAININGS:
        module, name = TRAININGS[kind]
        try:
            found: type[Recipe] = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            fix = "pip install 'corpus-pipeline[train]'"
            raise ManifestError(f"training needs {error.name}, which is not installed", fix=fix) from None
        return found
    known: dict[str, type[Recipe]] = {
        "extractor": ExtractorRecipe,
        "classifier": ClassifierRecipe,
        "cascade": CascadeRecipe,
    }
    return known[kind]


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
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0)
        raise ManifestError(
            f"{document.where(('train',))}: nothing named {kind!r} can be trained", fix=f"use {close[0]}"
        )
    return validated(recipe_type(kind), document)


def check_recipe(recipe: Recipe) -> dict[str, object]:
    """What can be known of a recipe before training. Raises ``CorpusError`` where it cannot work."""
    if isinstance(recipe, (ExtractorRecipe, ClassifierRecipe, CascadeRecipe)):
        return {"train": recipe.train, "data": str(recipe.data)}
    return {"train": recipe.train, **recipe.check(), "output": str(recipe.output)}


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
    if isinstance(recipe, ExtractorRecipe):
        return _train_extractor(recipe, tell)
    from pipeline.phase_logs import mean_loss
    from pipeline.ray_train import train_on_tokens
    from pipeline.training_report import write_training_report

    summaries = train_on_tokens(recipe, tell)
    tell(f"report: {write_training_report(recipe.output)}")
    product = recipe.product()
    losses = {
        f"{kind.replace('held_out', 'held-out loss')}, {name}": mean_loss(found[kind])
        for name, found in summaries.items()
        for kind in found
        if kind.startswith("held_out")
    }
    return TrainingResult(product, hashlib.sha256(product.read_bytes()).hexdigest(), losses)


def _train_extractor(recipe: ExtractorRecipe, tell: Callable[[str], None]) -> TrainingResult:
    from quality_models.extractor.train import train_extractor

    extractor = train_extractor(recipe, tell)
    scores = {f"F1 {name}": found["f1"] for name, found in extractor.report["gold_by_source"].items()}
    return TrainingResult(extractor.model, extractor.sha256, scores)

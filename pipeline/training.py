"""Training recipes: manifests with a top-level ``train:`` make a model instead of a corpus."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from corpus.errors import ManifestError
from pipeline.manifest import apply_override
from pipeline.yaml_source import Document, read_yaml
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
    try:
        return RECIPES[kind].model_validate(document.data)
    except ValidationError as error:
        known = list(RECIPES[kind].model_fields)
        faults = "".join(f"\n  {_fault(document, fault, known)}" for fault in error.errors())
        raise ManifestError(f"the training recipe is not valid{faults}") from None


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


def _fault(document: Document, fault: ErrorDetails, known: Sequence[str]) -> str:
    # pydantic puts the tag of a union member into the location; the YAML has no such level
    location = tuple(step for step in fault["loc"] if step not in ("gold", "teacher"))
    shown = ".".join(map(str, location))
    if fault["type"] != "extra_forbidden":
        return f"{document.where(location)}: {shown}: {fault['msg']}"
    close = difflib.get_close_matches(str(location[-1]), known if len(location) == 1 else [], n=1)
    return f"{document.where(location)}: {shown}: unknown key" + (f"; did you mean {close[0]!r}?" if close else "")

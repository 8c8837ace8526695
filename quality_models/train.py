"""Make one of the scorers from its recipe: ``pipeline run manifests/train_toxicity.yaml --set data=FOLDER``.

Steps: build windows for each part, train and quantise in a child process, calibrate on the second part, choose the
bound on ordinary documents of the second part, measure on the third and on ordinary documents, train once more without
each source that the recipe wants left out and measure on that source, audit terms for groups of people, write the card.
One core, two to five minutes; the same data and recipe give the same bytes on the same kind of machine.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quality_models import measure
from quality_models.calibration import Platt, fit_platt
from quality_models.card import Metric, ModelCard
from quality_models.card_text import card_markdown, reliability_svg
from quality_models.evaluate import evaluate, score_examples
from quality_models.examples.parts import PARTS, Part
from quality_models.examples.pieces import Example
from quality_models.fasttext_scorer import FastTextScorer, load_classifier
from quality_models.fit import fit
from quality_models.function_words import FUNCTION_WORDS_SHA256
from quality_models.recipe import ClassifierRecipe
from quality_models.registry import CardScorer
from quality_models.views import VIEWS

POSITIVE, NEGATIVE = "__label__yes", "__label__no"
SPLIT = (
    "Posts, documents and phrases fall into train (80 %), calibrate (10 %) and test (10 %), near duplicates always "
    "into the same part, pages by their host; windows are composed only within a part. Metrics named 'never seen' are "
    "those of a training without that source. The ordinary documents below took no part in training or calibration, "
    "but the recipe was chosen with pages of this crawl in sight: those figures are development figures, no blind test."
)
Tell = Callable[[str], None]
Parts = dict[Part, list[Example]]
Fitter = Callable[[Parts, Path], CardScorer]


@dataclass(frozen=True, slots=True)
class Trained:
    """The weights, their sha256, and the card."""

    model: Path
    sha256: str
    card: ModelCard


def train_classifier(recipe: ClassifierRecipe, tell: Tell) -> Trained:
    """Train, calibrate, measure and write a scorer. ``tell`` gets lines of progress."""
    examples: Parts = {part: build_examples(recipe, part) for part in PARTS}
    tell(f"{recipe.name}: " + ", ".join(f"{len(found):,} windows to {part}" for part, found in examples.items()))
    target = recipe.output / recipe.name
    target.mkdir(parents=True, exist_ok=True)
    fit_one = _fitter(recipe, target)
    scorer = fit_one(examples, target)
    tell("trained and calibrated; measuring")
    card = evaluate(scorer, recipe, examples)
    card = card.model_copy(update={"metrics": (*card.metrics, *_never_seen(recipe, examples, fit_one, tell))})
    publish(card, target)
    return Trained(target / str(card.weights), str(card.weights_sha256), card)


def build_examples(recipe: ClassifierRecipe, part: Part) -> list[Example]:
    """All windows of one part, shuffled by the recipe's seed."""
    rng = random.Random(f"{recipe.name}/{recipe.seed}/{part}")  # noqa: S311 - no secret
    module = importlib.import_module(f"quality_models.examples.{recipe.name}")
    examples: list[Example] = module.build(recipe.data, part, rng, recipe.scale)
    rng.shuffle(examples)
    return examples


def _fitter(recipe: ClassifierRecipe, target: Path) -> Fitter:
    """What trains on one part and calibrates on another, and writes the weights into a folder, by tier."""
    if recipe.transformer is None:
        return lambda examples, folder: _fit_fasttext(recipe, examples, folder / "model.ftz")
    from quality_models.transformer.train import fit_transformer, open_backbone

    backbone, encoder = open_backbone(recipe, target)
    training = {"head": "logistic regression on mean embeddings", **recipe.transformer.model_dump()}
    own = {"tier": "transformer", "backbone": backbone, "function_words_sha256": None, "training": training}

    def fit_one(examples: Parts, folder: Path) -> CardScorer:
        card = _card(recipe, None, examples).model_copy(update=own)
        return fit_transformer(recipe, examples, card, encoder, folder)

    return fit_one


def _fit_fasttext(recipe: ClassifierRecipe, examples: Parts, weights: Path) -> FastTextScorer:
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.txt"
        lines.write_bytes(_training_lines(examples["train"], recipe))
        fit(lines, weights, recipe.fasttext)
    classifier = load_classifier(weights.read_bytes(), weights)
    card = _card(recipe, weights, examples)
    scorer = FastTextScorer(classifier, card)
    view = VIEWS[card.view]
    raw = scorer.raw([view(example.text) for example in examples["calibrate"]])
    positive = np.array([example.positive for example in examples["calibrate"]], np.bool_)
    return FastTextScorer(
        classifier, card.model_copy(update={"calibration": fit_platt(raw, positive, prior=recipe.prior)})
    )


def _training_lines(examples: list[Example], recipe: ClassifierRecipe) -> bytes:
    view = VIEWS[recipe.view]
    rows = ((example.positive, view(example.text)) for example in examples)
    return b"".join(b"%s %s\n" % ((POSITIVE if yes else NEGATIVE).encode(), line) for yes, line in rows if line)


def _never_seen(recipe: ClassifierRecipe, examples: Parts, fit_one: Fitter, tell: Tell) -> list[Metric]:
    """Rank AUC on each source that is left out, of a training without it: within the source, and against the others."""
    found = []
    for source in recipe.left_out:
        tell(f"training without: {source.name}")
        known: Parts = {
            part: [e for e in examples[part] if not e.kind.startswith(source.kinds)] for part in ("train", "calibrate")
        }
        with tempfile.TemporaryDirectory() as folder:
            scorer = fit_one({**known, "test": []}, Path(folder))
        unseen = [e for e in examples["test"] if e.kind.startswith(source.kinds)]
        others = [e for e in examples["test"] if not e.kind.startswith(source.kinds)]
        suspect = recipe.orientation == "higher is worse"
        sides = {example.positive for example in unseen}
        side = suspect if suspect in sides else not suspect
        against = [e for e in unseen if e.positive == side] + [e for e in others if e.positive != side]
        sets = {f"never seen: {source.name}, against all else": against}
        if len(sides) == 2:
            sets[f"never seen: {source.name}, within it"] = unseen
        for name, members in sets.items():
            scores, positive = score_examples(scorer, members)
            found.append(measure.with_interval(f"rank AUC, {name}", measure.auc, scores, positive))
    return found


def _card(recipe: ClassifierRecipe, weights: Path | None, examples: Parts) -> ModelCard:
    counts = dict(sorted(Counter(e.kind for e in examples["train"]).items()))
    held_out: tuple[Part, ...] = ("calibrate", "test")
    return ModelCard(
        name=recipe.name,
        version=recipe.version,
        summary=recipe.summary,
        orientation=recipe.orientation,
        threshold=0.5,
        weights=weights.name if weights else None,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None,
        positive_label=POSITIVE,
        view=recipe.view,
        function_words_sha256=FUNCTION_WORDS_SHA256 if recipe.view == "grammar" else None,
        windows=recipe.windows,
        calibration=Platt(prior=recipe.prior),
        licence=recipe.licence,
        sources=recipe.sources,
        split=SPLIT,
        examples=counts | {part: len(examples[part]) for part in held_out},
        metrics=(),
        clean_checks=(),
        biases=recipe.biases,
        training={"library": "fastText 0.9.2", "seed of the windows": recipe.seed, **recipe.fasttext.model_dump()},
    )


def publish(card: ModelCard, target: Path) -> None:
    """Write both faces of the card and pin it in the registry beside the model's directory."""
    data = card.model_dump_json(indent=1).encode() + b"\n"
    (target / "card.json").write_bytes(data)
    (target / "card.md").write_text(card_markdown(card), "utf-8")
    (target / "reliability.svg").write_text(reliability_svg(card.reliability), "utf-8")
    path = target.parent / "registry.json"
    registry = json.loads(path.read_text("utf-8")) if path.exists() else {"models": {}}
    registry["models"][target.name] = {"version": card.version, "card_sha256": hashlib.sha256(data).hexdigest()}
    registry["models"] = dict(sorted(registry["models"].items()))
    path.write_text(json.dumps(registry, indent=1) + "\n", "utf-8")

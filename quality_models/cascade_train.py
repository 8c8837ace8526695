"""Make a cascade, as ``manifests/train_toxicity_cascade.yaml`` does: score a labelled sample, choose the band."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models import measure
from quality_models.card import Band, Metric, ModelCard
from quality_models.cascade import CascadeScorer, Choice, choose_band
from quality_models.examples.parts import Part
from quality_models.recipe import CascadeRecipe
from quality_models.registry import CardScorer, installed, load_scorer
from quality_models.train import publish

Tell = Callable[[str], None]
Scores = NDArray[np.float64]


def train_cascade(recipe: CascadeRecipe, tell: Tell) -> tuple[Path, ModelCard]:
    """Choose the band, measure both scorers and the cascade on windows that the choice has not seen, write the card.

    Raises ``ModelError`` when not even sending everything on reaches the targets.
    """
    first, second = load_scorer(recipe.first), load_scorer(recipe.second)
    texts, positive = _sample(recipe, "calibrate")
    tell(f"{len(texts):,} windows to choose the band on")
    worse = second.card.orientation == "higher is worse"
    bound = second.card.threshold if worse else 1 - second.card.threshold
    one, two = (_badness(scorer, texts, worse) for scorer in (first, second))
    suspect = positive == worse
    choice = choose_band(one, two, suspect, bound=bound, precision=recipe.precision, recall=recipe.recall)
    if not choice.met:
        raise ModelError(
            f"no band reaches the target: the nearest has precision {choice.precision:.3f}, recall {choice.recall:.3f}",
            where=recipe.name,
            fix="lower the target, or take a better second model",
        )
    tell(f"band {choice.low:.4f} to {choice.high:.4f}: {choice.sent:.1%} go to the second scorer")
    low, high = (choice.low, choice.high) if worse else (1 - choice.high, 1 - choice.low)
    band = Band(
        first=_pinned(recipe.first),
        second=_pinned(recipe.second),
        low=low,
        high=high,
        sent=round(choice.sent, 5),
        rule=_rule(recipe, choice, len(texts)),
    )
    card = second.card.model_copy(
        update={
            "tier": "cascade",
            "weights": None,
            "weights_sha256": None,
            "backbone": None,
            "band": band,
            "curve": (),
            "reliability": (),
            "group_audit": None,
            "clean_checks": (),
        }
    )
    cascade = CascadeScorer(first, second, card)
    card = card.model_copy(update={"metrics": _metrics(recipe, first, second, cascade, bound)})
    target = recipe.output / recipe.name
    target.mkdir(parents=True, exist_ok=True)
    publish(card, target)
    return target / "card.json", card


def _sample(recipe: CascadeRecipe, part: Part) -> tuple[list[str], NDArray[np.bool_]]:
    rng = random.Random(f"{recipe.name}/{recipe.seed}/{part}")  # noqa: S311 - no secret
    module = importlib.import_module(f"quality_models.examples.{recipe.name}")
    examples = module.build(recipe.data, part, rng, recipe.scale)
    rng.shuffle(examples)
    return [example.text for example in examples], np.array([example.positive for example in examples], np.bool_)


def _badness(scorer: CardScorer | CascadeScorer, texts: list[str], worse_is_higher: bool) -> Scores:
    scores = scorer.score(texts).astype(np.float64)
    return scores if worse_is_higher else 1 - scores


def _rule(recipe: CascadeRecipe, choice: Choice, number: int) -> str:
    targets = {"precision": recipe.precision, "recall": recipe.recall}
    asked = " and ".join(f"{name} {value:.3g}" for name, value in targets.items() if value is not None)
    return (
        f"The band with the fewest documents that reaches {asked} on {number:,} labelled windows "
        f"(reached: precision {choice.precision:.3f}, recall {choice.recall:.3f})."
    )


def _metrics(
    recipe: CascadeRecipe, first: CardScorer, second: CardScorer, cascade: CascadeScorer, bound: float
) -> tuple[Metric, ...]:
    """Precision and recall at each scorer's own bound, on the test part."""
    texts, positive = _sample(recipe, "test")
    worse = second.card.orientation == "higher is worse"
    suspect = positive == worse
    own = first.card.threshold if worse else 1 - first.card.threshold
    found = []
    for name, scorer, at in (("first", first, own), ("second", second, bound), ("cascade", cascade, bound)):
        scores = _badness(scorer, texts, worse)
        found += [
            measure.with_interval(f"precision, {name}", partial(measure.precision, threshold=at), scores, suspect),
            measure.with_interval(f"recall, {name}", partial(measure.caught, threshold=at), scores, suspect),
        ]
    sent = cascade.sent / max(1, cascade.seen)
    return (*found, Metric(name="sent to the second", value=round(sent, 5), low=sent, high=sent, n=len(texts)))


def _pinned(reference: str) -> str:
    if "@sha256:" in reference:
        return reference
    digest = next(info.sha256 for info in installed() if info.name == reference)
    return f"{reference}@sha256:{digest}"

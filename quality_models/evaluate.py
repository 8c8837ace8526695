"""How good a trained scorer is, and where to set its bound: the measured half of its card."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quality_models import measure
from quality_models.audit import audit_groups
from quality_models.card import CleanCheck, Metric, ModelCard
from quality_models.examples.parts import Part
from quality_models.examples.pieces import PROSE_DOMAINS, Example, prose_documents
from quality_models.pages import Kind, crawl_pages
from quality_models.recipe import ClassifierRecipe
from quality_models.registry import CardScorer

AUDITED: Final = 60  # clean documents for the audit of group terms
_NAMES: Final[dict[Kind, str]] = {"article": "articles of a crawl", "other": "other pages", "shop": "shops"}


def evaluate(scorer: CardScorer, recipe: ClassifierRecipe, examples: dict[Part, list[Example]]) -> ModelCard:
    """The card of ``scorer`` with its bound, metrics, curve, calibration, audit and checks on ordinary documents.

    The bound is chosen on documents and windows of the calibrate part, everything else is measured on the test part.
    """
    worse = recipe.orientation == "higher is worse"
    ordinary = [text for texts in ordinary_documents(recipe.data, "calibrate").values() for text in texts]
    scores = scorer.score(ordinary).astype(np.float64)
    held, side = score_examples(scorer, examples["calibrate"])
    alarms = recipe.false_alarms
    sets = ((scores, alarms.documents), (held[side != worse], alarms.windows))
    bound = measure.choose_threshold(sets, worse_is_higher=worse)
    rule = (
        f"The strictest bound in steps of 0.01 past which lie at most {alarms.documents:.1%} of {len(ordinary):,} "
        f"ordinary documents (prose of four domains, articles of a crawl) and at most {alarms.windows:.1%} of the "
        "windows that are in order, both of the calibrate part."
    )
    test, positive = score_examples(scorer, examples["test"])
    card = scorer.card.model_copy(update={"threshold": bound, "threshold_rule": rule})
    found = {
        "metrics": tuple(_metrics(card, examples["test"], test, positive)),
        "curve": measure.curve(scores, test[positive == worse], worse_is_higher=worse),
        "reliability": measure.reliability(test, positive, prior=recipe.prior),
        "group_audit": audit_groups(
            scorer, ordinary[:: max(1, len(ordinary) // AUDITED)], threshold=bound, worse_is_higher=worse
        ),
        "clean_checks": _clean_checks(scorer, recipe.data, bound, worse_is_higher=worse),
    }
    return card.model_copy(update=found)


def score_examples(scorer: CardScorer, examples: Sequence[Example]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of windows, and which of them are positive."""
    scores = scorer.score([example.text for example in examples]).astype(np.float64)
    return scores, np.array([example.positive for example in examples], np.bool_)


def ordinary_documents(data: Path, part: Part) -> dict[str, list[str]]:
    """Whole documents that a scorer should let pass, by kind."""
    found = {f"{domain} documents": prose_documents(data, domain, part) for domain in PROSE_DOMAINS}
    return {_NAMES["article"]: _pages(data, part, "article")} | found


def _pages(data: Path, part: Part, kind: Kind) -> list[str]:
    return [page.text for page in crawl_pages(data) if page.part == part and page.kind == kind]


def _metrics(
    card: ModelCard, examples: list[Example], scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> list[Metric]:
    threshold, prior = card.threshold, card.calibration.prior
    found = [
        measure.with_interval("rank AUC", measure.auc, scores, positive),
        measure.with_interval(
            f"positives at or above {threshold}", partial(measure.caught, threshold=threshold), scores, positive
        ),
        measure.with_interval(
            f"negatives at or above {threshold}", partial(measure.false_alarms, threshold=threshold), scores, positive
        ),
        measure.with_interval("calibration error", partial(measure.calibration_error, prior=prior), scores, positive),
    ]
    for side, kind in sorted({(example.positive, example.kind) for example in examples}):
        # each kind against everything of the other side
        mask = np.array([(e.kind == kind and e.positive == side) or e.positive != side for e in examples])
        found.append(
            measure.with_interval(f"rank AUC, {kind}", measure.auc, scores[mask], positive[mask], resamples=200)
        )
    return found


def _clean_checks(scorer: CardScorer, data: Path, bound: float, *, worse_is_higher: bool) -> tuple[CleanCheck, ...]:
    sets = ordinary_documents(data, "test") | {_NAMES[kind]: _pages(data, "test", kind) for kind in ("other", "shop")}
    return tuple(
        measure.clean_check(name, scorer.score(texts).tolist(), threshold=bound, worse_is_higher=worse_is_higher)
        for name, texts in sets.items()
        if texts
    )

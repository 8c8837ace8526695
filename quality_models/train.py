"""Make a model from its recipe: ``python -m quality_models.train NAME --data DIR --out DIR``.

``DIR`` of ``--data`` holds ``classifiers/``, ``text/`` and, for the check on ordinary pages, ``crawl/``. Written are
``OUT/NAME/{model.ftz, card.json, card.md}`` and the entry of NAME in ``OUT/registry.json``. One core, one to two
minutes; the same data and recipe give the same bytes on the same kind of machine.

Steps: build windows for each part, train and quantise in a child process, calibrate on the second part, measure on the
third and on ordinary documents, write the card.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import random
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError
from quality_models import measure, pages
from quality_models.calibration import Platt, fit_platt
from quality_models.card import CleanCheck, Metric, ModelCard, card_markdown
from quality_models.examples.pieces import Example, Part
from quality_models.fasttext_scorer import FastTextScorer, load_classifier
from quality_models.fit import fit
from quality_models.function_words import FUNCTION_WORDS_SHA256
from quality_models.recipe import Recipe, read_recipe
from quality_models.views import VIEWS

POSITIVE, NEGATIVE = "__label__yes", "__label__no"
PARTS: tuple[Part, ...] = ("train", "calibrate", "test")
SPLIT = (
    "Documents, posts and phrases fall into train (80 %), calibrate (10 %) and test (10 %) by a hash of their identity "
    "(SemEval's posts keep their own split); windows are composed only within a part. "
    "The ordinary documents below took no part in training or calibration, but the recipe and the suggested bound were "
    "chosen with the crawl pages in sight: those figures are development figures, not a blind test."
)


def train(name: str, *, data: Path, out: Path) -> ModelCard:
    """Train, calibrate, measure and write model ``name``. Returns its card."""
    recipe = read_recipe(name)
    examples = {part: build_examples(recipe, data, part) for part in PARTS}
    target = out / name
    target.mkdir(parents=True, exist_ok=True)
    weights = target / "model.ftz"
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.txt"
        lines.write_bytes(_training_lines(examples["train"], recipe))
        fit(lines, weights, recipe.fasttext)
    card = _card(recipe, weights, examples)
    scorer = FastTextScorer(load_classifier(weights), card)
    raw, positive = _raw(scorer, examples["calibrate"])
    card = card.model_copy(update={"calibration": fit_platt(raw, positive, prior=recipe.prior)})
    scorer = FastTextScorer(load_classifier(weights), card)
    card = card.model_copy(
        update={"metrics": _metrics(scorer, examples["test"]), "clean_checks": _clean_checks(scorer, data)}
    )
    publish(card, target)
    return card


def build_examples(recipe: Recipe, data: Path, part: Part) -> list[Example]:
    """All windows of one part, shuffled by the recipe's seed."""
    rng = random.Random(f"{recipe.name}/{recipe.seed}/{part}")  # noqa: S311 - no secret
    module = importlib.import_module(f"quality_models.examples.{recipe.name}")
    examples: list[Example] = module.build(data, part, rng)
    rng.shuffle(examples)
    return examples


def _training_lines(examples: list[Example], recipe: Recipe) -> bytes:
    view = VIEWS[recipe.view]
    rows = ((example.positive, view(example.text)) for example in examples)
    return b"".join(b"%s %s\n" % ((POSITIVE if yes else NEGATIVE).encode(), line) for yes, line in rows if line)


def _raw(scorer: FastTextScorer, examples: list[Example]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    view = VIEWS[scorer.card.view]
    return scorer.raw([view(e.text) for e in examples]), np.array([e.positive for e in examples], np.bool_)


def _metrics(scorer: FastTextScorer, examples: list[Example]) -> tuple[Metric, ...]:
    scores = scorer.score([example.text for example in examples]).astype(np.float64)
    positive = np.array([example.positive for example in examples], np.bool_)
    threshold, prior = scorer.card.threshold, scorer.card.calibration.prior
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
    kinds = sorted({(example.positive, example.kind) for example in examples})
    for side, kind in kinds:
        # Each kind against everything of the other side.
        mask = np.array([(e.kind == kind and e.positive == side) or e.positive != side for e in examples])
        found.append(
            measure.with_interval(f"rank AUC, {kind}", measure.auc, scores[mask], positive[mask], resamples=200)
        )
    return tuple(found)


def _clean_checks(scorer: FastTextScorer, data: Path) -> tuple[CleanCheck, ...]:
    sets = {"English pages of a web crawl": pages.crawl_pages(data)}
    sets |= {f"{domain} documents": pages.domain_documents(data, domain) for domain in ("medical", "legal", "techdocs")}
    return tuple(
        measure.clean_check(
            name,
            scorer.score(texts).tolist(),
            threshold=scorer.card.threshold,
            worse_is_higher=scorer.card.orientation == "higher is worse",
        )
        for name, texts in sets.items()
        if texts
    )


def _card(recipe: Recipe, weights: Path, examples: dict[Part, list[Example]]) -> ModelCard:
    counts = dict(sorted(Counter(e.kind for e in examples["train"]).items()))
    held_out: tuple[Part, ...] = ("calibrate", "test")
    return ModelCard(
        name=recipe.name,
        version=recipe.version,
        summary=recipe.summary,
        orientation=recipe.orientation,
        threshold=recipe.threshold,
        weights=weights.name,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
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
    path = target.parent / "registry.json"
    registry = json.loads(path.read_text("utf-8")) if path.exists() else {"models": {}}
    registry["models"][target.name] = {"version": card.version, "card_sha256": hashlib.sha256(data).hexdigest()}
    registry["models"] = dict(sorted(registry["models"].items()))
    path.write_text(json.dumps(registry, indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit code 1 and a message for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m quality_models.train", description="Train one of the scorers.")
    parser.add_argument("name", help="toxicity, adult, fluency or not_ad")
    parser.add_argument("--data", type=Path, required=True, help="folder with classifiers/, text/ and crawl/")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets NAME/ and registry.json")
    options = parser.parse_args(arguments)
    try:
        card = train(options.name, data=options.data, out=options.out)
    except (CorpusError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(card_markdown(card))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

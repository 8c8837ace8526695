"""Where models are found, and how it is made sure that they are the right ones.

A model is a directory with ``card.json`` and the weights that the card names. The shipped ones lie under ``models/``
beside this file; ``models/registry.json`` pins the sha256 of each card, and the card pins the sha256 of its weights.
Both are compared before anything is parsed.

A model is referred to as ``NAME`` (shipped) or as ``DIRECTORY@sha256:HEX`` (anyone's own; HEX is the sha256 of its
card.json). A shipped name may be pinned too: ``NAME@sha256:HEX``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from corpus.errors import ModelError
from quality_models.card import ModelCard
from quality_models.fasttext_scorer import FastTextScorer, load_classifier
from quality_models.function_words import FUNCTION_WORDS_SHA256
from quality_models.pinned import read_pinned_file
from stages.stage import Scorer

MODELS_DIR = Path(__file__).parent / "models"
_PIN = "@sha256:"


class ModelInfo(NamedTuple):
    """One line of the registry."""

    name: str
    directory: Path
    sha256: str  # of card.json

    @property
    def card(self) -> ModelCard:
        """The card, verified and parsed."""
        return _read_card(self.directory, self.sha256)


def installed(*, models_dir: Path | None = None) -> list[ModelInfo]:
    """The models pinned in ``registry.json`` of ``models_dir`` (default: the shipped ones), sorted by name."""
    directory = models_dir or MODELS_DIR
    path = directory / "registry.json"
    fix = "install the package again, or train models with: python -m quality_models.train NAME --data DIR --out DIR"
    try:
        entries = json.loads(path.read_text("utf-8"))["models"]
        pairs = sorted((str(name), str(entry["card_sha256"])) for name, entry in entries.items())
    except FileNotFoundError as error:
        raise ModelError("there is no model registry", where=str(path), fix=fix) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the model registry cannot be read: {error!r}", where=str(path), fix=fix) from error
    return [ModelInfo(name, directory / name, sha256) for name, sha256 in pairs]


class CardScorer(Scorer, Protocol):
    """A scorer that knows its card."""

    card: ModelCard


def load_scorer(name: str, *, models_dir: Path | None = None) -> CardScorer:
    """Find, verify and load a model by its reference (see above). Takes a few milliseconds.

    Raises ``ModelError`` when it is absent, is not the pinned one, or does not fit this version of the code.
    """
    reference, pinned, digest = name.partition(_PIN)
    known = {info.name: info for info in installed(models_dir=models_dir)}
    info = known.get(reference)
    if info is None:
        info = _own_directory(reference, digest, names=sorted(known))
    elif pinned and digest.lower() != info.sha256:
        raise ModelError(
            f"model {reference!r} has card sha256 {info.sha256}, not the pinned {digest}",
            where=str(info.directory),
            fix="pin the sha256 of the installed model, or install the version that was pinned",
        )
    return open_scorer(info.card, info.directory, models_dir=models_dir)


def open_scorer(card: ModelCard, directory: Path, *, models_dir: Path | None = None) -> CardScorer:
    """The scorer of a verified card, of any tier."""
    if card.tier == "cascade":
        return _open_cascade(card, directory, models_dir)
    data = b""
    if card.weights is not None and card.weights_sha256 is not None:
        data = read_pinned_file(directory / card.weights, card.weights_sha256)
    if card.tier == "transformer":
        from quality_models.transformer.scorer import load_transformer

        return load_transformer(card, directory, data)
    if not data:
        raise ModelError("the card names no weights", where=str(directory), fix="train the model again")
    if card.function_words_sha256 not in (None, FUNCTION_WORDS_SHA256):
        raise ModelError(
            "the model was trained with another list of function words",
            where=str(directory),
            fix="train it again with this version of quality_models",
        )
    return FastTextScorer(load_classifier(data, directory), card)


def _open_cascade(card: ModelCard, directory: Path, models_dir: Path | None) -> CardScorer:
    from quality_models.cascade import CascadeScorer

    if card.band is None or _PIN not in card.band.first or _PIN not in card.band.second:
        raise ModelError("a cascade names two pinned models", where=str(directory), fix=f"write NAME{_PIN}HEX for both")
    first, second = (load_scorer(name, models_dir=models_dir) for name in (card.band.first, card.band.second))
    for scorer in (first, second):
        if scorer.card.tier == "cascade" or scorer.card.orientation != card.orientation:
            raise ModelError(
                f"model {scorer.card.name!r} cannot be part of this cascade: it is one itself, or counts the other way",
                where=str(directory),
                fix="name two models of the same orientation",
            )
    return CascadeScorer(first, second, card)


def _own_directory(reference: str, digest: str, *, names: list[str]) -> ModelInfo:
    directory = Path(reference)
    if not directory.is_dir():
        raise ModelError(
            f"no model is called {reference!r}, and no directory either",
            where=f"installed: {', '.join(names) or 'none'}",
            fix=f"use one of these names, or DIRECTORY{_PIN}HEX for a model of your own",
        )
    if not digest:
        raise ModelError(
            f"the model directory {reference!r} is not pinned",
            where=str(directory),
            fix=f"write {reference}{_PIN}HEX, where HEX is the output of: sha256sum {directory / 'card.json'}",
        )
    return ModelInfo(directory.name, directory, digest.lower())


def _read_card(directory: Path, sha256: str) -> ModelCard:
    path = directory / "card.json"
    data = read_pinned_file(path, sha256)
    try:
        card = ModelCard.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(
            f"the model card is not valid: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}",
            where=str(path),
            fix="write the card with quality_models.train of this version",
        ) from error
    if card.weights is not None and Path(card.weights).name != card.weights:
        raise ModelError(
            f"weights {card.weights!r} lie outside the model", where=str(path), fix="name a file beside it"
        )
    return card

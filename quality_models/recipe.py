"""What is written down to make a model again: ``recipes/<name>.yaml``, read into a frozen ``Recipe``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpus.errors import ModelError
from quality_models.card import Source
from quality_models.views import View
from quality_models.windows import Windows

RECIPES: Final = Path(__file__).parent / "recipes"


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


class Recipe(_Settings):
    """A model: its face to users, its windows, its classifier, its sources and known biases."""

    name: str
    version: int = 1
    summary: str
    orientation: Literal["higher is worse", "higher is better"]
    threshold: float
    prior: float = Field(default=0.5, gt=0, lt=1)
    seed: int = 1
    view: View
    windows: Windows
    fasttext: FastText
    licence: str = "Apache-2.0"
    sources: tuple[Source, ...]
    biases: tuple[str, ...]


def read_recipe(name: str) -> Recipe:
    """The recipe of a model; raises ``ModelError`` for an unknown name or an invalid file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = RECIPES / f"{name}.yaml"
    names = sorted(file.stem for file in RECIPES.glob("*.yaml") if file.stem != "phrases")
    if name not in names:
        raise ModelError(f"there is no recipe {name!r}", where=str(RECIPES), fix=f"use one of: {', '.join(names)}")
    try:
        return Recipe.model_validate(YAML(typ="safe", pure=True).load(path))
    except (YAMLError, ValidationError) as error:
        raise ModelError(f"the recipe is not valid: {error}", where=str(path), fix="correct the file") from error

"""What ``manifests/train_extractor.yaml`` may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TeacherSource(_Settings):
    """Pages of a crawl, labelled by an engine."""

    kind: Literal["teacher"]
    name: str
    """Shown in the card."""
    licence: str
    warcs: str
    """Glob of WARC files, relative to ``data``."""
    weight: float = Field(default=1.0, gt=0)
    """Of a page, beside pages of other sources."""
    weights: dict[str, float] = {}
    """Of pages whose record names a set (``X-Page-Id: set/path``), by set; others weigh ``weight``. 0: left out."""
    types: dict[str, str] = {}
    """Kind of page by set, for the report."""
    cap: int | None = Field(default=None, ge=1)
    """At most so many pages, the first in file order."""


class GoldSource(_Settings):
    """Pages whose main text people wrote down or accepted: a Parquet file with ``id, url, html, gold_text``."""

    kind: Literal["gold"]
    name: str
    licence: str
    file: str
    """Relative to ``data``."""
    gold_kind: str
    """Rows whose column ``gold_kind`` says this; others are left out."""
    type: str
    """Kind of page, for the report."""
    weight: float = Field(default=1.0, gt=0)


Source = Annotated[TeacherSource | GoldSource, Field(discriminator="kind")]


class Trees(_Settings):
    """One forest. ``depth``: questions per tree; ``rate`` of learning; ``least`` blocks in a leaf."""

    trees: int = Field(ge=1)
    depth: int = Field(default=5, ge=1, le=8)
    rate: float = Field(default=0.15, gt=0, le=1)
    least: int = Field(default=80, ge=1)


class ExtractorRecipe(_Settings):
    """A whole training run."""

    train: Literal["extractor"]
    data: Path
    """Folder of the sources, relative to the working directory."""
    output: Path
    """Where the model, its card and the teacher's answers go."""
    sources: tuple[Source, ...] = Field(min_length=1)
    folds: int = Field(default=5, ge=2, le=20)
    seed: int = 7
    per_host: int = Field(default=150, ge=1)
    """At most so many pages of one host or group of duplicates."""
    least_cover: float = Field(default=0.6, ge=0, le=1)
    """Pages that hold less of their reference text are left out: they are not the page that was labelled."""
    first: Trees = Trees(trees=150, rate=0.1)
    second: Trees = Trees(trees=100, rate=0.1)

"""The models behind the scores. ``load_scorer(name)`` gives a scorer, ``installed()`` says which there are."""

from __future__ import annotations

from quality_models.card import ModelCard
from quality_models.registry import ModelInfo, installed, load_scorer

__all__ = ["ModelCard", "ModelInfo", "installed", "load_scorer"]

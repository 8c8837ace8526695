"""All stage kinds, as the closed union that a manifest chooses from. A new kind is added here and nowhere else."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from stages.datatrove_block import DatatroveBlock
from stages.decontaminate import Decontaminate
from stages.dedup import Dedup
from stages.edit import Edit
from stages.extract import Extract
from stages.language import Language
from stages.normalise import Normalise
from stages.pii import MaskPii
from stages.rank_cut import RankCut
from stages.rules import Rules
from stages.score import Score
from stages.signals import Signals
from stages.stage import Stage
from stages.url_filter import UrlFilter
from stages.words import Words

AnyStage = Annotated[
    UrlFilter
    | Extract
    | Language
    | Normalise
    | Edit
    | Signals
    | Rules
    | DatatroveBlock
    | Dedup
    | Words
    | Score
    | MaskPii
    | RankCut
    | Decontaminate,
    Field(discriminator="kind"),
]

STAGE_KINDS: dict[str, type[Stage]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(AnyStage)[0])
}
"""Manifest ``kind`` -> configuration class."""

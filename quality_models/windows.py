"""Which parts of a document a scorer looks at: up to three windows, from the head, the middle and the tail.

Why: reading whole documents would make the cost of a score grow with their length, and the average over a long text
hides an offensive or advertising part of it. Three windows of about a thousand characters bound the cost (0.2 ms)
and keep parts apart. What lies between the windows of a long document is not seen: a score is a sample, not a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Combine = Literal["max", "mean"]


class Windows(BaseModel):
    """Settings of the windows; part of a model card, since a model is calibrated for windows of this size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(default=3, ge=1, le=16)
    characters: int = Field(default=1000, ge=50, le=100_000)
    combine: Combine = "max"
    """``max`` where the worst part decides (toxicity), ``mean`` where the whole counts (fluency)."""


def cut_windows(text: str, windows: Windows) -> list[str]:
    """Return 1 to ``count`` windows, evenly spread from head to tail; a short text is its own only window.

    Windows start and end at white space where there is some near by. Linear in the windows, not in the text.
    """
    size = windows.characters
    number = min(windows.count, -(-len(text) // size))
    if number <= 1:
        return [text[:size]]
    step = (len(text) - size) / (number - 1)
    return [_whole_words(text, round(at * step), size) for at in range(number)]


def _whole_words(text: str, start: int, size: int) -> str:
    """Text from ``start``, without the torn words at both ends (torn words look like misspelt ones)."""
    end = start + size
    if start > 0:
        space = text.find(" ", start, start + 40)
        start = space + 1 if space >= 0 else start
    if end < len(text):
        space = text.rfind(" ", end - 40, end)
        end = space if space > start else end
    return text[start:end]


def combine_windows(values: NDArray[np.float64], lengths: Sequence[int], *, combine: Combine) -> NDArray[np.float64]:
    """Fold one value per window into one per document; document ``i`` has ``lengths[i]`` >= 1 windows, in order."""
    if not len(lengths):
        return np.zeros(0, np.float64)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.intp)
    if combine == "max":
        return np.maximum.reduceat(values, starts)
    return np.add.reduceat(values, starts) / np.asarray(lengths, np.float64)

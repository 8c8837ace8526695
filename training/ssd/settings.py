"""Settings of switching."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corpus.settings import Settings

Plan = Literal["dense", "ssd", "once", "smoe"]
"""dense: never sparse. ssd: phases alternate by the rule. once: sparse from the first switch to the end. smoe: experts
of untrained neurons, sparse from the first step."""


class Switching(Settings):
    """When a phase of training ends. The paper's rule, that dense training goes on until activation patterns are stable
    and the last phase is dense; its constants were not found, so they are ours."""

    check_every: int = Field(default=20, ge=1)
    """Steps between check-ups of the activations."""
    stable: float = Field(default=0.9, gt=0, le=1)
    """Least cosine of two check-ups' covariances, mean over layers, to go from dense to sparse."""
    dense_steps: int = Field(default=30, ge=1)
    """Least steps of a dense phase."""
    sparse_steps: int = Field(default=70, ge=1)
    """Steps of a sparse phase."""
    final_dense: float = Field(default=0.15, ge=0, le=1)
    """Share of all steps, at the end, that are dense."""

    def final_steps(self, steps: int) -> int:
        """Steps of the final dense phase out of ``steps``."""
        return round(self.final_dense * steps)

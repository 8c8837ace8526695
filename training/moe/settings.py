"""The sizes of a mixture of experts, and how its router is rectified."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from corpus.settings import Settings


class Rectify(Settings):
    """What becomes of tokens that found no slot, and of slots that found no token."""

    intra: bool = False
    """Intra-GPU Rectification: an expert of the token's own rank stands in for those that had no slot for it."""
    fill_in: bool = False
    """Fill-in Rectification: slots that would be padding go to tokens whose (k + 1)-th choice the expert is."""
    reroute: Literal["all", "any", "real"] = "real"
    """Which tokens get a stand-in. all: those that reached no expert. real: those that reached fewer than k. any: those
    that missed any nomination, the one for filling in included. Without filling in, any is real; with top-1, real is
    all."""
    nominees: Literal["own", "top"] = "own"
    """Who fills in where there are more nominees than slots: those with the largest (k + 1)-th gate (own, the paper),
    or with the largest gate of all (top, its code)."""


class Mixture(Settings):
    """The expert layers of a model."""

    experts: int = Field(default=8, ge=2)
    """Experts in each such layer, over all ranks."""
    top_k: int = Field(default=1, ge=1)
    """Experts that a token chooses."""
    every: int = Field(default=2, ge=1)
    """Every n-th layer has experts, the n-th first."""
    capacity_factor: float | None = Field(default=1.0, gt=0)
    """Slots of an expert for the tokens of one rank, as a multiple of its even share of their choices. None: dropless,
    every choice has a slot."""
    ranks: int = Field(default=1, ge=1)
    """Ranks that experts and tokens are dealt out to, over all processes: each routes its own tokens by itself and
    holds its part of the experts. In one process they are virtual: the same outcome without the traffic."""
    balance: float = Field(default=0.01, ge=0)
    """Weight of the load-balance loss, for each layer with experts."""
    rectify: Rectify = Rectify()
    """What becomes of tokens without a slot and of slots without a token."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.top_k + self.rectify.fill_in > self.experts:
            more = " and the one that fills in" if self.rectify.fill_in else ""
            raise ValueError(f"{self.experts} experts are too few for {self.top_k} choices{more}")
        if self.experts % self.ranks:
            raise ValueError(f"{self.experts} experts cannot be dealt out evenly to {self.ranks} ranks")
        if self.capacity_factor is None and (self.rectify.intra or self.rectify.fill_in):
            raise ValueError("dropless routing leaves nothing to rectify: name a capacity_factor")
        return self

    @property
    def local(self) -> int:
        """Experts that one rank holds."""
        return self.experts // self.ranks

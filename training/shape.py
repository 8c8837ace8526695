"""The sizes of a decoder, and masks over its parts."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor

from corpus.settings import Settings


class LlamaShape(Settings):
    """The sizes of a decoder."""

    layers: int = Field(ge=1)
    """Blocks of attention and feed-forward."""
    hidden: int = Field(ge=2)
    """Width of the residual stream."""
    intermediate: int = Field(ge=1)
    """Width of the feed-forward."""
    heads: int = Field(ge=1)
    """Query heads."""
    kv_heads: int = Field(ge=1)
    """Key and value heads; query heads share them in groups."""
    head_dim: int = Field(ge=2)
    """Width of a head."""
    vocab: int = Field(ge=2)
    """Token ids."""
    max_positions: int = Field(default=2048, ge=1)
    """Longest sequence that the model is meant for."""
    rope_theta: float = Field(default=10000.0, gt=1)
    """Base of the rotary frequencies."""
    norm_eps: float = Field(default=1e-5, gt=0)
    """Added to the mean square in norms."""
    tied: bool = False
    """Whether the output layer is the embedding."""
    feed_forward: Literal["swiglu", "relu"] = "swiglu"
    """swiglu: gated, as in LLaMA. relu: two matrices, whose neurons are mostly silent (what SSD stands on)."""

    @model_validator(mode="after")
    def _whole(self) -> LlamaShape:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} query heads cannot share {self.kv_heads} key and value heads evenly")
        if self.head_dim % 2:
            raise ValueError(f"rotary positions need an even head_dim, not {self.head_dim}")
        return self

    @property
    def group(self) -> int:
        """Query heads per key and value head."""
        return self.heads // self.kv_heads

    @property
    def matrices(self) -> int:
        """Weights that take part in matrix products: all but embedding rows and gains."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + self.feed_forward_weights) + self.vocab * self.hidden

    @property
    def feed_forward_weights(self) -> int:
        """Weights in the feed-forward of one layer."""
        return (3 if self.feed_forward == "swiglu" else 2) * self.hidden * self.intermediate

    @property
    def parameters(self) -> int:
        """All weights."""
        gains = self.hidden * (2 * self.layers + 1)
        return self.matrices + gains + (0 if self.tied else self.vocab * self.hidden)

    @property
    def flops_per_token(self) -> int:
        """Of a training step: 6 per weight in a matrix (forward 2, backward 4); attention scores are left out."""
        return 6 * self.matrices


class Masks(NamedTuple):
    """What survives, as factors: 1 keeps, 0 removes. All layers share ``hidden``."""

    layer: Tensor
    """[layers]"""
    hidden: Tensor
    """[hidden]"""
    head: Tensor
    """[layers, kv_heads]: a key and value head goes with all its query heads"""
    intermediate: Tensor
    """[layers, intermediate]"""


class LayerMasks(NamedTuple):
    """The masks of one layer."""

    added: Tensor
    """[hidden]: what the layer adds to the stream"""
    hidden: Tensor
    head: Tensor
    intermediate: Tensor

    @classmethod
    def of(cls, masks: Masks, layer: int) -> LayerMasks:
        """The part of ``masks`` that layer ``layer`` needs."""
        return cls(masks.layer[layer] * masks.hidden, masks.hidden, masks.head[layer], masks.intermediate[layer])

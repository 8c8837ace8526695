"""A decoder of the LLaMA kind: RMSNorm, rotary positions, grouped-query attention, no biases; SwiGLU, or plain ReLU.

Parameters carry the names of Hugging Face's ``LlamaForCausalLM``, so that checkpoints go both ways without a table; the
ReLU feed-forward alone is laid out by neurons (``training.checkpoint`` turns it over). The forward pass takes the masks
of structured pruning (``training.pruning``): a part whose mask is zero contributes nothing, and norms count surviving
dimensions only, so that the masked model is the pruned one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from training.shape import LayerMasks, LlamaShape, Masks


class RMSNorm(nn.Module):
    """Root-mean-square norm with gains, computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        wide = x.float()
        if mask is None:
            mean = wide.pow(2).mean(dim=-1, keepdim=True)
        else:
            # the pruned model divides by the dimensions that it has
            mean = wide.pow(2).sum(dim=-1, keepdim=True) / (mask > 0).sum().clamp(min=1)
        normed = (wide * torch.rsqrt(mean + self.eps)).to(x.dtype) * self.weight
        return normed if mask is None else normed * mask


class Attention(nn.Module):
    """Causal self-attention; heads in groups share keys and values."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        width, key_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, width, bias=False)
        self.k_proj = nn.Linear(shape.hidden, key_width, bias=False)
        self.v_proj = nn.Linear(shape.hidden, key_width, bias=False)
        self.o_proj = nn.Linear(width, shape.hidden, bias=False)

    def forward(self, x: Tensor, rotary: Rotary, head: Tensor | None, cache: KeyValues | None = None) -> Tensor:
        rows, length, _ = x.shape
        shape = self.shape
        q = self.q_proj(x).view(rows, length, shape.heads, shape.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(rows, length, shape.kv_heads, shape.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(rows, length, shape.kv_heads, shape.head_dim).transpose(1, 2)
        q, k = rotate(q, rotary), rotate(k, rotary)
        if cache is not None:
            k, v = cache.put(k, v, rotary)
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=rotary.allowed, is_causal=rotary.allowed is None, enable_gqa=shape.group > 1
        )
        if head is not None:
            out = out * head.repeat_interleave(shape.group).to(out.dtype)[:, None, None]
        joined: Tensor = self.o_proj(out.transpose(1, 2).reshape(rows, length, -1))
        return joined


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor, intermediate: Tensor | None) -> Tensor:
        inner = F.silu(self.gate_proj(x)) * self.up_proj(x)
        out: Tensor = self.down_proj(inner if intermediate is None else inner * intermediate)
        return out


class ReluFeedForward(nn.Module):
    """Two matrices with a ReLU between; row i of each belongs to neuron i, so that a group of neurons is a slice."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.empty(shape.intermediate, shape.hidden))
        self.w_out = nn.Parameter(torch.empty(shape.intermediate, shape.hidden))

    def forward(self, x: Tensor, intermediate: Tensor | None) -> Tensor:
        inner = F.relu(F.linear(x, self.w_in))
        return F.linear(inner if intermediate is None else inner * intermediate, self.w_out.t())


FEED_FORWARDS: dict[str, type[FeedForward | ReluFeedForward]] = {"swiglu": FeedForward, "relu": ReluFeedForward}


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and around a residual."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.mlp: nn.Module = FEED_FORWARDS[shape.feed_forward](shape)

    def forward(self, x: Tensor, rotary: Rotary, masks: LayerMasks | None, cache: KeyValues | None = None) -> Tensor:
        if masks is None:
            x = x + self.self_attn(self.input_layernorm(x), rotary, None, cache)
            return x + self.mlp(self.post_attention_layernorm(x), None)
        x = x + self.self_attn(self.input_layernorm(x, masks.hidden), rotary, masks.head) * masks.added
        return x + self.mlp(self.post_attention_layernorm(x, masks.hidden), masks.intermediate) * masks.added


class Rotary(NamedTuple):
    """Rotary factors, and which places may attend to which."""

    cosine: Tensor
    """[rows or 1, 1, length, head_dim]"""
    sine: Tensor
    allowed: Tensor | None
    """[rows, 1, length, length]; None: every place to all before it. With a cache [rows, 1, length, places of it]."""
    places: Tensor | None = None
    """[length] int64: with a cache, where in it these tokens belong."""

    @classmethod
    def at(cls, shape: LlamaShape, positions: Tensor, allowed: Tensor | None, places: Tensor | None = None) -> Rotary:
        """The factors at ``positions`` [rows or 1, length], in the dtype of products."""
        device = positions.device
        half = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float32) / shape.head_dim
        angles = positions[..., None].float() * (1.0 / shape.rope_theta**half)
        angles = torch.cat([angles, angles], dim=-1)[:, None]
        dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
        return cls(angles.cos().to(dtype), angles.sin().to(dtype), allowed, places)


class KeyValues(Protocol):
    """Keys and values of tokens that went before, of one layer."""

    def put(self, keys: Tensor, values: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Remember those of new tokens [rows, kv_heads, length, head_dim]; returns all there is room for."""
        ...


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary positions in the half-split convention of Hugging Face. ``x`` [rows, heads, length, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * rotary.cosine + turned * rotary.sine).to(x.dtype)


class Decoder(nn.Module):
    """Embedding, blocks, final norm."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)

    def forward(
        self, input_ids: Tensor, rotary: Rotary, masks: Masks | None, caches: Sequence[KeyValues] | None = None
    ) -> Tensor:
        x = self.embed_tokens(input_ids)
        if masks is not None:
            x = x * masks.hidden
        for number, block in enumerate(self.layers):
            cache = caches[number] if caches is not None else None
            x = block(x, rotary, None if masks is None else LayerMasks.of(masks, number), cache)
        return self.norm(x) if masks is None else self.norm(x, masks.hidden)


class Llama(nn.Module):
    """The decoder with its output layer. ``new_model`` makes one with fresh weights."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocab, bias=False)
        if shape.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, input_ids: Tensor, *, document_ids: Tensor | None = None, masks: Masks | None = None) -> Tensor:
        """Logits [rows, length, vocab] for ``input_ids`` [rows, length].

        With ``document_ids`` (same shape, not decreasing along a row) attention stays within documents and positions
        start anew at each.
        """
        rotary = self._rotary(input_ids, document_ids)
        return self.lm_head(self.model(input_ids, rotary, masks))

    def _rotary(self, input_ids: Tensor, document_ids: Tensor | None) -> Rotary:
        length, device = input_ids.shape[1], input_ids.device
        places = torch.arange(length, device=device)
        allowed = None
        positions = places[None]
        if document_ids is not None:
            same = document_ids[:, :, None] == document_ids[:, None, :]
            allowed = (same & (places[:, None] >= places[None, :]))[:, None]
            # the place where the running document began: the last one at which the id changed
            changed = F.pad(document_ids[:, 1:] != document_ids[:, :-1], (1, 0), value=True)
            positions = places[None] - torch.where(changed, places[None], 0).cummax(dim=-1).values
        return Rotary.at(self.shape, positions, allowed)


def new_model(shape: LlamaShape, seed: int) -> Llama:
    """Fresh weights that follow from ``seed`` alone: normal with deviation .02, less for what feeds the residual."""
    with torch.device("meta"):
        model = Llama(shape)
    model.to_empty(device="cpu")
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
                continue
            residual = name.endswith(("o_proj.weight", "down_proj.weight", "w_out"))
            deviation = 0.02 / math.sqrt(2 * shape.layers) if residual else 0.02
            parameter.normal_(0.0, deviation, generator=generator)
    return model

"""What Hugging Face's library calls things: configurations, and names and layouts of weights.

A decoder with SwiGLU is a ``LlamaForCausalLM``; one with ReLU is an ``ArceeForCausalLM``, the same architecture with a
plain feed-forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.shape import LlamaShape

_KINDS = {"swiglu": ("llama", "LlamaForCausalLM", "silu"), "relu": ("arcee", "ArceeForCausalLM", "relu")}
"""Feed-forward -> the library's model_type, its class and the activation."""
FEED_FORWARDS = {model_type: kind for kind, (model_type, _, _) in _KINDS.items()}
_NEURONS_IN, _NEURONS_OUT = "mlp.w_in", "mlp.w_out"
_UP, _DOWN = "mlp.up_proj.weight", "mlp.down_proj.weight"


def foreign(config: Mapping[str, Any]) -> list[str]:
    """What the model computes otherwise than ``training.llama``."""
    _, _, activation = _KINDS[FEED_FORWARDS[config["model_type"]]]
    # what the library means where the activation is not said
    unsaid = "silu" if activation == "silu" else "relu2"
    said = {"hidden_act": config.get("hidden_act", unsaid)}
    said |= {name: config.get(name, False) for name in ("attention_bias", "mlp_bias")}
    plain = {"hidden_act": activation, "attention_bias": False, "mlp_bias": False}
    faults = [f"{name} is {value!r}" for name, value in said.items() if value != plain[name]]
    ropes = [config.get(key) or {} for key in ("rope_parameters", "rope_scaling")]
    kinds = {str(found.get("rope_type", found.get("type", "default"))) for found in ropes}
    return faults + [f"rotary positions are scaled ({kind})" for kind in sorted(kinds - {"default"})]


def shape_of(config: Mapping[str, Any]) -> LlamaShape:
    """The sizes that a configuration states. Raises ``KeyError``, ``TypeError`` or ``ValueError`` where it has none."""
    heads, rope = config["num_attention_heads"], config.get("rope_parameters") or {}
    return LlamaShape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocab=config["vocab_size"],
        max_positions=config.get("max_position_embeddings", 2048),
        rope_theta=rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        norm_eps=config.get("rms_norm_eps", 1e-6),
        tied=config.get("tie_word_embeddings", False),
        feed_forward=FEED_FORWARDS[config["model_type"]],
    )


def outward(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names, and in the layout, of the library."""
    found = {}
    for name, value in state.items():
        if name.endswith(_NEURONS_IN):
            found[name.replace(_NEURONS_IN, _UP)] = value
        elif name.endswith(_NEURONS_OUT):
            found[name.replace(_NEURONS_OUT, _DOWN)] = value.t()
        else:
            found[name] = value
    return found


def inward(state: Mapping[str, Tensor], shape: LlamaShape) -> dict[str, Tensor]:
    """The inverse of ``outward``."""
    if shape.feed_forward != "relu":
        return dict(state)
    found = {}
    for name, value in state.items():
        if name.endswith(_UP):
            found[name.replace(_UP, _NEURONS_IN)] = value
        elif name.endswith(_DOWN):
            found[name.replace(_DOWN, _NEURONS_OUT)] = value.t().contiguous()
        else:
            found[name] = value
    return found


def config_of(shape: LlamaShape, dtype: torch.dtype, end: int | None) -> dict[str, Any]:
    """The configuration that states ``shape``; ``end`` is the id of the token that ends documents."""
    model_type, architecture, activation = _KINDS[shape.feed_forward]
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_act": activation,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_positions,
        # both spellings: libraries before and after version 5 of transformers
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rms_norm_eps": shape.norm_eps,
        "tie_word_embeddings": shape.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "dtype": str(dtype).removeprefix("torch."),
        "torch_dtype": str(dtype).removeprefix("torch."),
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
    }

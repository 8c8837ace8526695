"""From a masked model to a smaller one that computes the same.

Masks are folded into the weights behind them, each where it acts once: a head's into its value rows (which all its
query heads share), an intermediate unit's into its up row, a layer's and the hidden ones into what the layer adds to
the stream, and the hidden ones into embedding columns and gains. The output layer is left alone: the final norm carries
the mask already. Then the zeros are cut out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corpus.errors import TrainingError
from training.llama import Llama
from training.shape import Masks

_NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")


@torch.no_grad()
def cut(model: Llama, masks: Masks) -> Llama:
    """The model without what ``masks`` removes; a new one, on the CPU, in float32.

    Raises ``TrainingError`` where layers differ in heads or intermediate units (they must be equal to be stacked), and
    where nothing would remain.
    """
    masks = Masks(*(mask.detach().float().cpu() for mask in masks))
    layers = torch.nonzero(masks.layer > 0).flatten().tolist()
    hidden = torch.nonzero(masks.hidden > 0).flatten()
    if not layers or not len(hidden):
        raise TrainingError("the masks keep no layer or no hidden dimension", fix="aim at a larger target")
    heads = _equal(masks.head, layers, "heads")
    inner = _equal(masks.intermediate, layers, "intermediate units")
    source = model.shape
    shape = source.model_copy(
        update={
            "layers": len(layers),
            "hidden": len(hidden),
            "heads": heads.shape[1] * source.group,
            "kv_heads": heads.shape[1],
            "intermediate": inner.shape[1],
        }
    )
    old = {name: value.detach().float().cpu() for name, value in model.state_dict().items()}
    factor = masks.hidden[hidden]
    new = {
        "model.embed_tokens.weight": old["model.embed_tokens.weight"][:, hidden] * factor,
        "model.norm.weight": old["model.norm.weight"][hidden] * factor,
        "lm_head.weight": old["lm_head.weight"][:, hidden],
    }
    for number, layer in enumerate(layers):
        part = {name: old[f"model.layers.{layer}.{name}"] for name in _layer_names(old)}
        for name, value in _cut_layer(part, masks, layer, heads[number], inner[number], hidden, model).items():
            new[f"model.layers.{number}.{name}"] = value
    if source.tied:
        # input and output carry different factors now, so they cannot stay one matrix unless all factors are one
        shape = shape.model_copy(update={"tied": bool((factor == 1).all())})
    with torch.device("meta"):  # no time and no random numbers for weights that are replaced at once
        small = Llama(shape)
    small.load_state_dict({name: value.contiguous() for name, value in new.items()}, assign=True)
    if shape.tied:
        small.lm_head.weight = small.model.embed_tokens.weight
    return small


def _layer_names(state: dict[str, Tensor]) -> list[str]:
    prefix = "model.layers.0."
    return [name.removeprefix(prefix) for name in state if name.startswith(prefix)]


def _cut_layer(
    part: dict[str, Tensor], masks: Masks, layer: int, heads: Tensor, inner: Tensor, hidden: Tensor, model: Llama
) -> dict[str, Tensor]:
    shape = model.shape
    factor = masks.hidden[hidden]
    added = (factor * masks.layer[layer])[:, None]
    keys = _spread(heads, shape.head_dim)
    queries = _spread(_spread(heads, shape.group), shape.head_dim)
    values = masks.head[layer][heads].repeat_interleave(shape.head_dim)[:, None]
    return {
        **{name: part[name][hidden] * factor for name in _NORMS},
        "self_attn.q_proj.weight": part["self_attn.q_proj.weight"][queries][:, hidden],
        "self_attn.k_proj.weight": part["self_attn.k_proj.weight"][keys][:, hidden],
        "self_attn.v_proj.weight": part["self_attn.v_proj.weight"][keys][:, hidden] * values,
        "self_attn.o_proj.weight": part["self_attn.o_proj.weight"][hidden][:, queries] * added,
        "mlp.gate_proj.weight": part["mlp.gate_proj.weight"][inner][:, hidden],
        "mlp.up_proj.weight": part["mlp.up_proj.weight"][inner][:, hidden] * masks.intermediate[layer][inner][:, None],
        "mlp.down_proj.weight": part["mlp.down_proj.weight"][hidden][:, inner] * added,
    }


def _spread(numbers: Tensor, width: int) -> Tensor:
    """Rows of units that take ``width`` rows each."""
    return (numbers[:, None] * width + torch.arange(width)).flatten()


def _equal(mask: Tensor, layers: list[int], what: str) -> Tensor:
    """Surviving units of each surviving layer: [layers, survivors]."""
    chosen = [torch.nonzero(mask[layer] > 0).flatten() for layer in layers]
    counts = sorted({len(found) for found in chosen})
    if len(counts) != 1 or counts[0] == 0:
        raise TrainingError(
            f"layers keep different numbers of {what}, or none: {counts}", fix="give every layer equally many"
        )
    return torch.stack(chosen)

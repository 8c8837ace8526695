"""A model that runs dense or sparse, on disk: a plain Hugging Face folder, dense to everything else that reads it.

Beside its weights lie ``experts.json`` (how many, how many active) and ``experts.safetensors`` (a router per layer).
Experts are neighbouring neurons, so no partition needs to be stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from corpus.errors import ModelError
from training.checkpoint import open_model, save_model
from training.learner import loaded
from training.llama import Llama
from training.moefication.layer import Experts, switchable
from training.shape import LlamaShape

EXPERTS, ROUTERS = "experts.json", "experts.safetensors"
_OURS = (".router", ".load")
"""What a switchable feed-forward has beyond a plain one."""


def save_switchable(
    shape: LlamaShape,
    experts: Experts | None,
    weights: Mapping[str, Tensor],
    folder: Path,
    *,
    tokenizer: bytes | None = None,
) -> None:
    """Write the model with the weights that stand under ``model.`` in a learner's state, and its routers; without
    ``experts`` a plain one."""
    plain = loaded(shape, {name: value for name, value in weights.items() if not name.endswith(_OURS)})
    if experts is None:
        save_model(plain, folder, tokenizer=tokenizer)
        return
    routers = {
        f"layers.{layer}.router": weights[f"model.model.layers.{layer}.mlp.router"].detach().cpu().float().contiguous()
        for layer in range(shape.layers)
    }
    beside = {EXPERTS: experts.model_dump_json(indent=1).encode() + b"\n", ROUTERS: save(routers)}
    save_model(plain, folder, tokenizer=tokenizer, beside=beside)


def open_switchable(folder: Path) -> Llama:
    """The model in ``folder`` with switchable feed-forwards, in dense mode: ``running(feed_forwards(model),
    sparse=True)`` turns it. Raises ``ModelError`` where there are no experts or they do not fit.
    """
    model = open_model(folder)
    if not (folder / EXPERTS).is_file():
        fix = "take the model of a finished phase of `train: ssd`"
        raise ModelError(f"no {EXPERTS} here: this model only runs dense", where=str(folder), fix=fix)
    again = "take the folder anew from the training that made it"
    try:
        experts = Experts.model_validate_json((folder / EXPERTS).read_bytes())
        routers = load_file(folder / ROUTERS)
    except (OSError, SafetensorError, ValidationError) as error:
        raise ModelError(f"the experts cannot be read: {error}", where=str(folder), fix=again) from None
    wanted = {f"layers.{layer}.router": (experts.number, model.shape.hidden) for layer in range(model.shape.layers)}
    if {name: tuple(value.shape) for name, value in routers.items()} != wanted:
        raise ModelError(f"the routers are not those of {experts.number} experts", where=str(folder), fix=again)
    if not all(bool(torch.isfinite(value).all()) for value in routers.values()):
        raise ModelError("routers hold values that are not finite", where=str(folder), fix=again)
    for number, layer in enumerate(switchable(model, experts)):
        layer.router.data.copy_(routers[f"layers.{number}.router"])
    return model

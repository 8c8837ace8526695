"""A mixture on disk: ``config.json`` (sizes of the model and of the mixture), safetensors, ``tokenizer.json``.

The format is our own, as no library has a LLaMA with experts in every n-th layer and capacities. Data only, no code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from corpus.errors import ModelError
from corpus.settings import Settings
from training.checkpoint import with_weights
from training.llama import Llama
from training.model_folder import CONFIG, as_json, check_tensors, read_json, read_tensors, save_folder
from training.moe.settings import Mixture
from training.moe.upcycle import empty_mixture
from training.shape import LlamaShape

_AGAIN = "copy the folder again, or train the mixture again"


class MixtureConfig(Settings):
    """``config.json``."""

    model_type: Literal["llama_mixture"] = "llama_mixture"
    """Tells the folder from one of another library."""
    shape: LlamaShape
    """Of the dense model that was upcycled."""
    mixture: Mixture
    """Its experts and their router."""
    end: int | None = None
    """Id of the end-of-document token."""


def save_mixture(model: Llama, mixture: Mixture, folder: Path, *, tokenizer: bytes | None = None) -> None:
    """Write a model with experts; equal weights give equal bytes. A kill leaves old or new, never half.

    ``tokenizer``: the bytes of ``tokenizer.json``. Raises ``TrainingError`` where it is none.
    """

    def files(end: int | None) -> dict[str, bytes]:
        config = MixtureConfig(shape=model.shape, mixture=mixture, end=end)
        return {CONFIG: as_json(config.model_dump(mode="json"))}

    save_folder(folder, dict(model.named_parameters()), files, tokenizer=tokenizer)


def read_config(folder: Path) -> MixtureConfig:
    """The configuration of a mixture. Raises ``ModelError`` for another kind of model."""
    found = read_json(folder, CONFIG)
    if found.get("model_type") != "llama_mixture":
        raise ModelError(
            f"this is a {found.get('model_type')!r} model, no mixture of experts",
            where=str(folder / CONFIG),
            fix="dense models are opened by training.checkpoint.open_model",
        )
    try:
        return MixtureConfig.model_validate_json(json.dumps(found))
    except ValidationError as error:
        what = f"the configuration cannot be used: {error}"
        raise ModelError(what, where=str(folder / CONFIG), fix=_AGAIN) from None


def open_mixture(folder: Path) -> Llama:
    """The mixture in ``folder``, in float32. Raises ``ModelError`` where a tensor is missing, extra, or not sound."""
    config = read_config(folder)
    tensors = read_tensors(folder)
    with torch.device("meta"):
        model = empty_mixture(config.shape, config.mixture)
    wanted = {name: value.shape for name, value in model.named_parameters()}
    check_tensors(tensors, wanted, folder, _AGAIN)
    return with_weights(model, tensors)

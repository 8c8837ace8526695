"""A mixture on disk: ``config.json`` (sizes of the model and of the mixture), safetensors, ``tokenizer.json``.

The format is our own, as no library has a LLaMA with experts in every n-th layer and capacities. Data only, no code.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from corpus.errors import ModelError
from corpus.settings import Settings
from training.checkpoint import (
    CONFIG,
    EMBEDDING,
    HEAD,
    WEIGHTS,
    _faults,
    _put_in_place,
    _read_json,
    _read_tensors,
    _to_disk,
    _write_json,
)
from training.data.tokenizer import read_tokenizer
from training.llama import Llama
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
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    found = read_tokenizer(tokenizer, None, where="the tokenizer of the corpus") if tokenizer is not None else None
    if found is not None:
        found.save(partial)
    config = MixtureConfig(shape=model.shape, mixture=mixture, end=found.end if found is not None else None)
    _write_json(partial / CONFIG, config.model_dump(mode="json"))
    named = sorted(model.named_parameters())
    tensors = {name: value.detach().to("cpu", torch.float32).contiguous().clone() for name, value in named}
    save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
    for path in (*partial.iterdir(), partial):
        _to_disk(path)
    _put_in_place(partial, folder)
    _to_disk(folder.parent)


def read_config(folder: Path) -> MixtureConfig:
    """The configuration of a mixture. Raises ``ModelError`` for another kind of model."""
    found = _read_json(folder, CONFIG)
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
    tensors = _read_tensors(folder)
    with torch.device("meta"):
        model = empty_mixture(config.shape, config.mixture)
    wanted = {name: value.shape for name, value in model.named_parameters()}
    faults = _faults(tensors, wanted)
    if faults:
        shown = "\n  ".join(faults[:10]) + (f"\n  and {len(faults) - 10} more" if len(faults) > 10 else "")
        what = f"the weights are not those of the configuration\n  {shown}"
        raise ModelError(what, where=str(folder), fix=_AGAIN)
    state = {name: value.float() for name, value in tensors.items()}
    if config.shape.tied:
        state[HEAD] = state[EMBEDDING]
    model.load_state_dict(state, assign=True)
    if config.shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model

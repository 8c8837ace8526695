"""Models on disk: plain Hugging Face folders, read and written without that library.

Only ``config.json`` and safetensors are read: data, no code. What the decoder here would compute otherwise than the
checkpoint means (biases, scaled rotary positions, another activation, quantised weights) is refused, never
approximated. Reading takes twice the memory of the weights in float32 at worst.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from corpus.errors import ModelError
from training.hub import FEED_FORWARDS, config_of, foreign, inward, outward, shape_of
from training.llama import Llama
from training.model_folder import AGAIN, CONFIG, as_json, check_tensors, read_json, read_tensors, save_folder
from training.shape import LlamaShape

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_ANOTHER = "use a LLaMA without these, such as LLaMA 2, TinyLlama or SmolLM"


def read_shape(folder: Path) -> LlamaShape:
    """The shape of the model in ``folder``. Raises ``ModelError`` for another kind of model."""
    config = read_json(folder, CONFIG)
    if config.get("model_type") not in FEED_FORWARDS:
        raise ModelError(
            f"this is a {config.get('model_type')!r} model",
            where=str(folder / CONFIG),
            fix="training here knows model_type llama (LLaMA, SmolLM, TinyLlama and their like) and arcee with relu",
        )
    try:
        faults, shape = foreign(config), shape_of(config)
    except KeyError as error:
        raise ModelError(f"the configuration lacks {error}", where=str(folder / CONFIG), fix=AGAIN) from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        what = f"the configuration cannot be used: {error}"
        raise ModelError(what, where=str(folder / CONFIG), fix=AGAIN) from None
    if faults:
        what = f"a model that is not computed here: {'; '.join(faults)}"
        raise ModelError(what, where=str(folder / CONFIG), fix=_ANOTHER)
    return shape


def open_model(folder: Path) -> Llama:
    """The model in ``folder``, in float32. Raises ``ModelError`` where a tensor is missing, extra, or not sound."""
    shape = read_shape(folder)
    tensors = read_tensors(folder)
    with torch.device("meta"):
        model = Llama(shape)
    wanted = {name: value.shape for name, value in outward(dict(model.named_parameters())).items()}
    # a tied output layer may be stored as well, as long as it is the embedding
    head = tensors.pop(HEAD, None) if shape.tied else None
    check_tensors(tensors, wanted, folder, AGAIN)
    if head is not None and not torch.equal(head, tensors[EMBEDDING]):
        what = f"{HEAD} differs from {EMBEDDING}, to which the configuration ties it"
        raise ModelError(what, where=str(folder), fix=AGAIN)
    return with_weights(model, inward(tensors, shape))


def with_weights(model: Llama, tensors: Mapping[str, Tensor]) -> Llama:
    """``model`` with all its weights from ``tensors``, in float32; a tied output layer is the embedding."""
    state = {name: value.float() for name, value in tensors.items()}
    if model.shape.tied:
        state[HEAD] = state[EMBEDDING]
    model.load_state_dict(state, assign=True)
    if model.shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def save_model(
    model: Llama,
    folder: Path,
    *,
    tokenizer: bytes | None = None,
    dtype: torch.dtype = torch.float32,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write ``model`` so that it loads anywhere. ``beside``: further files, by name; the rest as ``save_folder``."""

    def files(end: int | None) -> dict[str, bytes]:
        generation = {"eos_token_id": end, "pad_token_id": end}
        ours = {CONFIG: config_of(model.shape, dtype, end), "generation_config.json": generation}
        return {**{name: as_json(value) for name, value in ours.items()}, **(beside or {})}

    save_folder(folder, outward(dict(model.named_parameters())), files, tokenizer=tokenizer, dtype=dtype)

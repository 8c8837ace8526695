"""Models on disk: plain Hugging Face folders, read and written without that library.

Only ``config.json`` and safetensors are read: data, no code. What the decoder here would compute otherwise than the
checkpoint means (biases, scaled rotary positions, another activation, quantised weights) is refused, never
approximated. Reading takes twice the memory of the weights in float32 at worst.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpus.errors import ModelError
from corpus.storage import sha256_of
from training.data.tokenizer import read_tokenizer
from training.hub import FEED_FORWARDS, config_of, foreign, inward, outward, shape_of
from training.llama import Llama
from training.shape import LlamaShape

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_FREQUENCIES = ".rotary_emb.inv_freq"
"""Older checkpoints store rotary frequencies in every layer; they follow from the configuration."""
_PRECISIONS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_ANOTHER = "use a LLaMA without these, such as LLaMA 2, TinyLlama or SmolLM"
_AGAIN = "download or convert the model again: save_pretrained(folder, safe_serialization=True) of transformers"


def read_shape(folder: Path) -> LlamaShape:
    """The shape of the model in ``folder``. Raises ``ModelError`` for another kind of model."""
    config = _read_json(folder, CONFIG)
    if config.get("model_type") not in FEED_FORWARDS:
        raise ModelError(
            f"this is a {config.get('model_type')!r} model",
            where=str(folder / CONFIG),
            fix="training here knows model_type llama (LLaMA, SmolLM, TinyLlama and their like) and arcee with relu",
        )
    try:
        faults, shape = foreign(config), shape_of(config)
    except KeyError as error:
        raise ModelError(f"the configuration lacks {error}", where=str(folder / CONFIG), fix=_AGAIN) from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        what = f"the configuration cannot be used: {error}"
        raise ModelError(what, where=str(folder / CONFIG), fix=_AGAIN) from None
    if faults:
        what = f"a model that is not computed here: {'; '.join(faults)}"
        raise ModelError(what, where=str(folder / CONFIG), fix=_ANOTHER)
    return shape


def open_model(folder: Path) -> Llama:
    """The model in ``folder``, in float32. Raises ``ModelError`` where a tensor is missing, extra, or not sound."""
    shape = read_shape(folder)
    tensors = _read_tensors(folder)
    with torch.device("meta"):
        model = Llama(shape)
    wanted = {name: value.shape for name, value in outward(dict(model.named_parameters())).items()}
    # a tied output layer may be stored as well, as long as it is the embedding
    head = tensors.pop(HEAD, None) if shape.tied else None
    faults = _faults(tensors, wanted)
    if not faults and head is not None and not torch.equal(head, tensors[EMBEDDING]):
        faults = [f"{HEAD} differs from {EMBEDDING}, to which the configuration ties it"]
    if faults:
        shown = "\n  ".join(faults[:10]) + (f"\n  and {len(faults) - 10} more" if len(faults) > 10 else "")
        what = f"the weights are not those of the configuration\n  {shown}"
        raise ModelError(what, where=str(folder), fix=_AGAIN)
    state = {name: value.float() for name, value in inward(tensors, shape).items()}
    if shape.tied:
        state[HEAD] = state[EMBEDDING]
    model.load_state_dict(state, assign=True)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def model_digest(folder: Path) -> str:
    """Identity of a checkpoint: its configuration and weights."""
    parts = [sha256_of(folder / name) for name in (CONFIG, *_weight_files(folder))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def save_model(
    model: Llama,
    folder: Path,
    *,
    tokenizer: bytes | None = None,
    dtype: torch.dtype = torch.float32,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write ``model`` so that it loads anywhere; equal weights give equal bytes. A kill leaves old or new, never half.

    ``tokenizer``: the bytes of ``tokenizer.json`` to put beside it; ``beside``: further files, by name. Raises
    ``TrainingError`` where the tokenizer is none.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    found = read_tokenizer(tokenizer, None, where="the tokenizer of the corpus") if tokenizer is not None else None
    if found is not None:
        found.save(partial)
    end = found.end if found is not None else None
    _write_json(partial / CONFIG, config_of(model.shape, dtype, end))
    _write_json(partial / "generation_config.json", {"eos_token_id": end, "pad_token_id": end})
    named = sorted(outward(dict(model.named_parameters())).items())
    tensors = {name: value.detach().to("cpu", dtype).contiguous().clone() for name, value in named}
    save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
    for name, data in (beside or {}).items():
        (partial / name).write_bytes(data)
    for path in (*partial.iterdir(), partial):
        _to_disk(path)
    _put_in_place(partial, folder)
    _to_disk(folder.parent)


def _put_in_place(new: Path, folder: Path) -> None:
    """Make ``new`` the folder at ``folder`` in one step, whatever is there."""
    if not folder.exists():
        new.rename(folder)
    elif _exchange(new, folder):
        shutil.rmtree(new)
    else:  # for the moment between two renames there is neither; the old one is whole beside it
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at once: ``renameat2`` of Linux. False where kernel, C library or file system cannot."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return call is not None and call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if (folder / INDEX).is_file():
        places = _read_json(folder, INDEX).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ModelError(f"{INDEX} has no weight_map", where=str(folder / INDEX), fix=_AGAIN)
        names = sorted({str(name) for name in places.values()})
        outside = [name for name in names if PurePosixPath(name).name != name or not name.endswith(".safetensors")]
        if outside:
            what = f"the index names files that are not shards beside it: {outside}"
            raise ModelError(what, where=str(folder / INDEX), fix=_AGAIN)
        return names
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    raise ModelError(
        f"no {WEIGHTS} here" + (f", only {pickled[0]}, which could run code when it is loaded" if pickled else ""),
        where=str(folder),
        fix="convert the model once with transformers: save_pretrained(folder, safe_serialization=True)",
    )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        try:
            tensors = load_file(folder / file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} cannot be read: {error}", where=str(folder), fix=_AGAIN) from None
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise ModelError(f"{twice[0]} is in {file} and in another shard", where=str(folder), fix=_AGAIN)
        found |= tensors
    return {name: value for name, value in found.items() if not name.endswith(_FREQUENCIES)}


def _faults(tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> list[str]:
    """All that is wrong with weights: names, shapes, number formats, values."""
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [f"{name} is not part of a LLaMA" for name in tensors if name not in wanted]
    for name in wanted.keys() & tensors.keys():
        value = tensors[name]
        if value.shape != wanted[name]:
            faults.append(f"{name} has the shape {list(value.shape)} instead of {list(wanted[name])}")
        elif value.dtype not in _PRECISIONS:
            faults.append(f"{name} holds {str(value.dtype).removeprefix('torch.')}: quantised weights are not read")
        elif not torch.isfinite(value).all():
            faults.append(f"{name} holds values that are not finite")
    return sorted(faults)


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        fix = "name a local folder with config.json and safetensors"
        raise ModelError(f"no {name} here", where=str(folder), fix=fix) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be read: {error}", where=str(folder), fix=_AGAIN) from None
    if not isinstance(found, dict):
        raise ModelError(f"{name} holds no object", where=str(folder), fix=_AGAIN)
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")

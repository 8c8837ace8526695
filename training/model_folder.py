"""Folders of models: ``config.json``, safetensors, ``tokenizer.json``. Data only is read, no code; what is written is
there whole or not at all.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpus.errors import ModelError
from corpus.storage import sha256_of
from training.data.tokenizer import read_tokenizer

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
AGAIN = "download or convert the model again: save_pretrained(folder, safe_serialization=True) of transformers"
_FREQUENCIES = ".rotary_emb.inv_freq"
"""Older checkpoints store rotary frequencies in every layer; they follow from the configuration."""
_PRECISIONS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def model_digest(folder: Path) -> str:
    """Identity of a checkpoint: its configuration and weights."""
    parts = [sha256_of(folder / name) for name in (CONFIG, *_weight_files(folder))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def save_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    files: Callable[[int | None], Mapping[str, bytes]],
    *,
    tokenizer: bytes | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model; equal weights give equal bytes. A kill leaves old or new, never half.

    ``files``: everything else by name, for the id of the token that ends documents. ``tokenizer``: the bytes of
    ``tokenizer.json``. Raises ``TrainingError`` where it is none.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    found = read_tokenizer(tokenizer, None, where="the tokenizer of the corpus") if tokenizer is not None else None
    if found is not None:
        found.save(partial)
    for name, data in files(found.end if found is not None else None).items():
        (partial / name).write_bytes(data)
    whole = {name: value.detach().to("cpu", dtype).contiguous().clone() for name, value in sorted(tensors.items())}
    save_file(whole, partial / WEIGHTS, metadata={"format": "pt"})
    for path in (*partial.iterdir(), partial):
        _to_disk(path)
    _put_in_place(partial, folder)
    _to_disk(folder.parent)


def as_json(value: Mapping[str, Any]) -> bytes:
    """A small JSON file, the same for equal values."""
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object in ``folder``. Raises ``ModelError`` where there is none."""
    try:
        found = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        fix = "name a local folder with config.json and safetensors"
        raise ModelError(f"no {name} here", where=str(folder), fix=fix) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be read: {error}", where=str(folder), fix=AGAIN) from None
    if not isinstance(found, dict):
        raise ModelError(f"{name} holds no object", where=str(folder), fix=AGAIN)
    return found


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All weights in ``folder``, from one file or from shards. Raises ``ModelError``."""
    found: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        try:
            tensors = load_file(folder / file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} cannot be read: {error}", where=str(folder), fix=AGAIN) from None
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise ModelError(f"{twice[0]} is in {file} and in another shard", where=str(folder), fix=AGAIN)
        found |= tensors
    return {name: value for name, value in found.items() if not name.endswith(_FREQUENCIES)}


def check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], folder: Path, fix: str) -> None:
    """Raise ``ModelError`` with all that is wrong with the weights of ``folder``: names, shapes, formats, values."""
    faults = _faults(tensors, wanted)
    if faults:
        shown = "\n  ".join(faults[:10]) + (f"\n  and {len(faults) - 10} more" if len(faults) > 10 else "")
        what = f"the weights are not those of the configuration\n  {shown}"
        raise ModelError(what, where=str(folder), fix=fix)


def _faults(tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> list[str]:
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


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if (folder / INDEX).is_file():
        places = read_json(folder, INDEX).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ModelError(f"{INDEX} has no weight_map", where=str(folder / INDEX), fix=AGAIN)
        names = sorted({str(name) for name in places.values()})
        outside = [name for name in names if PurePosixPath(name).name != name or not name.endswith(".safetensors")]
        if outside:
            what = f"the index names files that are not shards beside it: {outside}"
            raise ModelError(what, where=str(folder / INDEX), fix=AGAIN)
        return names
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    raise ModelError(
        f"no {WEIGHTS} here" + (f", only {pickled[0]}, which could run code when it is loaded" if pickled else ""),
        where=str(folder),
        fix="convert the model once with transformers: save_pretrained(folder, safe_serialization=True)",
    )


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

"""Models on disk: plain Hugging Face folders of a ``LlamaForCausalLM``, read and written without that library.

Only ``config.json`` and safetensors are read: data, no code. What the decoder here would compute otherwise than the
checkpoint means (biases, scaled rotary positions, another activation) is refused, never approximated.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpus.errors import ModelError
from corpus.storage import sha256_of
from training.data.tokenizer import read_tokenizer
from training.llama import Llama, LlamaShape

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
HEAD = "lm_head.weight"
_PLAIN = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}


def read_shape(folder: Path) -> LlamaShape:
    """The shape of the model in ``folder``. Raises ``ModelError`` for another kind of model."""
    config = _read_json(folder, CONFIG)
    if config.get("model_type") != "llama":
        raise ModelError(
            f"this is a {config.get('model_type')!r} model",
            where=str(folder / CONFIG),
            fix="pruning and training here know model_type llama (LLaMA, SmolLM, TinyLlama and their like)",
        )
    faults = [f"{key} is {config[key]!r}" for key, plain in _PLAIN.items() if config.get(key, plain) != plain]
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or {}
    kinds = {str(found.get("rope_type", found.get("type", "default"))) for found in (rope, scaling)}
    faults += [f"rotary positions are scaled ({kind})" for kind in sorted(kinds - {"default"})]
    if faults:
        raise ModelError(f"a model that is not computed here: {'; '.join(faults)}", where=str(folder / CONFIG))
    try:
        heads = config["num_attention_heads"]
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
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise ModelError(f"the configuration cannot be used: {error}", where=str(folder / CONFIG)) from None


def open_model(folder: Path) -> Llama:
    """The model in ``folder``, in float32. Raises ``ModelError`` where a tensor is missing, extra, or not sound."""
    shape = read_shape(folder)
    tensors: dict[str, Tensor] = {}
    for name in _weight_files(folder):
        try:
            tensors |= load_file(folder / name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{name} cannot be read: {error}", where=str(folder)) from None
    with torch.device("meta"):
        model = Llama(shape)
    wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
    if shape.tied:
        tensors.pop(HEAD, None)
    _check(tensors, wanted, folder)
    state = {name: value.float() for name, value in tensors.items()}
    if shape.tied:
        state[HEAD] = state["model.embed_tokens.weight"]
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
) -> None:
    """Write ``model`` so that it loads anywhere; equal weights give equal bytes. A kill leaves old or new, never half.

    ``tokenizer``: the bytes of ``tokenizer.json`` to put beside it.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    found = read_tokenizer(tokenizer, None, where="the tokenizer of the corpus") if tokenizer is not None else None
    if found is not None:
        found.save(partial)
    end = found.end if found is not None else None
    _write_json(partial / CONFIG, _config(model.shape, dtype, end))
    _write_json(partial / "generation_config.json", {"eos_token_id": end, "pad_token_id": end})
    named = sorted(model.named_parameters())
    tensors = {name: value.detach().to("cpu", dtype).clone().contiguous() for name, value in named}
    save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _config(shape: LlamaShape, dtype: torch.dtype, end: int | None) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
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


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if (folder / INDEX).is_file():
        names = sorted(set(_read_json(folder, INDEX).get("weight_map", {}).values()))
        outside = [name for name in names if PurePosixPath(name).name != name or not name.endswith(".safetensors")]
        if outside or not names:
            raise ModelError(
                f"the index names files that are not shards beside it: {outside}", where=str(folder / INDEX)
            )
        return names
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    raise ModelError(
        f"no {WEIGHTS} here" + (f", only {pickled[0]}, which could run code when it is loaded" if pickled else ""),
        where=str(folder),
        fix="convert the model once with transformers: save_pretrained(folder, safe_serialization=True)",
    )


def _check(tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], folder: Path) -> None:
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [f"{name} is not part of a LLaMA" for name in tensors if name not in wanted]
    for name, size in wanted.items():
        if name in tensors and tensors[name].shape != size:
            faults.append(f"{name} has the shape {list(tensors[name].shape)} instead of {list(size)}")
        elif name in tensors and not torch.isfinite(tensors[name]).all():
            faults.append(f"{name} holds values that are not finite")
    if faults:
        shown = "\n  ".join(faults[:10]) + (f"\n  and {len(faults) - 10} more" if len(faults) > 10 else "")
        raise ModelError(f"the weights are not those of the configuration\n  {shown}", where=str(folder))


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        fix = "name a local folder with config.json and safetensors"
        raise ModelError(f"no {name} here", where=str(folder), fix=fix) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be read: {error}", where=str(folder)) from None
    if not isinstance(found, dict):
        raise ModelError(f"{name} holds no object", where=str(folder))
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")

"""What a server of ours is started with: its command line, its environment, its GPUs, and the name it serves."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from corpus.errors import ModelError
from llm.config import Serve

PYTHON: Final = "CORPUS_VLLM_PYTHON"
"""Environment variable that names the interpreter that has vLLM."""

_SECRET: Final = re.compile(r"(?i)_KEY$|_TOKEN$|SECRET|PASSWORD|CREDENTIAL")
_SAMPLE: Final = 1 << 20  # bytes at either end of a large file
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def command_of(config: Serve, host: str, port: int) -> list[str]:
    """vLLM's OpenAI server as a module: the `vllm` command is missing from some builds."""
    where = _on_cpu(config) if config.gpus == 0 else [f"--tensor-parallel-size={config.gpus}"]
    dtype = "float32" if config.gpus == 0 and config.dtype == "auto" else config.dtype
    return [
        *(os.environ.get(PYTHON, sys.executable), "-m", "vllm.entrypoints.openai.api_server"),
        *(
            f"--model={config.model}",
            f"--served-model-name={served_name(config.model)}",
            "--load-format=safetensors",  # no pickles
            f"--host={host}",
            f"--port={port}",
        ),
        *(f"--dtype={dtype}", f"--max-model-len={config.max_model_len}", *where, *config.arguments),
    ]


def _on_cpu(config: Serve) -> list[str]:
    """vLLM 0.32 on CPU dies of a request with a seed whose prompt it reads in pieces: it must read them whole."""
    return [
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        f"--max-num-batched-tokens={max(4096, config.max_model_len)}",
    ]


def served_name(model: str) -> str:
    """The name under which our servers know a model: that of its folder, with a fingerprint of what lies in it.

    Answers are stored under this name. Of files above 2 MiB only both ends and the size are hashed.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(_SAMPLE, size - _SAMPLE))
            digest.update(file.read())
    return f"{folder.resolve().name}-{digest.hexdigest()[:12]}"


def shares_of_gpus(config: Serve) -> list[list[str] | None]:
    """The GPUs of each replica: all would take the first ones otherwise. Raises ``ModelError`` for too few."""
    if config.gpus == 0 or config.replicas == 1:
        return [None] * config.replicas
    wanted = config.gpus * config.replicas
    visible = os.environ.get(_VISIBLE)
    devices = [str(number) for number in range(wanted)] if visible is None else [d for d in visible.split(",") if d]
    if len(devices) < wanted:
        raise ModelError(
            f"{config.replicas} replicas of {config.gpus} GPUs need {wanted}, {_VISIBLE} has {len(devices)}",
            where="serve",
            fix="lower replicas or gpus; gpus: 0 serves on CPU",
        )
    return [devices[start : start + config.gpus] for start in range(0, wanted, config.gpus)]


def child_environment(config: Serve, devices: Sequence[str] | None = None) -> dict[str, str]:
    """The parent's environment without its secrets, and with what keeps vLLM off the network."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if config.gpus == 0:
        kept |= {"VLLM_TARGET_DEVICE": "cpu"}
        kept.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    if devices is not None:
        kept[_VISIBLE] = ",".join(devices)
    return kept

"""Small trainings through the command line, and what they leave behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

PHASE = {
    "steps": 16,
    "global_batch": 8,
    "schedule": {"peak": 3e-3},
    "evaluate_every": 8,
    "evaluate_rows": 4,
    "checkpoint_every": 4,
    "log_every": 2,
}


def digests(output: Path) -> dict[str, str]:
    """sha256 of every model that was made."""
    found = sorted(output.glob("*/model/model.safetensors"))
    return {path.parts[-3]: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def resumed(output: Path, phase: str) -> list[str]:
    """Checkpoints that a phase went on from."""
    lines = [json.loads(line) for line in (output / phase / "log.jsonl").read_text().splitlines()]
    return [line["resumed"] for line in lines if "resumed" in line]

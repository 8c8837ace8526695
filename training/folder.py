"""What lies in the folder of a phase. Needs no torch, so that reports can be written anywhere.

<folder>/log.jsonl         one line per ``log_every`` steps and per evaluation
<folder>/checkpoints/      to resume from; gone once the phase is finished
<folder>/snapshots/        models on the way, where ``snapshot_every`` asks for them
<folder>/model/            what was learnt: a plain Hugging Face checkpoint
<folder>/done.json         the summary; a phase that has it is not run again
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corpus.storage import LocalStore

LOG, CHECKPOINTS, SNAPSHOTS, MODEL, DONE = "log.jsonl", "checkpoints", "snapshots", "model", "done.json"
RECIPE = "recipe.json"
"""Beside the phases: what is trained, and the phases that there may be."""
STATE = "state.json"
"""Within a checkpoint: written last."""
PARTIAL = ".partial"
"""Suffix of what is not whole yet."""


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints of a phase, oldest first."""
    found = (folder / CHECKPOINTS).glob("step-*")
    return sorted(path for path in found if path.suffix != PARTIAL and (path / STATE).is_file())


def snapshots(folder: Path) -> list[Path]:
    """Models that a phase left on its way, oldest first."""
    return sorted(path for path in (folder / SNAPSHOTS).glob("step-*") if path.suffix != PARTIAL)


def cut_log(path: Path, step: int) -> None:
    """Drop lines of steps after ``step``, which are done again."""
    if path.is_file():
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept), "utf-8")


def publish(path: Path, value: Any) -> None:
    """Put a small JSON file in its place, whole or not at all."""
    LocalStore(str(path.parent)).swap(path.name, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")

"""A training phase as a job: what is trained, on what, and into which folder; and how a finished one is recognised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from corpus.commit import canonical_json
from corpus.errors import TrainingError
from training.config import Phase
from training.data.source import Corpus
from training.folder import DONE
from training.learner import Learner
from training.ranks import Ranks

Observe = Callable[[Mapping[str, Any]], None]


@dataclass
class Job:
    """A phase and everything it needs."""

    name: str
    folder: Path
    phase: Phase
    learner: Learner
    origin: str
    """Identity of the weights that the phase starts from."""
    train: Corpus
    held_out: Corpus
    reference: Mapping[str, float] = field(default_factory=dict)
    """Reference losses of ``phase.dynamic``."""

    def identity(self) -> str:
        """Hash of everything that decides the outcome of the phase."""
        parts = [self.phase.model_dump(mode="json"), self.origin, self.train.identity(), self.held_out.identity()]
        return hashlib.sha256(canonical_json([self.name, *parts, dict(self.reference)])).hexdigest()[:32]


def finished(folder: Path, identity: str) -> dict[str, Any] | None:
    """The summary of a finished phase, None where there is work to do. Another phase's summary is an error."""
    path = folder / DONE
    if not path.is_file():
        return None
    summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
    same_job(summary["identity"], identity, folder)
    return summary


def same_job(theirs: str, mine: str, folder: Path) -> None:
    if theirs != mine:
        raise TrainingError(
            "this folder holds a training of other settings, another model or another corpus",
            where=str(folder),
            fix="name another output folder, or delete this one to train anew",
        )


def batch_tokens(job: Job) -> int:
    """Places of a global batch, padding included: what is computed."""
    return job.phase.global_batch * job.train.sequence_length


def precision_of(phase: Phase, ranks: Ranks) -> torch.dtype | None:
    """What matrices are multiplied in; None for float32 throughout."""
    wants = phase.precision == "bf16" or (phase.precision == "auto" and ranks.device.type == "cuda")
    return torch.bfloat16 if wants else None

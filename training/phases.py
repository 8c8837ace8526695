"""The phases of one recipe on this rank: each trains in a folder of its own, and a finished one is not run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.config import Phase
from training.folder import MODEL
from training.job import Job, Observe
from training.learner import Learner
from training.ranks import Ranks
from training.recipe import Data
from training.trainer import Trainer


class Phases:
    """Runs phases one after another and remembers what they reached."""

    def __init__(self, output: Path, data: Data, ranks: Ranks, observe: Observe) -> None:
        self.output, self.data, self.ranks, self.observe = output, data, ranks, observe
        self.summaries: dict[str, dict[str, Any]] = {}

    def phase(
        self,
        name: str,
        settings: Phase,
        learner: Learner,
        origin: str,
        reference: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Run a phase, or read the summary of a finished one.

        ``origin``: identity of the weights it starts from and of all that ``learner`` depends on. ``reference``: losses
        that ``settings.dynamic`` holds the domains against.
        """
        job = Job(
            name=name,
            folder=self.output / name,
            phase=settings,
            learner=learner,
            origin=origin,
            train=self.data.train,
            held_out=self.data.held_out,
            reference=reference or {},
        )
        self.summaries[name] = Trainer(job, self.ranks, self.observe).run()
        return self.summaries[name]

    def model(self, name: str) -> Path:
        """Where a finished phase left its model."""
        return self.output / name / MODEL

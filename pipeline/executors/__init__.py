"""Who does the work: plain processes on this machine, or Ray. Both run the same units and pass the same test suite."""

from __future__ import annotations

from pipeline.executors.base import Executor, Failure, Outcome
from pipeline.executors.local import LocalExecutor
from pipeline.executors.ray import RayExecutor
from pipeline.manifest import ExecutorConfig

__all__ = ["Executor", "Failure", "LocalExecutor", "Outcome", "RayExecutor", "make_executor"]


def make_executor(config: ExecutorConfig) -> Executor:
    """The executor that the manifest asks for; nothing is started before it is entered."""
    if config.kind == "local":
        return LocalExecutor(workers=config.workers)
    return RayExecutor(workers=config.workers, dashboard=config.dashboard)

"""Ray: this machine by default, or the cluster that the environment variable RAY_ADDRESS names.

Tasks carry paths, never data, so nothing large passes through the object store. Retries are ours, not Ray's, so that
every executor counts them alike. A Ray started here binds to loopback only and sends no usage reports; Ray's token
authentication stays on. Metrics: counters ``pipeline_documents`` and ``pipeline_bytes`` by phase, outcome and
reason (the rule that turned documents down, which names its stage).
"""

from __future__ import annotations

import os
import zlib
from types import TracebackType
from typing import Any

from corpus.errors import RunError
from corpus.ledger import Ledger
from pipeline.executors.base import Failure, Outcome
from pipeline.funnel import reasons
from pipeline.task import Place, Report, Task, execute

OBJECT_STORE_BYTES = 128 << 20  # only task arguments and reports live there


class Worker:
    """A long-lived worker: what a task has opened stays open for the next one. Ray makes it an actor."""

    def execute(self, task: Task, place: Place) -> Report:
        """Do a task."""
        return execute(task, place)


class RayExecutor:
    """Runs tasks as Ray tasks of one CPU each, named by phase; those with an affinity in actors, one per slot.

    Actors hold no CPU while they wait, so that they never keep a task from running; they go with the executor.
    """

    def __init__(self, *, workers: int | None = None, dashboard: bool = True) -> None:
        self.slots = workers or 1
        self._workers, self._dashboard = workers, dashboard
        self._pending: dict[Any, Task] = {}
        self._actors: dict[tuple[int, float], Any] = {}
        self._started_here, self._address = False, ""
        self._counters: tuple[Any, Any] | None = None

    def __enter__(self) -> RayExecutor:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not os.environ.get("RAY_ADDRESS"):
            _bind_to_loopback()
        import ray

        if not ray.is_initialized():
            self._connect()
        self.slots = self._workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        tags = ("phase", "outcome", "reason")
        from ray.util.metrics import Counter

        self._counters = (
            Counter("pipeline_documents", description="Documents by phase, outcome and reason", tag_keys=tags),
            Counter("pipeline_bytes", description="Payload bytes by phase, outcome and reason", tag_keys=tags),
        )
        self._remote = ray.remote(execute)
        return self

    def _connect(self) -> None:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if os.environ.get("RAY_ADDRESS"):
            try:
                context = ray.init(**quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise RunError(
                    f"cannot reach the Ray cluster: {error}",
                    where=f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}",
                    fix="check the address; where the cluster asks for a token, set RAY_AUTH_MODE=token and put the "
                    "token into RAY_AUTH_TOKEN or ~/.ray/auth_token",
                ) from None
        else:
            context = ray.init(
                address="local",
                num_cpus=self._workers or len(os.sched_getaffinity(0)),
                include_dashboard=self._dashboard,
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
        self._started_here = True
        self._address = str(context.dashboard_url or "")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        if self._started_here:
            ray.shutdown()

    def submit(self, task: Task, place: Place) -> None:
        name = f"{task.phase}: {task.label}"
        if task.affinity:
            handle = self._actor(task).execute.options(name=name).remote(task, place)
        else:
            options = self._remote.options(name=name, num_cpus=1, num_gpus=task.gpus, max_retries=0)
            handle = options.remote(task, place)
        self._pending[handle] = task

    def _actor(self, task: Task) -> Any:
        import ray

        key = self._actor_key(task)
        if key not in self._actors:
            self._actors[key] = ray.remote(num_cpus=0, num_gpus=task.gpus)(Worker).remote()
        return self._actors[key]

    def _actor_key(self, task: Task) -> tuple[int, float]:
        return zlib.crc32(task.affinity.encode()) % self.slots, task.gpus

    def next_outcome(self) -> Outcome:
        import ray
        from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

        (ready,), _ = ray.wait(list(self._pending), num_returns=1)
        task = self._pending.pop(ready)
        try:
            return Outcome(task, report=ray.get(ready))
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError, RayActorError) as error:
            self._actors.pop(self._actor_key(task), None)
            return Outcome(task, failure=Failure("died", str(error).splitlines()[0]))
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BaseException) else error
            return Outcome(task, failure=Failure("error", str(error), cause))

    def describe(self) -> str:
        where = f"cluster {os.environ['RAY_ADDRESS']}" if os.environ.get("RAY_ADDRESS") else "this machine"
        line = f"Ray on {where}, {self.slots} tasks at a time"
        return f"{line}, dashboard http://{self._address} (token: `ray get-auth-token`)" if self._address else line

    def observe(self, phase: str, ledger: Ledger) -> None:
        assert self._counters is not None
        documents, payload = self._counters
        for outcome, reason, counts in (("kept", "", ledger.kept), *reasons(ledger)):
            tags = {"phase": phase, "outcome": outcome, "reason": reason}
            if counts.documents:
                documents.inc(counts.documents, tags)
            if counts.bytes:
                payload.inc(counts.bytes, tags)


def _bind_to_loopback() -> None:
    """Without a cluster in sight every server of Ray binds to 127.0.0.1, so that nobody else can hand it code."""
    # Ray has no argument for this: the processes it starts read the variable, this one read it when it imported ray
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False

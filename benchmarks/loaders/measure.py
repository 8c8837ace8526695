"""Starting candidates in processes of their own: orders, answers, memory from outside, and kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.loaders.child import MARK

TIMEOUT = 900.0
LOOK_EVERY = 0.1
ROOT = Path(__file__).parents[2]


class ChildError(Exception):
    """A child gave no result; the message is the last line that it said."""


@dataclass(frozen=True)
class Bench:
    """Where children run and what all of them open."""

    python: str
    core: int
    folder: Path
    weights: Mapping[str, float]
    batch: int
    length: int

    def order(self, candidate: str, task: str, **more: Any) -> dict[str, Any]:
        """An order for a child; ``batch``, ``rank`` and ``world`` change what is opened."""
        spec = {"folder": str(self.folder), "weights": dict(self.weights), "batch": self.batch, "length": self.length}
        spec |= {key: more.pop(key) for key in ("batch", "rank", "world") if key in more}
        return {"candidate": candidate, "task": task, "core": self.core, "spec": spec, **more}

    def ask(self, candidate: str, task: str, **more: Any) -> Any:
        """Run one child to its end; its result, with ``peak_mb`` of its processes where it is a mapping."""
        with self.started(self.order(candidate, task, **more)) as child:
            peak = 0
            until = time.monotonic() + TIMEOUT
            while child.poll() is None and time.monotonic() < until:
                peak = max(peak, memory_of(child.pid))
                time.sleep(LOOK_EVERY)
            result = answer(child)
        return {**result, "peak_mb": peak / 1e6} if isinstance(result, dict) else result

    def ask_ranks(self, candidate: str, task: str, world: int, **more: Any) -> list[Any]:
        """Run the ranks of a world side by side; their results."""
        with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
            meet = f"{place}/meet"
            orders = [self.order(candidate, task, rank=r, world=world, meet=meet, **more) for r in range(world)]
            children = [stack.enter_context(self.started(order)) for order in orders]
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(TIMEOUT / 3)
            return [answer(child) for child in children]

    @contextlib.contextmanager
    def started(self, order: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
        """A child at work in a session of its own, of which nothing is left afterwards."""
        command = [self.python, "-m", "benchmarks.loaders.child", json.dumps(order)]
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
            child = subprocess.Popen(
                command, cwd=ROOT, env=self.environment(order), stdout=said, stderr=complained, start_new_session=True
            )
            child.said, child.complained = said, complained  # type: ignore[attr-defined]
            try:
                yield child
            finally:
                kill(child)

    def environment(self, order: dict[str, Any]) -> dict[str, str]:
        rank, world = (str(order["spec"].get(key, default)) for key, default in (("rank", 0), ("world", 1)))
        return {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1"),
            "PYTHONPATH": str(ROOT),
            "CORPUS_CACHE": str(self.folder / "cache"),
            "HF_HOME": str(self.folder / "hf"),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": world,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29531",
        }


def answer(child: subprocess.Popen[str]) -> Any:
    """The result in what a finished child said. Raises ``ChildError`` where there is none."""
    said, complained = (_text(child, stream) for stream in ("said", "complained"))
    found = [line for line in said.splitlines() if line.startswith(MARK)]
    if found:
        return json.loads(found[-1].removeprefix(MARK))
    lines = [line for line in complained.splitlines() if line.strip()]
    raise ChildError(lines[-1] if lines and child.returncode is not None else "no answer in time")


def _text(child: subprocess.Popen[str], stream: str) -> str:
    file = getattr(child, stream)
    file.seek(0)
    return str(file.read())


def kill(child: subprocess.Popen[str]) -> None:
    """SIGKILL for a child and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def memory_of(pid: int) -> int:
    """Bytes of a process and its descendants; pages that several share are counted once (proportional set size)."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(memory_of(int(child)) for child in children.read_text().split())
    return total

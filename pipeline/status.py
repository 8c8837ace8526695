"""What a run is doing, or did: a small file that the driver keeps fresh, and what readers make of it.

``StatusFile`` is a watcher: it rewrites ``.work/status.json`` (atomically, at most once a second) as tasks finish.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from corpus.commit import TaskRecord, current_manifest
from corpus.ledger import Ledger
from corpus.storage import LocalStore, Store

STATUS_FILE = ".work/status.json"
RUN_FILE = ".work/run.json"
WRITE_EVERY_S = 1.0


class StatusFile:
    """Watcher that keeps ``.work/status.json``."""

    def __init__(self, store: Store) -> None:
        self._store, self._written = store, 0.0
        self._state: dict[str, Any] = {}
        self._ledger = Ledger()

    def run_started(self, run_id: str, units: int, executor: str) -> None:
        self._state = {
            "run_id": run_id,
            "executor": executor,
            "pid": os.getpid(),
            "started": time.time(),
            "units": units,
            "phases": {},
            "trouble": [],
        }
        self._write()

    def phase_started(self, phase: str, total: int) -> None:
        self._ledger = Ledger()
        self._state["phases"][phase] = {"total": total, "done": 0, "resumed": 0, "ledger": None}
        self._write()

    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None:
        state = self._state["phases"][phase]
        state["done"] += 1
        state["resumed"] += resumed
        self._ledger = self._ledger + record.ledger
        state["ledger"] = self._ledger.summary()
        if time.monotonic() - self._written > WRITE_EVERY_S:
            self._write()

    def trouble(self, phase: str, label: str, message: str) -> None:
        self._state["trouble"] = [*self._state["trouble"][-99:], f"{phase}: {label}: {message}"]
        self._write()

    def phase_finished(self, phase: str) -> None:
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._store.swap(STATUS_FILE, json.dumps({**self._state, "updated": time.time()}).encode())


def read_status(store: Store) -> dict[str, Any]:
    """What is known about the output at ``store``: state, phases, trouble, and the published corpus if there is one."""
    status: dict[str, Any] = {"output": store.root, "state": "empty", "published": None}
    if store.exists(STATUS_FILE):
        status.update(_object(store.read(STATUS_FILE)))
        status["state"] = "running" if _is_running(store) else "stopped"
    manifest = current_manifest(store)
    if manifest is not None:
        status["published"] = {"digest": manifest.digest, "ledger": manifest.ledger.summary(), "name": manifest.name}
        if status["state"] != "running":
            status["state"] = "stopped" if _unfinished(store, manifest.digest, status.get("run_id")) else "published"
    return status


def _unfinished(store: Store, digest: str, run_id: object) -> bool:
    """Whether the newest run started is another one than the published run."""
    if not store.exists(RUN_FILE):
        return False
    last = _object(store.read(RUN_FILE))
    return bool(last.get("digest") != digest or (run_id is not None and last.get("run_id") != run_id))


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where the file is damaged: these files inform, nothing depends on them."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_running(store: Store) -> bool:
    if not isinstance(store, LocalStore):
        return False
    lock = FileLock(Path(store.root) / ".work" / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False

"""A killable child process for libraries that can hang, crash, leak or eat all memory. One per worker.

Two clocks watch a request. CPU seconds, counted inside the child, decide: they barely depend on how busy the machine
is, so the same page meets the same end everywhere, and with seconds where the typical page takes 15 ms only
pathological pages meet it. A wall clock, far more generous, is only there so that a stopped child cannot stop the
worker; it raises ``Overrun`` with ``cause="wall"``, which callers must not turn into a different text, because it says
something about the machine and nothing about the page.

The child is its own session (a kill takes its offspring along), is spawned with a fresh interpreter (no fork of a
threaded process), dies with its parent, and is replaced after ``recycle`` requests because libraries leak. A child that
dies from a signal gets the same request once more in a fresh process before the page is blamed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from corpus.errors import StageError
from stages.extract import child_main
from stages.extract.child_main import HEADER

Cause = Literal["cpu", "memory", "crash", "error", "wall"]

START_SECONDS = 120.0
CHUNK = 1 << 16


class Overrun(Exception):  # noqa: N818 - it is an outcome, not an error of the program
    """A request that the child did not survive or could not answer. ``cause`` says why, ``detail`` is for people."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause, self.detail = cause, detail


class _DiedError(Exception):
    """The child is gone."""


@dataclass
class Child:
    """``function`` (``module:name``, takes and returns a JSON object) served by a child process.

    ``cpu_seconds`` and ``memory`` (bytes of address space) are per request and per process. Starts on first use;
    safe to share between threads, which then wait for each other.
    """

    function: str
    cpu_seconds: float = 10.0
    memory: int = 2 << 30
    recycle: int = 1000
    wall_seconds: float | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _served: int = field(default=0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to ``request``. Raises ``Overrun``; whatever happens, the next request finds a working child."""
        with self._lock:
            for attempt in (1, 2):
                try:
                    return self._ask_once(request)
                except _DiedError:
                    returned = self._stop()
                    if returned == -signal.SIGPROF:
                        raise Overrun("cpu", f"more than {self.cpu_seconds:g} s of CPU time") from None
                    if attempt == 2:
                        raise Overrun("crash", _name_of_exit(returned)) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Kill the child, if there is one. It starts again when asked."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_once(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._started()
        try:
            answer = self._exchange(process, request, time.monotonic() + self._wall())
        except Overrun:
            self._stop()
            raise
        self._served += 1
        if "result" in answer:
            result: dict[str, Any] = answer["result"]
            return result
        if answer["failed"] == "memory":
            self._stop()
        raise Overrun(answer["failed"], answer["detail"])

    def _wall(self) -> float:
        return self.wall_seconds if self.wall_seconds is not None else 60 + 12 * self.cpu_seconds

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._served >= self.recycle:
            self._stop()
        if self._process is None:
            self._process, self._served = self._spawn(), 0
            try:
                _read_frame(self._process, time.monotonic() + START_SECONDS)
            except (_DiedError, Overrun):
                returned = self._stop()
                raise StageError(
                    f"the extraction child does not start ({_name_of_exit(returned)})",
                    where=self.function,
                    fix=f"run: {sys.executable} -m stages.extract.child_main {self.function} 10 {self.memory}",
                ) from None
        return self._process

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(child_main.__file__)), self.function]  # by path: imports no package
        command += [str(self.cpu_seconds), str(self.memory)]
        here = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **here},
            start_new_session=True,
            bufsize=0,
        )
        for stream in (process.stdin, process.stdout):
            os.set_blocking(stream.fileno(), False)  # type: ignore[union-attr]
        return process

    def _exchange(self, process: subprocess.Popen[bytes], request: dict[str, Any], until: float) -> dict[str, Any]:
        body = json.dumps(request).encode()
        _write(process, HEADER.pack(len(body)) + body, until)
        return _read_frame(process, until)

    def _stop(self) -> int | None:
        """Kill the child's whole session and reap it; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        returned = process.poll()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        return process.returncode if returned is None else returned

    def __del__(self) -> None:
        self._stop()


def _write(process: subprocess.Popen[bytes], data: bytes, until: float) -> None:
    view = memoryview(data)
    assert process.stdin is not None
    while view:
        _wait(process.stdin.fileno(), selectors.EVENT_WRITE, until)
        try:
            view = view[os.write(process.stdin.fileno(), view[:CHUNK]) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            raise _died(process) from None


def _read_frame(process: subprocess.Popen[bytes], until: float) -> dict[str, Any]:
    header = _read(process, HEADER.size, until)
    message: dict[str, Any] = json.loads(_read(process, HEADER.unpack(header)[0], until))
    return message


def _read(process: subprocess.Popen[bytes], size: int, until: float) -> bytes:
    data = bytearray()
    assert process.stdout is not None
    while len(data) < size:
        _wait(process.stdout.fileno(), selectors.EVENT_READ, until)
        try:
            chunk = os.read(process.stdout.fileno(), min(CHUNK, size - len(data)))
        except BlockingIOError:
            continue
        if not chunk:
            raise _died(process)
        data += chunk
    return bytes(data)


def _died(process: subprocess.Popen[bytes]) -> _DiedError:
    """Give a dying child a moment, so that its own exit status is seen and not that of the kill to come."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    return _DiedError()


def _wait(descriptor: int, event: int, until: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        if not selector.select(max(0.0, until - time.monotonic())):
            raise Overrun("wall", "no answer within the wall-clock limit")


def _name_of_exit(returned: int | None) -> str:
    if returned is not None and returned < 0:
        return f"killed by {signal.Signals(-returned).name}"
    return f"exit status {returned}"

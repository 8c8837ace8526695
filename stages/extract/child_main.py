"""The process on the other end of ``child.Child``: answers requests one by one and dies when it should.

Run by path, ``python child_main.py MODULE:FUNCTION CPU_SECONDS MEMORY``, so that it imports nothing it does not need.
Frames are a four-byte big-endian length and JSON. What libraries print goes to stderr, never into the answers. The CPU
clock of a request that runs over ends the process (SIGPROF, default action), even inside C code that never comes back
to Python.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1
HEADER = struct.Struct(">I")
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def main(argv: list[str]) -> None:
    """Serve until stdin closes."""
    function, cpu_seconds, memory = argv[0], float(argv[1]), int(argv[2])
    _die_with_parent()
    sys.path.pop(0)  # this file's own folder: its modules are not top-level ones
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    module, _, name = function.partition(":")
    answer: Answer = getattr(importlib.import_module(module), name)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    send(answers, {"ready": True})
    while (request := receive(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        reply = _guarded(answer, request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(answers, reply)


def _guarded(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": answer(request)}
    except MemoryError:
        return {"failed": "memory", "detail": "MemoryError"}
    except Exception as error:  # a library may raise anything on a hostile page; the parent decides what it means
        return {"failed": "error", "detail": f"{type(error).__name__}: {error}"[:500]}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def send(stream: BinaryIO | Any, message: dict[str, Any]) -> None:
    """Write one frame."""
    body = json.dumps(message).encode()
    view = memoryview(HEADER.pack(len(body)) + body)
    while view:
        view = view[stream.write(view) :]


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one frame; None when the other side is gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    message: dict[str, Any] = json.loads(stream.read(HEADER.unpack(header)[0]))
    return message


if __name__ == "__main__":
    main(sys.argv[1:])

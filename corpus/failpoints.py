"""Named places where a test can make the process die, to prove that a crash there loses nothing.

``CORPUS_CRASH_AT=<name>:<nth>`` kills the process (SIGKILL to itself) at the nth passage of that point in it. With a
counter folder in ``CORPUS_CRASH_ONCE`` the crash happens in one process of the run only: the first that gets to create
the marker file. ``CORPUS_CRASH_ON_URL=<text>`` kills any process that measures a document whose URL contains the text.
Unset, a failpoint costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyarrow as pa

_passed: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Die here if the environment asks for it."""
    wanted = os.environ.get("CORPUS_CRASH_AT")
    if wanted is None:
        return
    point, _, nth = wanted.partition(":")
    if point != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == int(nth or 1) and _claim():
        os.kill(os.getpid(), signal.SIGKILL)


def poison(batch: pa.Table) -> None:
    """Die if one of the documents is the poisonous one that the environment names."""
    wanted = os.environ.get("CORPUS_CRASH_ON_URL")
    if wanted and any(url is not None and wanted in url for url in batch.column("url").to_pylist()):
        os.kill(os.getpid(), signal.SIGKILL)


def _claim() -> bool:
    marker = os.environ.get("CORPUS_CRASH_ONCE")
    if marker is None:
        return True
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

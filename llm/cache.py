"""Answers that were given already, so that a run that goes on asks nothing twice.

An SQLite file: safe to kill at any time, and with several processes of one machine (its log, WAL, needs a local disk).
The key is a hash of everything that an answer depends on: model, face, messages, sampling with its seed, wanted form.
Neither addresses nor keys are in it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from corpus.errors import StorageError
from llm.config import Endpoint

if TYPE_CHECKING:
    from llm.client import Generation, Request

_TABLE: Final = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"
_PATIENCE_S: Final = 60  # for another process that writes
_STORED: Final = ("text", "finish", "prompt_tokens", "completion_tokens", "model", "engine", "sampling_seed")


def request_key(endpoint: Endpoint, request: Request) -> str:
    """sha256 over all that decides an answer."""
    parts = {
        "model": endpoint.model,
        "face": endpoint.face,
        "messages": [list(message) for message in request.messages],
        "sampling": request.sampling.model_dump(mode="json"),
        "schema": request.schema,
        "choices": request.choices,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ResponseCache:
    """A file of answers by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error, fix="name a folder that can be written to") from None
        # one process at a time: SQLite does not wait for another one that changes the mode of its log
        with FileLock(f"{path}.lock"), self._open() as base:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute(_TABLE)

    def get(self, key: str) -> Generation | None:
        """The stored answer. Raises ``StorageError`` for a damaged file."""
        from llm.client import Generation

        with self._open() as base:
            row = base.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            stored = json.loads(row[0])
            return Generation(value=None, **{name: stored[name] for name in _STORED})

    def put(self, key: str, answer: Generation) -> None:
        """Store an answer; the first one stays."""
        text = json.dumps({name: getattr(answer, name) for name in _STORED})
        with self._open() as base:
            base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, text))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            # a connection each time: the object travels between threads and processes
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE_S, isolation_level=None)) as base:
                yield base
        except sqlite3.OperationalError as error:  # locked, read-only, disk full: what is stored is sound
            raise _unusable(self.path, error, fix="see to room and rights on its disk, then run again") from None
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            fix = "delete it (and its -wal and -shm): everything is asked again"
            raise _unusable(self.path, error, fix=fix) from None


def _unusable(path: Path, error: Exception, *, fix: str) -> StorageError:
    return StorageError(f"the file of stored answers cannot be used: {error}", where=str(path), fix=fix)

"""The files of a corpus: that they are the recorded ones, and open readers for threads.

Before training starts every file is compared with its record: size always, and with ``full`` the sha256 too. A local
file that was hashed once is not hashed again while size and time of change stay the same (the note is kept in the cache
folder of the user); remote files are copied to that folder when they are first read, and hashed then.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from corpus.errors import StorageError
from corpus.shards import ShardReader
from corpus.storage import FileEntry, LocalStore, Store, cache_folder, local_copy, sha256_of

Verify = Literal["full", "size"]
Tell = Callable[[str], None]
OPEN_FILES = 32
"""Readers that one thread keeps open."""


def silent(line: str) -> None:
    """Tell nobody."""


def check_files(store: Store, entries: Sequence[FileEntry], verify: Verify, tell: Tell = silent) -> None:
    """Raise one ``StorageError`` that names every file which is missing or is not the recorded one."""
    faults = [fault for entry in entries if (fault := _size_fault(store, entry))]
    if not faults and verify == "full" and isinstance(store, LocalStore):
        faults = _hash_faults(Path(store.root), entries, tell)
    if faults:
        raise StorageError(
            f"{len(faults)} of {len(entries)} files of this corpus are not the recorded ones\n  " + "\n  ".join(faults),
            where=store.root,
            fix="run the manifest that made the corpus again: what is missing or altered is made anew",
        )


def _size_fault(store: Store, entry: FileEntry) -> str | None:
    try:
        size = store.size(entry.name)
    except FileNotFoundError:
        return f"{entry.name} is missing"
    return None if size == entry.bytes else f"{entry.name} has {size} bytes instead of {entry.bytes}"


def _hash_faults(root: Path, entries: Sequence[FileEntry], tell: Tell) -> list[str]:
    known = _Notes()
    faults, fresh = [], 0
    for entry in entries:
        path = root / entry.name
        if known.has(path, entry.sha256):
            continue
        fresh += entry.bytes
        digest = sha256_of(path)
        if digest == entry.sha256:
            known.add(path, digest)
        else:
            faults.append(f"{entry.name} was altered: sha256 {digest[:12]} instead of {entry.sha256[:12]}")
    if fresh:
        tell(f"hashed {fresh / 1e6:.0f} MB of shards; unchanged files are not hashed again")
        known.save()
    return faults


def local_sha256(paths: Sequence[Path]) -> list[str]:
    """sha256 of local files, from the notes where they have not changed since."""
    known = _Notes()
    found = []
    for path in paths:
        digest = known.get(path)
        if digest is None:
            digest = sha256_of(path)
            known.add(path, digest)
        found.append(digest)
    known.save()
    return found


class _Notes:
    """Which files were hashed: path, size, time of change, inode -> sha256. Losing the notes costs time only."""

    def __init__(self) -> None:
        self._path = cache_folder() / "hashed.json"
        try:
            self._notes: dict[str, list[str | int]] = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            self._notes = {}
        self._changed = False

    @staticmethod
    def _state(path: Path) -> list[str | int]:
        found = path.stat()
        return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]

    def get(self, path: Path) -> str | None:
        note = self._notes.get(str(path.absolute()))
        return str(note[0]) if note and note[1:] == self._state(path) else None

    def has(self, path: Path, sha256: str) -> bool:
        return self.get(path) == sha256

    def add(self, path: Path, sha256: str) -> None:
        self._notes[str(path.absolute())] = [sha256, *self._state(path)]
        self._changed = True

    def save(self) -> None:
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            LocalStore(str(self._path.parent)).swap(self._path.name, json.dumps(self._notes).encode())
            self._changed = False


class OpenFiles:
    """Readers of a corpus's Parquet files, one set per thread: a reader must not be shared between threads."""

    def __init__(self, store: Store, entries: Sequence[FileEntry]) -> None:
        self._store, self._entries = store, tuple(entries)
        self._local = threading.local()

    def __getstate__(self) -> tuple[Store, tuple[FileEntry, ...]]:
        return self._store, self._entries

    def __setstate__(self, state: tuple[Store, tuple[FileEntry, ...]]) -> None:
        self._store, self._entries = state
        self._local = threading.local()

    def name(self, number: int) -> str:
        """Where file ``number`` lies, for messages."""
        return f"{self._store.root}/{self._entries[number].name}"

    def reader(self, number: int) -> ShardReader:
        """A reader of file ``number`` for this thread. Remote files are copied and hashed first."""
        # a forked process inherits open files together with their position: it needs files of its own
        mine = self._local.__dict__
        if mine.get("process") != os.getpid():
            mine.update(process=os.getpid(), readers=OrderedDict())
        readers: OrderedDict[int, ShardReader] = mine["readers"]
        if number not in readers:
            # a file of Arrow's own: reading it leaves Python's lock alone, and it closes with its reader
            readers[number] = ShardReader(pa.OSFile(str(self.path(number))), check_pages=True)
            if len(readers) > OPEN_FILES:
                readers.popitem(last=False)
        readers.move_to_end(number)
        return readers[number]

    def path(self, number: int) -> Path:
        """A local path of file ``number``; of a remote one that of its checked copy."""
        entry = self._entries[number]
        if isinstance(self._store, LocalStore):
            return Path(self._store.root) / entry.name
        return local_copy(self._store, entry)

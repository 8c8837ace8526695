"""How work becomes visible: task records, the corpus manifest, and the one pointer that readers follow.

    <root>/.work/<phase>/<key>/...      files of one finished task, and task.json, written last
    <root>/documents/*.parquet          what is kept           \\
    <root>/rejected/*.parquet           the rest, with reason   } linked from .work when the run commits
    <root>/quarantine/*.parquet         raw bytes of the sick  /
    <root>/queries/, rounds/, control/  of a harvest: what was asked, how it came about, a sample to compare with
    <root>/tokens/              of a token corpus: its shards, tokenizer and index
    <root>/manifests/<digest>.json      one version of the corpus: every file with sha256, rows, bytes; the ledger
    <root>/CURRENT                      the digest of the version in force; replaced atomically

A task is finished when its record exists: everything it names was published before. A run is finished when ``CURRENT``
names its manifest. Crash points in order, and what a restart finds: before the record - the task is done again, its
files are the same bytes and link onto themselves; between records - only missing tasks are done; between manifest and
pointer - the pointer is swapped again; after the pointer - superseded files are removed by the next start.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from corpus.errors import StorageError
from corpus.failpoints import failpoint
from corpus.ledger import Ledger
from corpus.storage import FileEntry, Store, fetch, publish_bytes

PUBLISHED = ("documents", "rejected", "quarantine", "queries", "rounds", "control", "tokens")
CURRENT = "CURRENT"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDERS = "|".join(PUBLISHED)
_SHARD = re.compile(rf"(?:{_FOLDERS})/(?:part-\d{{5,}}-[0-9a-f]{{8}}\.parquet|(?:index|tokenizer)-[0-9a-f]{{8}}\.json)")


class TaskRecord(BaseModel):
    """What a finished task left behind. Deterministic: no time, host or attempt in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str
    key: str
    label: str
    files: dict[str, FileEntry]
    ledger: Ledger = Ledger()
    facts: dict[str, Any] = {}

    def file(self, role: str) -> FileEntry:
        """The file this task wrote under the role ``role`` (``live``, ``rejected``, ``bands`` ...)."""
        return self.files[role]


class CorpusManifest(BaseModel):
    """One immutable version of a corpus. Its digest identifies the corpus, bit for bit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    name: str
    files: dict[str, tuple[FileEntry, ...]]
    ledger: Ledger
    stages: tuple[dict[str, Any], ...]
    harvest: dict[str, Any] | None = None
    code: str

    def canonical(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON of this manifest."""
        return hashlib.sha256(self.canonical()).hexdigest()


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no blanks, UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def task_folder(phase: str, key: str) -> str:
    return f".work/{phase}/{key}"


def commit_task(store: Store, record: TaskRecord) -> TaskRecord:
    """Publish a task's record. From here on the task is finished."""
    failpoint("task.before_record")
    data = canonical_json(record.model_dump(mode="json"))
    publish_bytes(store, data, f"{task_folder(record.phase, record.key)}/task.json")
    failpoint("task.after_record")
    return record


def finished_task(store: Store, phase: str, key: str) -> TaskRecord | None:
    """The record of a finished task whose files are all there with the recorded size; None if it must be done.

    Contents are compared with their sha256 when they are read (``corpus.storage.fetch``) and by ``pipeline verify``.
    """
    name = f"{task_folder(phase, key)}/task.json"
    if not store.exists(name):
        return None
    try:
        record = TaskRecord.model_validate_json(store.read(name))
        sound = all(store.size(entry.name) == entry.bytes for entry in record.files.values())
    except (ValidationError, FileNotFoundError):
        sound = False
    if sound:
        return record
    forget_task(store, phase, key)
    return None


def forget_task(store: Store, phase: str, key: str) -> None:
    """Remove a task's files, record first, so that it is done again."""
    folder = task_folder(phase, key)
    store.remove(f"{folder}/task.json")
    for name in store.names(folder):
        store.remove(name)


def publish_corpus(store: Store, manifest: CorpusManifest, links: Mapping[str, str]) -> str:
    """Make ``manifest`` the current version. ``links`` maps published names to the work files they come from.

    Returns the digest. Safe to repeat. Files that only an older version names are removed afterwards.
    """
    entries = {entry.name: entry for kind in manifest.files.values() for entry in kind}
    for name, source in sorted(links.items()):
        if not store.exists(name):  # a work file may have rotted since it was written
            with fetch(store, entries[name].model_copy(update={"name": source})):
                pass
        store.link(source, name)
    failpoint("run.before_manifest")
    digest = manifest.digest
    publish_bytes(store, manifest.canonical(), f"manifests/{digest}.json")
    failpoint("run.before_pointer")
    store.swap(CURRENT, f"{digest}\n".encode())
    failpoint("run.after_pointer")
    remove_superseded(store, manifest)
    return digest


def current_manifest(store: Store) -> CorpusManifest | None:
    """The version in force, checked against its digest; None where nothing has been published yet."""
    if not store.exists(CURRENT):
        return None
    digest = store.read(CURRENT).decode(errors="replace").strip()
    if not _DIGEST.fullmatch(digest):
        raise StorageError("CURRENT holds no digest", where=store.root, fix="run the manifest again: it is rewritten")
    try:
        data = store.read(f"manifests/{digest}.json")
    except FileNotFoundError:
        raise StorageError(f"CURRENT names manifest {digest[:12]}, which is missing", where=store.root) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise StorageError(f"manifest {digest[:12]} was changed after it was written", where=store.root)
    return CorpusManifest.model_validate_json(data)


def published_names(manifest: CorpusManifest) -> set[str]:
    """Every published file name of one version."""
    return {entry.name for entries in manifest.files.values() for entry in entries}


def stray_files(store: Store, manifest: CorpusManifest) -> list[str]:
    """Files in the published folders that the manifest does not name."""
    wanted = published_names(manifest)
    return [name for folder in PUBLISHED for name in _names(store, folder) if name not in wanted]


def remove_superseded(store: Store, manifest: CorpusManifest) -> None:
    """Remove published files of earlier versions. Files that no run can have written are left alone."""
    for name in stray_files(store, manifest):
        if _SHARD.fullmatch(name):
            store.remove(name)


def _names(store: Store, folder: str) -> Iterable[str]:
    with suppress(FileNotFoundError):
        return store.names(folder)
    return ()

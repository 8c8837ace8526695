"""Work becomes visible all at once, survives a crash at every named point, and never half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from corpus.commit import (
    CorpusManifest,
    TaskRecord,
    commit_task,
    current_manifest,
    finished_task,
    publish_corpus,
    stray_files,
)
from corpus.errors import StorageError
from corpus.ledger import Count, Ledger
from corpus.storage import open_store, publish_bytes

SCRIPT = """
import sys
from corpus.commit import *
from corpus.ledger import *
from corpus.storage import *
store = open_store(sys.argv[1])
entry = publish_bytes(store, b"rows", ".work/p/k/live.parquet")
record = commit_task(store, TaskRecord(phase="p", key="k", label="unit", files={"live": entry}))
shard = entry.model_copy(update={"name": "documents/part-0.parquet"})
manifest = CorpusManifest(name="t", files={"documents": (shard,)}, ledger=Ledger(), stages=(), code="c")
print(publish_corpus(store, manifest, {shard.name: entry.name}))
"""
POINTS = [
    "publish.before_hash:1",
    "publish.before_link:1",
    "publish.after_link:1",
    "publish.after_link:2",
    "task.before_record:1",
    "run.before_manifest:1",
    "run.before_pointer:1",
    "swap.before_rename:1",
    "run.after_pointer:1",
]


def attempt(root, point=None):
    environment = {**os.environ, **({"CORPUS_CRASH_AT": point} if point else {})}
    command = [sys.executable, "-c", SCRIPT, str(root)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_leaves_nothing_half_and_a_second_try_gives_the_same_corpus(tmp_path, point):
    undisturbed = attempt(tmp_path / "calm").stdout
    assert attempt(tmp_path / "out", point).returncode == -signal.SIGKILL
    store = open_store(str(tmp_path / "out"))
    seen = current_manifest(store)
    if seen is not None:
        assert point == "run.after_pointer:1"
        assert all(store.size(entry.name) == entry.bytes for entry in seen.files["documents"])
    assert attempt(tmp_path / "out").stdout == undisturbed
    assert stray_files(store, current_manifest(store)) == []


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


@pytest.fixture
def record(store):
    entry = publish_bytes(store, b"rows", ".work/documents/k/live.parquet")
    return commit_task(store, TaskRecord(phase="documents", key="k", label="unit", files={"live": entry}))


def test_a_committed_task_is_found_again(store, record):
    assert finished_task(store, "documents", "k") == record
    assert finished_task(store, "documents", "other") is None


def test_a_task_whose_file_was_cut_is_forgotten_and_done_again(store, record):
    store.swap(record.file("live").name, b"row")
    assert finished_task(store, "documents", "k") is None
    assert store.names(".work/documents/k") == []


def test_a_task_whose_file_is_gone_is_done_again(store, record):
    store.remove(record.file("live").name)
    assert finished_task(store, "documents", "k") is None


def test_a_task_with_an_unreadable_record_is_done_again(store, record):
    store.swap(".work/documents/k/task.json", b'{"phase": "docu')
    assert finished_task(store, "documents", "k") is None


def manifest(store, name, data):
    entry = publish_bytes(store, data, f".work/publish/{name}/shard.parquet")
    shard = entry.model_copy(update={"name": f"documents/{name}.parquet"})
    ledger = Ledger(read=Count(1, 1), kept=Count(1, 1))
    return CorpusManifest(name="t", files={"documents": (shard,)}, ledger=ledger, stages=(), code="c"), {
        shard.name: entry.name
    }


def test_a_new_version_replaces_the_old_one_and_removes_its_files_and_no_others(store):
    store.swap("documents/thesis.docx", b"not ours")
    publish_corpus(store, *manifest(store, "part-00000-00000000", b"1"))
    digest = publish_corpus(store, *manifest(store, "part-00000-ffffffff", b"2"))
    assert current_manifest(store).digest == digest
    assert store.names("documents") == ["documents/part-00000-ffffffff.parquet", "documents/thesis.docx"]


def test_a_manifest_that_was_edited_is_refused(store):
    digest = publish_corpus(store, *manifest(store, "a", b"1"))
    edited = store.read(f"manifests/{digest}.json").replace(b'"name":"t"', b'"name":"u"')
    store.swap(f"manifests/{digest}.json", edited)
    with pytest.raises(StorageError, match="was changed"):
        current_manifest(store)
    store.remove(f"manifests/{digest}.json")
    with pytest.raises(StorageError, match="is missing"):
        current_manifest(store)

"""Files appear whole, once, and never change; on local disk and on object storage alike."""

from __future__ import annotations

import os

import boto3
import pytest
from moto.server import ThreadedMotoServer

from corpus.errors import StorageError
from corpus.storage import FileEntry, LocalStore, Store, checked_name, fetch, open_store, publish_bytes, staging_folder


@pytest.fixture(scope="module")
def s3_endpoint():
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    kept = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    yield f"http://{host}:{port}"
    for name, value in kept.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    server.stop()


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "out"))
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"b{abs(hash(request.node.nodeid)) % 10**9}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return open_store(f"s3://{bucket}/corpus", {"client_kwargs": {"endpoint_url": endpoint}})


def test_what_is_published_can_be_fetched(store):
    entry = publish_bytes(store, b"text", "documents/a.parquet")
    with fetch(store, entry) as file:
        assert file.read() == b"text"
    assert store.names("documents") == ["documents/a.parquet"]
    assert store.size(entry.name) == 4


def test_publishing_the_same_bytes_twice_is_harmless(store):
    assert publish_bytes(store, b"text", "a") == publish_bytes(store, b"text", "a")


def test_publishing_other_bytes_under_a_taken_name_is_refused(store):
    publish_bytes(store, b"text", "a")
    with pytest.raises(StorageError, match="two results"):
        publish_bytes(store, b"other", "a")
    assert store.read("a") == b"text"


def test_a_changed_file_is_refused_before_anybody_parses_it(store):
    entry = publish_bytes(store, b"text", "a")
    store.swap("a", b"tex!")
    with pytest.raises(StorageError, match="not the file that was written"), fetch(store, entry):
        pytest.fail("the file was handed out")


def test_a_missing_file_is_named(store):
    entry = FileEntry(name="gone", sha256="0" * 64, bytes=1)
    with pytest.raises(StorageError, match="gone is missing"), fetch(store, entry):
        pytest.fail("a missing file was opened")


def test_a_pointer_can_be_swapped_and_a_link_follows_its_source(store):
    store.swap("CURRENT", b"one")
    store.swap("CURRENT", b"two")
    assert store.read("CURRENT") == b"two"
    publish_bytes(store, b"text", "work/a")
    store.link("work/a", "documents/a")
    store.link("work/a", "documents/a")
    assert store.read("documents/a") == b"text"


def test_removing_what_is_not_there_is_harmless(store):
    store.remove("nothing")
    assert not store.exists("nothing")


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/../../b", "a\0b", "a\\b", "a//b", "./a", "a/"])
def test_names_that_could_leave_the_folder_are_refused(name, tmp_path):
    with pytest.raises(StorageError, match="unsafe"):
        checked_name(name)
    with pytest.raises(StorageError, match="unsafe"):
        LocalStore(str(tmp_path)).read(name)


def test_staging_leaves_nothing_behind_even_after_an_error(store):
    with pytest.raises(ZeroDivisionError), staging_folder(store) as folder:
        (folder / "half").write_bytes(b"x")
        1 / 0  # noqa: B018
    assert not folder.exists()

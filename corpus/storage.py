"""A folder on local disk or object storage in which files appear whole, once, and never change.

Writers write to a local staging file and ``publish`` it: fsync, link without replacing, fsync of the directory (object
stores: one put after an existence check). Publishing the same bytes twice is harmless, which makes duplicate attempts
and retries safe; publishing *different* bytes under a name that exists is a determinism alarm and fails. The one file
that may be replaced is a pointer (``swap``). Readers get the bytes that were recorded, or an error: ``fetch`` compares
size and sha256 before anybody parses them.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from pydantic import BaseModel, ConfigDict

from corpus.errors import StorageError
from corpus.failpoints import failpoint

CHUNK = 1 << 20


class FileEntry(BaseModel):
    """A published file: enough to find it and to know that it is the one that was meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    bytes: int
    rows: int = 0


def checked_name(name: str) -> str:
    """``name`` if it is a relative, normalised path that stays inside its folder; ``StorageError`` otherwise."""
    path = PurePosixPath(name)
    bad = not name or name != str(path) or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name
    if bad:
        raise StorageError(f"unsafe file name {name!r}", fix="names inside a corpus are relative and normalised")
    return name


def sha256_of(path: Path) -> str:
    """Hex sha256 of a local file."""
    with path.open("rb") as file:
        return _sha256_of_stream(file)


def _sha256_of_stream(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


class Store(Protocol):
    """What the engine needs of a place to keep files. ``name`` is always relative to ``root``."""

    root: str

    def staging(self) -> Path: ...
    def exists(self, name: str) -> bool: ...
    def size(self, name: str) -> int: ...
    def read(self, name: str) -> bytes: ...
    def open(self, name: str) -> IO[bytes]: ...
    def names(self, folder: str) -> list[str]: ...
    def publish(self, staged: Path, name: str, *, sha256: str) -> None: ...
    def link(self, source: str, name: str) -> None: ...
    def swap(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


class LocalStore:
    """A folder on a local or shared POSIX file system."""

    def __init__(self, root: str) -> None:
        self.root = str(Path(root).absolute())

    def _path(self, name: str) -> Path:
        return Path(self.root) / checked_name(name)

    def staging(self) -> Path:
        """A fresh private folder on the same file system, so that publishing is a link and not a copy."""
        parent = Path(self.root) / ".work" / "staging"
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent))

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def size(self, name: str) -> int:
        return self._path(name).stat().st_size

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def open(self, name: str) -> IO[bytes]:
        return self._path(name).open("rb")

    def names(self, folder: str) -> list[str]:
        base = self._path(folder)
        return sorted(f"{folder}/{p.relative_to(base).as_posix()}" for p in base.rglob("*") if p.is_file())

    def publish(self, staged: Path, name: str, *, sha256: str) -> None:
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _fsync(staged)
        failpoint("publish.before_link")
        try:
            os.link(staged, target)
        except FileExistsError:
            if sha256_of(target) != sha256:
                raise _determinism_alarm(name) from None
        failpoint("publish.after_link")
        staged.unlink()
        _fsync(target.parent)

    def link(self, source: str, name: str) -> None:
        origin, target = self._path(source), self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(origin, target)
        except FileExistsError:
            if not target.samefile(origin) and sha256_of(target) != sha256_of(origin):
                raise _determinism_alarm(name) from None
        _fsync(target.parent)

    def swap(self, name: str, data: bytes) -> None:
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".swap-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        failpoint("swap.before_rename")
        Path(temporary).replace(target)
        _fsync(target.parent)

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)


class ObjectStore:
    """A prefix on object storage, through fsspec. Publishing is one put; pointers are replaced by a put.

    Object puts are atomic, so a reader sees a whole object or none. Two writers of one name race, but names are
    derived from content identity: both write the same bytes.
    """

    def __init__(self, root: str, options: dict[str, Any] | None = None) -> None:
        import fsspec

        self.root = root.rstrip("/")
        # listings are cached per process by default: another process's commits would stay invisible
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.root, use_listings_cache=False, **(options or {}))
        except (ValueError, ImportError) as error:
            raise StorageError(f"cannot open this place: {error}", where=self.root, fix="check the scheme") from None

    def _path(self, name: str) -> str:
        return f"{self._base}/{checked_name(name)}"

    def staging(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="corpus-staging-"))

    def exists(self, name: str) -> bool:
        self._fs.invalidate_cache()
        try:  # isfile() takes every error, a refused key or a lost network too, for "is not there"
            return bool(self._fs.info(self._path(name))["type"] == "file")
        except FileNotFoundError:
            return False

    def size(self, name: str) -> int:
        return int(self._fs.size(self._path(name)))

    def read(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(self._path(name)))

    def open(self, name: str) -> IO[bytes]:
        return io.BytesIO(self.read(name))

    def names(self, folder: str) -> list[str]:
        self._fs.invalidate_cache()
        base = self._path(folder)
        found = self._fs.find(base) if self._fs.exists(base) else []
        return sorted(f"{folder}/{path[len(base) + 1 :]}" for path in found)

    def publish(self, staged: Path, name: str, *, sha256: str) -> None:
        if self.exists(name):
            if hashlib.sha256(self.read(name)).hexdigest() != sha256:
                raise _determinism_alarm(name)
        else:
            self._fs.put_file(str(staged), self._path(name))
        staged.unlink()

    def link(self, source: str, name: str) -> None:
        self._fs.cp_file(self._path(source), self._path(name))

    def swap(self, name: str, data: bytes) -> None:
        self._fs.pipe_file(self._path(name), data)

    def remove(self, name: str) -> None:
        if self.exists(name):
            self._fs.rm_file(self._path(name))


def open_store(root: str, options: dict[str, Any] | None = None) -> Store:
    """The store at ``root``: a local path, or a URL with a scheme that fsspec knows (``s3://bucket/prefix``)."""
    if "://" in root and not root.startswith("file://"):
        return ObjectStore(root, options)
    return LocalStore(root.removeprefix("file://"))


@contextmanager
def staging_folder(store: Store) -> Iterator[Path]:
    """A private staging folder that is gone afterwards, whatever happened."""
    folder = store.staging()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish_file(store: Store, staged: Path, name: str, *, rows: int = 0) -> FileEntry:
    """Hash and publish a staged file; returns its entry."""
    failpoint("publish.before_hash")
    entry = FileEntry(name=name, sha256=sha256_of(staged), bytes=staged.stat().st_size, rows=rows)
    store.publish(staged, name, sha256=entry.sha256)
    return entry


def publish_bytes(store: Store, data: bytes, name: str) -> FileEntry:
    """Publish a small file from memory."""
    with staging_folder(store) as folder:
        staged = folder / "data"
        staged.write_bytes(data)
        return publish_file(store, staged, name)


@contextmanager
def fetch(store: Store, entry: FileEntry) -> Iterator[IO[bytes]]:
    """Open a recorded file for reading after checking that it is the recorded one."""
    try:
        file = store.open(entry.name)
    except FileNotFoundError:
        raise StorageError(
            f"{entry.name} is missing", where=store.root, fix="run the manifest again: the unit that made it is redone"
        ) from None
    with file:
        digest = _sha256_of_stream(file)
        if digest != entry.sha256:
            raise StorageError(
                f"{entry.name} is not the file that was written: sha256 {digest[:12]} instead of {entry.sha256[:12]}",
                where=store.root,
                fix="delete the file and run the manifest again: the unit that made it is redone",
            )
        file.seek(0)
        yield file


def cache_folder() -> Path:
    """Where copies and compiled lists are kept: ``$CORPUS_CACHE``, else in the cache folder of the user."""
    named = os.environ.get("CORPUS_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else base / "corpus-pipeline"


def local_copy(store: Store, entry: FileEntry) -> Path:
    """A local path of a recorded file, to map into memory: the file itself, or a checked copy of a remote one.

    Copies are kept in ``cache_folder``, named by their sha256.
    """
    if isinstance(store, LocalStore):
        with fetch(store, entry):
            return Path(store.root) / checked_name(entry.name)
    folder = cache_folder() / "files"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / entry.sha256
    if path.is_file() and path.stat().st_size == entry.bytes and sha256_of(path) == entry.sha256:
        return path
    with fetch(store, entry) as remote, tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        shutil.copyfileobj(remote, copy, CHUNK)
    Path(copy.name).replace(path)
    return path


def _determinism_alarm(name: str) -> StorageError:
    return StorageError(
        f"{name} exists with different content: the same work gave two results",
        fix="a stage is not deterministic, or the file was edited; move it away and run again to compare",
    )


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

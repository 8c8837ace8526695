"""Random access to the bytes of one file, wherever it lives.

Local files are read with ``pread`` (no mmap: a file that shrinks under us must raise, not kill the process); all
others go through fsspec, one ranged request at a time, retried with exponential backoff. Reads pass through a
window of read-ahead, so walking forward in small steps costs one request per window. Memory: one window.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from corpus.errors import SourceError

LOCAL_WINDOW = 1 << 20
REMOTE_WINDOW = 4 << 20
_ATTEMPTS = 6
_T = TypeVar("_T")


class FileFacts(NamedTuple):
    """What is known of a file before it is read."""

    path: str
    size: int
    fingerprint: str


def is_remote(path: str) -> bool:
    """True for ``scheme://...`` other than ``file://``."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> Path:
    """The local path behind ``path`` or ``file://path``."""
    return Path(path.removeprefix("file://"))


def filesystem(path: str, options: Mapping[str, str]) -> tuple[Any, str]:
    """The fsspec file system of a remote ``path`` and the path inside it.

    ``options`` go to the file system's constructor (``anon``, ``endpoint_url``, ...); ``true`` and ``false`` become
    booleans. Raises ``SourceError`` for an unknown protocol or one whose driver is not installed.
    """
    import fsspec

    arguments: dict[str, Any] = {k: {"true": True, "false": False}.get(v.lower(), v) for k, v in options.items()}
    protocol = path.partition("://")[0]
    try:
        fs = fsspec.filesystem(protocol, **(arguments if protocol not in ("http", "https") else {}))
    except (ValueError, ImportError) as error:
        raise SourceError(
            f"cannot open {protocol}:// paths: {error}", where=path, fix="check the spelling, or install the driver"
        ) from error
    return fs, fs._strip_protocol(path)


def facts(path: str, options: Mapping[str, str]) -> FileFacts:
    """Size and fingerprint. Local: xxh3_128 of the whole content. Remote: what the server says (ETag, size, time)."""
    if is_remote(path):
        fs, inner = filesystem(path, options)
        info: dict[str, Any] = _retry(path, lambda: fs.info(inner))
        if info.get("size") is None:
            raise SourceError("the server does not tell the size of this file", where=path, fix="copy it first")
        told = [str(info.get(key, "")) for key in ("ETag", "etag", "size", "LastModified", "mtime", "Last-Modified")]
        return FileFacts(path, int(info["size"]), _hash("|".join(told).encode()))
    try:
        return FileFacts(path, local_path(path).stat().st_size, _hash_file(local_path(path)))
    except OSError as error:
        raise SourceError(f"cannot read the file: {error.strerror}", where=path, fix="check path and rights") from error


def _hash(data: bytes) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(data)


def _hash_file(path: Path) -> str:
    import xxhash

    state = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(LOCAL_WINDOW):
            state.update(piece)
    return state.hexdigest()


class RangeReader:
    """Bytes of one file by position. ``size`` is its length; a context manager."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes], close: Callable[[], None], window: int) -> None:
        self.size = size
        self._fetch, self._close, self._ahead = fetch, close, window
        self._window = b""
        self._start = 0

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def view(self, offset: int, length: int) -> memoryview:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file. The view stays valid."""
        length = min(length, self.size - offset)
        if length <= 0:
            return memoryview(b"")
        inside = offset - self._start
        if inside < 0 or inside + length > len(self._window):
            # A long request brings more than it asks for, so that the next one, a little further on, is free.
            wanted = min(length + max(self._ahead, min(length, 4 << 20)), self.size - offset)
            self._window, self._start, inside = self._fetch(offset, wanted), offset, 0
        return memoryview(self._window)[inside : inside + length]

    def glimpse(self, offset: int, length: int) -> memoryview:
        """As ``view``, for a look at a distant place that must not cost the window."""
        length = min(length, self.size - offset)
        inside = offset - self._start
        if length <= 0 or 0 <= inside <= len(self._window) - length:
            return self.view(offset, length)
        return memoryview(self._fetch(offset, length))

    def find(self, needle: bytes, start: int, end: int) -> int:
        """Position of the first ``needle`` that begins in ``start <= position < end``; -1 where there is none."""
        while start < end:
            length = len(self.view(start, min(self._ahead, end - start + len(needle) - 1)))
            inside = start - self._start
            at = self._window.find(needle, inside, inside + length)
            if at >= 0:
                return self._start + at
            start += max(1, length - len(needle) + 1)
        return -1


def open_range(path: str, options: Mapping[str, str], size: int | None = None) -> RangeReader:
    """Open ``path`` for random access. Raises ``SourceError`` when it cannot be opened or shrinks while it is read."""
    if is_remote(path):
        return _open_remote(path, options, size)
    try:
        handle = os.open(local_path(path), os.O_RDONLY)
    except OSError as error:
        raise SourceError(f"cannot open the file: {error.strerror}", where=path, fix="check path and rights") from error
    known = os.fstat(handle).st_size

    def fetch(offset: int, length: int) -> bytes:
        parts = []
        while length:
            part = os.pread(handle, length, offset)
            if not part:
                raise SourceError("the file became shorter while it was read", where=path, fix="run again")
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return RangeReader(known, fetch, lambda: os.close(handle), LOCAL_WINDOW)


def _open_remote(path: str, options: Mapping[str, str], size: int | None) -> RangeReader:
    fs, inner = filesystem(path, options)
    known = int(_retry(path, lambda: fs.info(inner))["size"]) if size is None else size

    def fetch(offset: int, length: int) -> bytes:
        data: bytes = _retry(path, lambda: fs.cat_file(inner, start=offset, end=offset + length))
        if len(data) == known != length:  # a server that ignores Range sends everything
            data = data[offset : offset + length]
        if len(data) != length:
            raise SourceError(f"got {len(data)} of {length} bytes at {offset}", where=path, fix="run again")
        return data

    return RangeReader(known, fetch, lambda: None, REMOTE_WINDOW)


def _retry(path: str, call: Callable[[], _T]) -> _T:
    """Call with bounded, jittered exponential backoff; permanent errors are not tried twice."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    wait = wait_random_exponential(multiplier=0.5, max=30)
    again = Retrying(stop=stop_after_attempt(_ATTEMPTS), wait=wait, retry=retry_if_exception(_transient), reraise=True)
    try:
        return again(call)
    except Exception as error:
        fix = "check the path, the credentials in the environment, and source.storage_options"
        raise SourceError(f"cannot read: {type(error).__name__}: {error}", where=path, fix=fix) from error


def _transient(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | SourceError):
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
        return False
    # NoCredentialsError and its like are configuration, not weather.
    if "Credential" in type(error).__name__:
        return False
    return isinstance(error, OSError | TimeoutError) or type(error).__module__.partition(".")[0] in (
        "aiohttp",
        "botocore",
        "aiobotocore",
    )

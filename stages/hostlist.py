"""Host and URL lists of any size, compiled once into a sorted file of 64-bit hashes that all workers share.

A list of 13 million domains is 300 MB of text, and a Python set of it takes over a gigabyte in every worker. Here it
is 104 MB on disk, mapped into memory read-only: workers share it through the page cache. The compiled file's name is
the hash of what went into it, so a changed list is compiled anew and a stale file can never be read; it appears by an
atomic rename, and a lock lets one of many workers do the work while the others wait. Compiling streams the text in
blocks and sorts in the file: peak memory is one block plus what the kernel keeps of the mapped file.

Lists are text, plain or ``.gz``, ``.zst``, or a member of a ``.tar.gz``. Not done here: regular expressions and
allow lists.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from corpus.errors import CorpusError, StageError
from corpus.storage import cache_folder
from stages.host_kernel import SLOW, Hashes, find_host
from stages.list_kernel import entry_hash, hash_lines

_FORMAT = "1"  # goes into the key: raise it when hashing or parsing changes
_BLOCK = 4 << 20
_LONGEST_LINE = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ListFile:
    """One list: a local file, and the member to read when it is a tar archive."""

    path: Path
    member: str | None = None


def bundled_folder() -> Path:
    """The folder of the lists that the datatrove package carries. Finding it imports nothing."""
    found = importlib.util.find_spec("datatrove")
    if found is None or not found.submodule_search_locations:
        fix = "install datatrove[io], or set bundled: false and name lists of your own"
        raise StageError("the bundled lists need the package datatrove, which is not installed", fix=fix)
    return Path(next(iter(found.submodule_search_locations))) / "assets"


def read_entries(path: Path) -> frozenset[str]:
    """The lines of a small list (words, phrases), in small letters, without blank lines and # comments."""
    text = b"".join(_blocks(ListFile(path=path))).decode("utf-8", "replace")
    lines = (line.strip().lower() for line in text.splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def load_hashes(lists: Sequence[ListFile], *, paths: bool = False, folder: Path | None = None) -> Hashes:
    """The sorted hashes of all entries of ``lists``, shape (n,), mapped read-only from the cache in ``folder``.

    ``paths`` says that entries are URLs (host and path) rather than hosts. Raises ``StageError`` where a list is
    missing, is no text, or holds no entry at all.
    """
    if not lists:
        return np.zeros(0, np.uint64)
    folder = folder or cache_folder()
    target = folder / f"{'urls' if paths else 'domains'}-{_key(lists, paths=paths)}.hashes"
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(target.with_suffix(".lock")):
                if not target.exists():
                    _compile(lists, target, paths=paths)
        except OSError as error:
            if isinstance(error, CorpusError):
                raise
            fix = "set CORPUS_CACHE to a folder that can be written to"
            raise StageError(f"a host list cannot be compiled: {error}", where=str(folder), fix=fix) from error
    return cast(Hashes, np.memmap(target, np.uint64, mode="r").view(np.ndarray))


def canonical_url(url: bytes) -> bytes | None:
    """``url`` with its host in plain ASCII (percent escapes resolved, IDNA 2003 applied); None without a valid host."""
    data = np.frombuffer(url or b" ", np.uint8)
    host, last, _, state = find_host(data, 0, len(data))
    if state != SLOW:
        return url
    try:
        name = urllib.parse.unquote(url[host:last].decode("utf-8"), errors="strict")
        ascii_name = name.translate({9: None, 10: None, 13: None}).encode("idna")
    except UnicodeError:  # labels too long, code points that no host may hold, broken UTF-8
        return None
    done = b"http://" + ascii_name + url[last:]
    data = np.frombuffer(done, np.uint8)
    return done if find_host(data, 0, len(data))[3] == 0 else None


def _key(lists: Sequence[ListFile], *, paths: bool) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {paths}".encode())
    contents = set()
    for each in lists:
        if not each.path.is_file():
            raise StageError("a host list is missing", where=str(each.path), fix="check the path in the manifest")
        with each.path.open("rb") as file:
            contents.add(f"{hashlib.file_digest(file, 'sha256').hexdigest()} {each.member}")
    digest.update("\n".join(sorted(contents)).encode())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the kernel drops it when its holder dies. Without locks, work is at worst done twice."""
    with path.open("wb") as file:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(lists: Sequence[ListFile], target: Path, *, paths: bool) -> None:
    entries = ignored = 0
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=target.stem, suffix=".part", delete=False) as part:
        try:
            for each in lists:
                found, unread = _write_hashes(each, part, paths=paths)
                entries += found
                ignored += unread
            part.flush()
            mapped = np.memmap(part.name, np.uint64, mode="r+")
            mapped.sort()
            mapped.flush()
            os.fchmod(part.fileno(), 0o644)  # a cache may be shared by users; the name says what must be inside
            os.fsync(part.fileno())
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    _log.info("compiled %d entries (%d lines were no %s)", entries, ignored, "URL" if paths else "host")


def _write_hashes(source: ListFile, part: IO[bytes], *, paths: bool) -> tuple[int, int]:
    entries = ignored = 0
    for block in _blocks(source):
        hashes, unread = _hash_block(block, paths=paths)
        part.write(hashes.tobytes())
        entries += len(hashes)
        ignored += unread
    if entries == 0:
        raise StageError("a host list holds no entry", where=str(source.path), fix="one host per line")
    return entries, ignored


def _hash_block(block: bytes, *, paths: bool) -> tuple[Hashes, int]:
    out = np.empty(len(block) // 2 + 1, np.uint64)
    count, ignored = hash_lines(np.frombuffer(block, np.uint8), paths, out)
    extra = []
    strange = [] if block.isascii() else [line for line in block.split(b"\n") if not line.isascii()]
    for line in strange:
        entry = line.split(b"#")[0].split()
        ascii_entry = canonical_url(entry[-1].lstrip(b"*.|").rstrip(b"^")) if entry else None
        value = entry_hash(ascii_entry, paths=paths) if ascii_entry else None
        if value is None:
            ignored += bool(entry)
        else:
            extra.append(value)
    return np.concatenate([out[:count], np.array(extra, np.uint64)]), ignored


def _blocks(source: ListFile) -> Iterator[bytes]:
    """The text of a list in blocks of some megabytes that end at a line's end."""
    with _opened(source) as file:
        rest = b""
        first = True
        while block := file.read(_BLOCK):
            if b"\0" in block:
                raise StageError("a list is not text", where=str(source.path), fix="one entry per line, UTF-8")
            block = block.removeprefix(b"\xef\xbb\xbf") if first else block
            first = False
            head, newline, tail = (rest + block).rpartition(b"\n")
            if len(tail) > _LONGEST_LINE:
                raise StageError("a line of a list is over a megabyte", where=str(source.path))
            if newline:
                yield head + newline
            rest = tail
        if rest:
            yield rest


@contextlib.contextmanager
def _opened(source: ListFile) -> Iterator[IO[bytes]]:
    name = source.path.name
    try:
        if source.member is not None:
            with tarfile.open(source.path) as archive, cast(IO[bytes], archive.extractfile(source.member)) as file:
                yield file
        elif name.endswith((".gz", ".zst")):
            import pyarrow as pa  # reads members and frames to the end, and raises where one is cut

            with pa.input_stream(str(source.path), compression="gzip" if name.endswith(".gz") else "zstd") as stream:
                yield cast(IO[bytes], stream)
        else:
            with source.path.open("rb") as file:
                yield file
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise StageError(f"a list cannot be read: {error}", where=str(source.path)) from error

"""From what a user writes under ``source.paths`` to a list of files.

A path may be a file, a directory (all files below it), a glob, a URL, or a listing: a ``*.paths``, ``*.paths.gz`` or
``*.txt`` file with one path per line, such as Common Crawl's ``warc.paths.gz``. Order: as given, sorted within a glob
or directory, as listed within a listing; the first mention counts.
"""

from __future__ import annotations

import glob
import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from corpus.errors import SourceError

from .storage import filesystem, is_remote, local_path, open_range

_LISTING = (".paths", ".paths.gz", ".paths.txt", ".txt", ".txt.gz")
_MAGIC = "*?["
_LISTING_LIMIT = 1 << 30
_COMMON_CRAWL = "https://data.commoncrawl.org/"


def expand(paths: Sequence[str], *, prefix: str | None, options: Mapping[str, str]) -> list[str]:
    """All files behind ``paths``, without repetition. Raises ``SourceError`` for one that matches nothing."""
    files: dict[str, None] = {}
    for path in paths:
        found = list(_expand_one(path, options))
        if len(found) == 1 and found[0].lower().endswith(_LISTING):
            listed = _read_listing(found[0], prefix, options)
            found = found if listed is None else listed
        if not found:
            fix = "check the spelling; relative paths start at the working directory"
            raise SourceError("this path matches no file", where=path, fix=fix)
        files.update(dict.fromkeys(found))
    return list(files)


def _expand_one(path: str, options: Mapping[str, str]) -> Iterator[str]:
    if path.startswith(("http://", "https://")):
        if "*" in path:
            fix = "name a listing (for Common Crawl: .../warc.paths.gz) or single files"
            raise SourceError("web servers cannot expand a glob", where=path, fix=fix)
        yield path
    elif is_remote(path):
        yield from _expand_remote(path, options)
    else:
        yield from _expand_local(path)


def _expand_local(path: str) -> Iterator[str]:
    local = local_path(path)
    if local.is_file():
        yield path
    elif local.is_dir():
        yield from sorted(
            str(file)
            for file in local.rglob("*")
            if file.is_file() and not any(part[0] in "._" for part in file.relative_to(local).parts)
        )
    else:
        names = glob.glob(str(local), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        yield from sorted(name for name in names if Path(name).is_file())


def _expand_remote(path: str, options: Mapping[str, str]) -> Iterator[str]:
    fs, inner = filesystem(path, options)
    try:
        if any(mark in inner for mark in _MAGIC):
            yield from sorted(str(fs.unstrip_protocol(name)) for name in fs.glob(inner))
        elif path.endswith("/") or not fs.isfile(inner):
            names = (str(fs.unstrip_protocol(name)) for name in fs.find(inner))
            yield from sorted(name for name in names if name.rpartition("/")[2][:1] not in ("", ".", "_"))
        else:
            yield path
    except (OSError, ValueError) as error:
        fix = "check bucket, region and credentials (environment), or source.storage_options"
        raise SourceError(f"cannot list: {type(error).__name__}: {error}", where=path, fix=fix) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("botocore", "aiohttp", "aiobotocore"):
            raise
        fix = "check bucket, region and credentials (environment), or source.storage_options"
        raise SourceError(f"cannot list: {type(error).__name__}: {error}", where=path, fix=fix) from error


def _read_listing(path: str, prefix: str | None, options: Mapping[str, str]) -> list[str] | None:
    """The paths in a listing; None when the file is no listing after all (text that is data)."""
    with open_range(path, options) as reader:
        if reader.size > _LISTING_LIMIT:
            return None
        raw = bytes(reader.view(0, reader.size))
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, ValueError):
        return None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or "\0" in text or lines[0].upper().startswith("WARC/") or lines[0][0] == "{" or len(lines[0]) > 4096:
        return None
    if all("://" in line or line.startswith("/") for line in lines):
        return lines
    front = _default_prefix(path, lines[0]) if prefix is None else prefix
    front = front if not front or front.endswith("/") else front + "/"
    return [line if "://" in line or line.startswith("/") else front + line for line in lines]


def _default_prefix(listing: str, line: str) -> str:
    """The root of the listing's bucket or web server; for a local one its folder, or Common Crawl's server."""
    if is_remote(listing):
        scheme, _, rest = listing.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}/"
    folder = local_path(listing).parent
    if line.startswith("crawl-data/") and not (folder / line).exists():
        return _COMMON_CRAWL
    return f"{folder}/"

"""The labelled pages themselves, which are no part of this repository: by id, from the crawl of a data folder."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.extract.charset import decode_html


@dataclass(frozen=True, slots=True)
class Page:
    """Bytes as found, and the same as text."""

    id: str
    url: str
    sha1: str
    body: bytes
    text: str


def manifest(data: Path) -> list[dict[str, Any]]:
    """One entry per page of the crawl."""
    with gzip.open(data / "crawl" / "manifest.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def read_pages(data: Path, ids: Iterable[str]) -> dict[str, Page]:
    """Pages by id. Raises ``KeyError`` for an id that the crawl does not have."""
    from warcio.archiveiterator import ArchiveIterator

    entries = {entry["id"]: entry for entry in manifest(data)}
    found = {}
    for identity in ids:
        entry = entries[identity]
        with (data / "crawl" / entry["warc"]).open("rb") as stream:
            stream.seek(entry["offset"])
            record = next(iter(ArchiveIterator(stream)))
            body = record.content_stream().read()
            text = decode_html(body, record.http_headers.get_header("Content-Type")).text
        found[identity] = Page(
            identity, entry["url"], hashlib.sha1(body, usedforsecurity=False).hexdigest(), body, text
        )
    return found

"""Builders of crawl files, byte by byte, and a reader that returns plain rows."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.schema import TRAVEL
from stages.read import SourceConfig, Unit, plan_units, read_unit


def record(
    kind: str, block: bytes, *, url: str | None = "http://a.example/", extra: str = "", eol: str = "\r\n"
) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", "WARC-Date: 2024-03-01T10:20:30Z"]
    if url is not None:
        lines.append(f"WARC-Target-URI: {url}")
    if kind == "response" and "Content-Type" not in extra:
        lines.append("Content-Type: application/http; msgtype=response")
    if extra:
        lines.append(extra)
    lines.append(f"Content-Length: {len(block)}")
    return (eol.join(lines) + eol * 2).encode() + block + (eol * 2).encode()


def http(body: bytes, *, status: str = "200 OK", headers: str = "Content-Type: text/html\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body


def page(number: int, words: int = 12) -> bytes:
    text = " ".join(f"word{(number * 7919 + i * i) % 1009}" for i in range(words))
    return f"<html><title>{number}</title><p>{text}</p></html>".encode()


def responses(count: int, words: int = 12) -> list[bytes]:
    return [record("response", http(page(n, words)), url=f"http://a.example/{n}") for n in range(count)]


def member(data: bytes, level: int = 6) -> bytes:
    return gzip.compress(data, level, mtime=0)


def rows(units: Sequence[Unit], source: SourceConfig, **sizes: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for unit in units:
        for table in read_unit(unit, source, **sizes):
            assert table.schema == TRAVEL
            found += table.to_pylist()
    return found


def read(path: Path | str, **settings: Any) -> list[dict[str, Any]]:
    source = SourceConfig(paths=(str(path),), **settings)
    return rows(plan_units(source), source)


def split(unit: Unit, cuts: Sequence[int]) -> list[Unit]:
    """The unit cut at byte offsets."""
    edges = sorted({unit.start, unit.end, *(cut for cut in cuts if unit.start < cut < unit.end)})
    return [replace(unit, start=a, end=b, index=i) for i, (a, b) in enumerate(pairwise(edges))]


def tiles(found: Sequence[dict[str, Any]], size: int) -> bool:
    """Do the places of the rows cover the file without gap or overlap? Rows that share a member share its place."""
    at = 0
    for offset, length in sorted({(row["warc_offset"], row["warc_length"]) for row in found}):
        if offset != at:
            return False
        at = offset + length
    return at == size


@pytest.fixture
def crawl() -> SimpleNamespace:
    return SimpleNamespace(
        record=record,
        http=http,
        page=page,
        responses=responses,
        member=member,
        rows=rows,
        read=read,
        split=split,
        tiles=tiles,
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def writer(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return writer


@pytest.fixture(scope="session")
def shared_data() -> Path:
    root = Path(__file__).parents[3]
    folder = Path(os.environ.get("CORPUS_SHARED_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measurement data at {folder} (set CORPUS_SHARED_DATA)")
    return folder

"""Read benchmark files (JSON lines, Parquet, plain text, compressed or not) as items: an id and a few texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import StageError

_COMPRESSION = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark."""

    id: str
    texts: tuple[str, ...]


def read_items(path: Path, *, fields: Sequence[str], id_field: str) -> Iterator[Item]:
    """Items of a file, in order. Lines of a ``.txt`` file are one item each; lists of strings are joined by blanks.

    Raises ``StageError`` for an unreadable file, and for one in which no record has any of ``fields``.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    known = 0
    try:
        if ".txt" in suffixes:
            for number, line in enumerate(_lines(path), 1):
                if line.strip():
                    yield Item(f"line {number}", (line.strip(),))
            return
        for number, record in enumerate(read_records(path), 1):
            texts = tuple(text for text in (_text(record.get(field)) for field in fields) if text)
            known += bool(texts)
            yield Item(str(record.get(id_field) or f"record {number}"), texts)
    except (OSError, ValueError) as error:
        if isinstance(error, StageError):
            raise
        raise StageError(f"a benchmark cannot be read: {error}", where=str(path)) from error
    if not known:
        fix = f"set fields: to names that its records have (now {', '.join(fields)})"
        raise StageError("no record of a benchmark has any of the fields to compare", where=str(path), fix=fix)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a JSON lines or Parquet file, in order. Raises ``StageError``, ``OSError`` or ``ValueError``."""
    if ".parquet" in [suffix.lower() for suffix in path.suffixes]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(use_threads=False):
                yield from batch.to_pylist()
        return
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            record = json.loads(line)
            if not isinstance(record, dict):
                raise StageError("a line of a benchmark is no JSON object", where=f"{path}, line {number}")
            yield record


def _lines(path: Path) -> Iterator[str]:
    import io

    import pyarrow as pa

    with pa.input_stream(str(path), compression=_COMPRESSION.get(path.suffix.lower())) as stream:
        yield from io.TextIOWrapper(stream, encoding="utf-8-sig")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return " ".join(text for text in map(_text, value) if text)
    return ""

"""The text of a domain: which files, which rows of them, and which columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from corpus.commit import current_manifest
from corpus.errors import TrainingError
from corpus.settings import Settings
from corpus.shards import ShardReader
from corpus.storage import FileEntry, LocalStore, Store, open_store
from training.data.files import OpenFiles, Tell, Verify, check_files, local_sha256, silent

TEXT_COLUMNS = ("content", "text")
Value = str | int | bool


class TextSource(Settings):
    """The text of one domain: published corpora of this engine, or any Parquet files with a text column."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Folders of published corpora, Parquet files, or globs of such files."""
    text_field: str | None = None
    """Column with the text; default ``content`` or ``text``, whichever is there."""
    id_field: str = "id"
    """Column with the document's id; where there is none, file and row number stand in."""
    where: dict[str, Value] = {}
    """Only rows whose columns have these values, e.g. ``{domain: law}`` or ``{split: train}``."""
    where_not: dict[str, Value] = {}
    """Rows whose columns have all of these values are left out."""


@dataclass(frozen=True)
class TextFiles:
    """The files of one domain in a fixed order, and how documents are taken from them."""

    name: str
    source: TextSource
    store: Store
    entries: tuple[FileEntry, ...]
    column: str
    columns: tuple[str, ...]
    """Every column of the files."""
    held_out: Mapping[str, Value] = field(default_factory=dict)
    """Rows whose columns have all of these values are left out as well: they are on the other side of a split."""

    def identity(self) -> list[object]:
        """Everything that decides which documents these are, but for the files themselves."""
        source = self.source
        return [source.where, source.where_not, dict(self.held_out), self.column, source.id_field]


class Documents(NamedTuple):
    """Ids and texts of a row group, rows that ``where`` leaves out being left out."""

    ids: list[str]
    texts: list[str]


def find_text(name: str, source: TextSource, *, verify: Verify = "full", tell: Tell = silent) -> TextFiles:
    """List and check the files of a domain. Raises ``TrainingError`` where there are none or a column is missing."""
    corpora = [path for path in source.paths if "://" in path or (Path(path) / "CURRENT").is_file()]
    if corpora and len(source.paths) > 1:
        raise TrainingError(
            f"domain {name!r} mixes a published corpus with other paths", fix="make each of them a domain of its own"
        )
    store, entries = _published(corpora[0], verify, tell) if corpora else _plain(name, source.paths)
    files = OpenFiles(store, entries)
    schema = files.reader(0).schema
    columns = set(schema.names)
    column = source.text_field or next((known for known in TEXT_COLUMNS if known in columns), TEXT_COLUMNS[0])
    missing = sorted({column, *source.where, *source.where_not} - columns)
    if missing:
        raise TrainingError(
            f"domain {name!r} has no column {', '.join(missing)}", where=files.name(0), fix=f"it has: {sorted(columns)}"
        )
    for wanted in (source.where, source.where_not):
        check_values(name, wanted, schema, files.name(0))
    return TextFiles(name, source, store, entries, column, tuple(sorted(columns)))


def check_values(name: str, where: Mapping[str, Value], schema: pa.Schema, file: str) -> None:
    """Raise ``TrainingError`` where a column cannot hold the value it is asked for."""
    for column, value in where.items():
        kind = schema.field(column).type
        try:
            pa.scalar(value, kind)
        except pa.ArrowException:
            what = f"domain {name!r}: column {column!r} holds {kind}, which {value!r} is not"
            raise TrainingError(what, where=file) from None


def _published(path: str, verify: Verify, tell: Tell) -> tuple[Store, tuple[FileEntry, ...]]:
    store = open_store(path)
    manifest = current_manifest(store)
    entries = tuple(manifest.files.get("documents", ())) if manifest else ()
    if not entries:
        raise TrainingError("no documents have been published here", where=path, fix="run its manifest first")
    check_files(store, entries, verify, tell)
    return store, entries


def _plain(name: str, patterns: Sequence[str]) -> tuple[Store, tuple[FileEntry, ...]]:
    # Path.glob takes no absolute pattern
    matches = [glob(pattern, recursive=True) for pattern in patterns]  # noqa: PTH207
    found = [sorted(Path(path).absolute() for path in group) for group in matches]
    absent = [pattern for pattern, paths in zip(patterns, found, strict=True) if not paths]
    if absent:
        raise TrainingError(f"domain {name!r}: nothing matches {', '.join(absent)}", fix="check the path")
    paths = list(dict.fromkeys(path for group in found for path in group))
    entries = [
        FileEntry(name=str(path.relative_to("/")), sha256=digest, bytes=path.stat().st_size)
        for path, digest in zip(paths, local_sha256(paths), strict=True)
    ]
    return LocalStore("/"), tuple(entries)


def read_documents(reader: ShardReader, group: int, files: TextFiles, entry: FileEntry) -> Documents:
    """Documents of one row group. A null text is an empty one: it takes no room in any row."""
    source = files.source
    has_ids = source.id_field in reader.schema.names
    asked = [*source.where, *source.where_not, *files.held_out]
    table = reader.group(group, list(dict.fromkeys([files.column, *asked, *([source.id_field] if has_ids else [])])))
    numbers = pa.array(range(table.num_rows))
    if asked:
        chosen = _matches(table, source.where)
        for left_out in (source.where_not, files.held_out):
            if left_out:
                chosen = pc.and_not(chosen, _matches(table, left_out))
        table, numbers = table.filter(chosen), numbers.filter(chosen)
    texts = pc.fill_null(table.column(files.column).cast(pa.large_string()), "").to_pylist()
    if has_ids:
        return Documents([str(value) for value in table.column(source.id_field).to_pylist()], texts)
    return Documents([f"{Path(entry.name).name}#{group}.{number}" for number in numbers.to_pylist()], texts)


def _matches(table: pa.Table, where: Mapping[str, Value]) -> pa.Array:
    mask: pa.Array = pa.array([True] * table.num_rows)
    for column, value in where.items():
        equal = pc.equal(table.column(column), pa.scalar(value, table.column(column).type))
        mask = pc.and_(mask, pc.fill_null(equal.combine_chunks(), False))
    return mask

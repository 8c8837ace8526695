"""Labelled texts: JSON lines or Parquet in, binary labels and token ids out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from numpy.typing import NDArray

from corpus.errors import TrainingError
from training.data.tokenizer import open_tokenizer
from training.modularity.record import Ids

MOST = 100
"""Classes of a label column; more are taken for a mistake."""
MISSING = -1
"""A row without a label."""
Labels = dict[str, NDArray[np.int8]]
"""Per sub-function: 1, 0 or MISSING for every text."""


class Columns(NamedTuple):
    """Where texts and labels stand."""

    text: str
    labels: Sequence[str]
    values: Sequence[str] = ()
    """Of a column with more than two values, those that are wanted; all without any."""


def read_labelled(
    files: Sequence[Path], columns: Columns, *, tokenizer: Path, length: int
) -> tuple[Labels, Callable[[NDArray[np.int64]], list[Ids]]]:
    """Labels of all texts, and how some of them become token ids, special tokens included and cut at ``length``.

    ``tokenizer``: folder of the model. Raises ``TrainingError`` for files, columns and labels that cannot be used.
    """
    texts: list[str] = []
    values: dict[str, list[Any]] = {column: [] for column in columns.labels}
    for file in files:
        for row in _rows(file, [columns.text, *columns.labels]):
            text = row[columns.text]
            if isinstance(text, str) and text.strip():
                texts.append(text)
                for column in columns.labels:
                    values[column].append(row[column])
    if not texts:
        raise TrainingError("there are no texts", where=str(files[0]), fix=f"check the column {columns.text!r}")
    labels: Labels = {}
    for column in columns.labels:
        name = files[0].name.partition(".")[0] if column == "label" else column
        labels |= sub_functions(name, values[column], columns.values, where=str(files[0]))
    opened = open_tokenizer(tokenizer)
    opened.encoder.enable_truncation(length)

    def take(rows: NDArray[np.int64]) -> list[Ids]:
        encoded = opened.encoder.encode_batch_fast([texts[row] for row in rows], add_special_tokens=True)
        return [np.array(found.ids or [opened.end], np.int32) for found in encoded]

    return labels, take


def sub_functions(name: str, values: Sequence[Any], wanted: Sequence[str] = (), *, where: str) -> Labels:
    """The sub-functions of one column: itself where it has two values; of more, each ``wanted`` one (all without any)
    against the rest."""
    classes = sorted({_class(value) for value in values} - {None}, key=str)
    chosen = [label for label in classes if not wanted or label in wanted]
    if wanted and len(classes) > 2 and len(chosen) < len(set(wanted)):
        lacking = sorted(set(wanted) - set(chosen))
        fix = f"it has: {', '.join(map(str, classes[:20]))}"
        raise TrainingError(f"the labels {name!r} never are {lacking[0]!r}", where=where, fix=fix)
    if len(classes) < 2 or (len(classes) > 2 and len(chosen) > MOST):
        found = f"one class only ({classes[0]})" if len(classes) == 1 else f"{len(classes)} classes"
        raise TrainingError(
            f"the labels {name!r} have {found}",
            where=where,
            fix=f"a label has 2 to {MOST} classes; name some as values",
        )
    places = {label: number for number, label in enumerate(classes)}
    numbers = np.array([places.get(_class(value), MISSING) for value in values])
    parts = {name: 1} if len(classes) == 2 else {f"{name}={label}": places[label] for label in chosen}
    known = numbers != MISSING
    return {part: np.where(known, numbers == number, MISSING).astype(np.int8) for part, number in parts.items()}


def _class(value: Any) -> str | None:
    """A label as its class: true, 1 and 1.0 are one."""
    if value is None:
        return None
    return f"{float(value):g}" if isinstance(value, (bool, int, float)) else str(value)


def _rows(file: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        if file.suffix == ".parquet":
            for batch in pq.ParquetFile(file).iter_batches(columns=list(columns)):
                yield from _complete(batch.to_pylist(), columns, file)
            return
        with _open(file) as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield from _complete([json.loads(line)], columns, file)
    except (OSError, ValueError, pa.ArrowException, zstandard.ZstdError) as error:
        if isinstance(error, TrainingError):
            raise
        place = f"{file}, line {number}" if number else str(file)
        fix = "labelled texts are JSON lines (.jsonl, also .gz or .zst) or Parquet"
        raise TrainingError(f"the texts cannot be read: {error}", where=place, fix=fix) from None


def _complete(rows: list[dict[str, Any]], columns: Sequence[str], file: Path) -> list[dict[str, Any]]:
    for row in rows:
        lacking = [column for column in columns if not isinstance(row, dict) or column not in row]
        if lacking:
            fix = f"it has: {', '.join(sorted(row))}" if isinstance(row, dict) else "each line is an object"
            raise TrainingError(f"a text lacks {lacking[0]!r}", where=str(file), fix=fix)
    return rows


def _open(file: Path) -> IO[Any]:
    if file.suffix == ".zst":
        return zstandard.open(file, "rt", encoding="utf-8")
    return gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8")

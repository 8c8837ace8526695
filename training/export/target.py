"""What every export shares: a fresh folder with the tokenizer in it, a name per domain, and rows cut file by file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from corpus.errors import StorageError
from training.data.source import Corpus, Domain

FILE_BYTES = 64 << 20
"""About the size of a file of tokens: the memory that an export takes, and what a remote reader fetches at once."""


class Exported(NamedTuple):
    """What an export wrote. ``tokens`` are real tokens, padding not counted."""

    files: int
    rows: int
    tokens: int


class Heap(NamedTuple):
    """Consecutive rows of a domain that go into one file."""

    tokens: NDArray[np.generic]
    """[rows, row length], little-endian"""
    length: NDArray[np.int32]
    """[rows]: real tokens in each"""


def fresh_folder(folder: Path, corpus: Corpus) -> Path:
    """Make ``folder`` and put ``tokenizer.json`` into it. Raises ``StorageError`` where there is anything already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(
            "an export needs a folder of its own, and something is here already",
            where=str(folder),
            fix="name a folder that does not exist or is empty, or delete what an earlier export left there",
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes(corpus.tokenizer)
    return folder


def domain_folder(folder: Path, domain: str) -> Path:
    """Make the folder of a domain. Characters that have a meaning in paths are written as ``%XX``."""
    name = quote(domain, safe=" ")
    made = folder / (name.replace(".", "%2E") if not name.strip(".") else name)
    made.mkdir()
    return made


def heaps(domain: Domain, rows: int) -> Iterator[Heap]:
    """All rows of a domain in order, ``rows`` at a time; the last heap holds what is left."""
    waiting: list[Heap] = []
    count = 0
    for block in domain.blocks:
        found = domain.read(block)
        tokens = found.tokens.astype(found.tokens.dtype.newbyteorder("<"), copy=False)
        waiting.append(Heap(tokens, found.length))
        count += len(found.length)
        if count >= rows:
            *whole, rest = _cut(waiting, rows)
            yield from whole
            waiting, count = [rest], len(rest.length)
    yield from (heap for heap in _cut(waiting, rows) if len(heap.length))


def _cut(parts: list[Heap], rows: int) -> list[Heap]:
    """Parts joined and cut every ``rows`` rows; the last one may be short or empty."""
    if not parts:
        return []
    joined = Heap(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    ends = range(0, len(joined.length) + 1, rows)
    return [Heap(joined.tokens[at : at + rows], joined.length[at : at + rows]) for at in ends]

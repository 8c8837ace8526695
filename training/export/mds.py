"""MDS, the format of mosaicml-streaming: https://docs.mosaicml.com/projects/streaming

A shard is, in little-endian 32-bit numbers: the count of samples, where each sample begins and the last one ends, a
JSON description of the columns, and the samples. A sample is the sizes of its columns of varying size, then the columns
in the order of their names. The index repeats the description for every shard.

Columns: ``tokens`` (``ndarray:uint16`` or ``uint32``, sequence length + 1 of them), ``length`` (how many of these are
tokens, the rest is padding) and ``domain``. Every domain has a folder with an index of its own, so that it can be one
``Stream`` of a mixture; the index above them names all shards, for a ``StreamingDataset`` over everything:

    StreamingDataset(streams=[Stream(local="out/books", proportion=0.5), Stream(local="out/code", proportion=0.5)])
    StreamingDataset(local="out", shuffle=True, batch_size=32)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.source import Corpus
from training.export.target import FILE_BYTES, Exported, Heap, domain_folder, fresh_folder, heaps

VERSION = 2
INDEX = "index.json"


def to_mds(corpus: Corpus, folder: Path) -> Exported:
    """Write ``corpus`` as MDS into ``folder``. Raises ``StorageError`` where the folder is not empty."""
    fresh_folder(folder, corpus)
    columns = _columns(corpus)
    row_bytes = (corpus.sequence_length + 1) * corpus.dtype.itemsize
    everything: list[dict[str, Any]] = []
    rows = 0
    for name, domain in corpus.domains.items():
        place = domain_folder(folder, name)
        shards = []
        for number, heap in enumerate(heaps(domain, max(1, FILE_BYTES // row_bytes))):
            basename = f"shard.{number:05d}.mds"
            size = _write_shard(place / basename, _samples(heap, name), columns)
            shards.append(_shard_entry(columns, basename, size, len(heap.length)))
            rows += len(heap.length)
        _write_index(place, shards)
        everything += [_moved(shard, place.name) for shard in shards]
    _write_index(folder, everything)
    return Exported(len(everything), rows, sum(domain.tokens for domain in corpus.domains.values()))


def _columns(corpus: Corpus) -> dict[str, Any]:
    """The description of the columns; a size is given where all values have the same."""
    return {
        "column_encodings": ["str", "int32", f"ndarray:{corpus.dtype.name}"],
        "column_names": ["domain", "length", "tokens"],
        "column_sizes": [None, 4, None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": FILE_BYTES,
        "version": VERSION,
    }


def _samples(heap: Heap, domain: str) -> NDArray[np.void]:
    """The samples of a heap as they stand in a shard; within a domain all have one size."""
    count, width = heap.tokens.shape
    name, shape = (np.frombuffer(data, np.uint8) for data in (domain.encode(), _shape(width)))
    layout = np.dtype(
        [
            ("sizes", "<u4", 2),
            ("domain", np.uint8, len(name)),
            ("length", "<i4"),
            ("shape", np.uint8, len(shape)),
            ("tokens", heap.tokens.dtype, width),
        ]
    )
    samples = np.empty(count, layout)
    samples["sizes"] = len(name), len(shape) + width * heap.tokens.itemsize
    samples["domain"], samples["shape"] = name, shape
    samples["length"], samples["tokens"] = heap.length, heap.tokens
    return samples


def _shape(width: int) -> bytes:
    """The head of an encoded array of one dimension: how many dimensions, in integers of which size, and how long."""
    power = 0 if width < 1 << 8 else 1 if width < 1 << 16 else 2
    return bytes([1 << 2 | power]) + width.to_bytes(1 << power, "little")


def _write_shard(path: Path, samples: NDArray[np.void], columns: dict[str, Any]) -> int:
    """Write one shard; returns its bytes."""
    description = json.dumps(columns, sort_keys=True).encode()
    count = len(samples)
    first = 4 * (count + 2) + len(description)
    begins = first + samples.itemsize * np.arange(count + 1)
    with path.open("wb") as file:
        file.write(np.concatenate([[count], begins]).astype("<u4").tobytes())
        file.write(description)
        file.write(samples.data)
        return file.tell()


def _shard_entry(columns: dict[str, Any], basename: str, size: int, samples: int) -> dict[str, Any]:
    raw = {"basename": basename, "bytes": size, "hashes": {}}
    return {**columns, "raw_data": raw, "samples": samples, "zip_data": None}


def _moved(shard: dict[str, Any], folder: str) -> dict[str, Any]:
    """The entry of a shard seen from the folder above."""
    raw = shard["raw_data"]
    return {**shard, "raw_data": {**raw, "basename": f"{folder}/{raw['basename']}"}}


def _write_index(folder: Path, shards: list[dict[str, Any]]) -> None:
    (folder / INDEX).write_text(json.dumps({"shards": shards, "version": VERSION}, sort_keys=True), "utf-8")

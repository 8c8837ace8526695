"""Chunks of litData (https://github.com/Lightning-AI/litData) for its ``TokensLoader``.

A chunk is, in little-endian 32-bit numbers: the count of items, where each item begins and the last one ends, and then
the items. For ``TokensLoader`` the items are nothing but tokens, so a chunk here is one item: whole rows, one after the
other. Every domain is a dataset of its own; mixing is done by ``CombinedStreamingDataset``:

    StreamingDataset("out/books", item_loader=TokensLoader(block_size=L + 1))

What the format cannot say: where a row is padding. Padding is the end-of-document token, and only the last row of a
heap has any under the packing ``concat``; under ``best_fit`` most rows have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training.data.source import Corpus
from training.export.target import FILE_BYTES, Exported, domain_folder, fresh_folder, heaps

INDEX = "index.json"
_NUMBER_OF_TYPE = {"uint16": 5, "uint32": 6}
"""The place of a type in litData's list of numpy types."""
_ONE_LEAF = json.dumps([1, {"type": None, "context": None, "children_spec": []}])
"""The structure of a sample: the array itself, in no container."""


def to_litdata(corpus: Corpus, folder: Path) -> Exported:
    """Write ``corpus`` as chunks into ``folder``. Raises ``StorageError`` where the folder is not empty."""
    fresh_folder(folder, corpus)
    row_bytes = (corpus.sequence_length + 1) * corpus.dtype.itemsize
    files = rows = 0
    for name, domain in corpus.domains.items():
        place = domain_folder(folder, name)
        chunks = []
        for number, heap in enumerate(heaps(domain, max(1, FILE_BYTES // row_bytes))):
            filename = f"chunk-0-{number}.bin"
            size = _write_chunk(place / filename, heap.tokens.tobytes())
            chunks.append({"chunk_bytes": size, "chunk_size": 1, "dim": heap.tokens.size, "filename": filename})
            rows += len(heap.length)
        (place / INDEX).write_text(json.dumps({"chunks": chunks, "config": _config(corpus)}, sort_keys=True), "utf-8")
        files += len(chunks)
    return Exported(files, rows, sum(domain.tokens for domain in corpus.domains.values()))


def _write_chunk(path: Path, item: bytes) -> int:
    """Write a chunk of one item; returns its bytes."""
    head = np.array([1, 12, 12 + len(item)], "<u4").tobytes()
    with path.open("wb") as file:
        file.write(head)
        file.write(item)
    return len(head) + len(item)


def _config(corpus: Corpus) -> dict[str, Any]:
    return {
        "chunk_bytes": FILE_BYTES,
        "chunk_size": None,
        "compression": None,
        "data_format": [f"no_header_numpy:{_NUMBER_OF_TYPE[corpus.dtype.name]}"],
        "data_spec": _ONE_LEAF,
        "encryption": None,
        "item_loader": "TokensLoader",
    }

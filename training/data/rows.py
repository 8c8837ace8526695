"""The format of token shards: Parquet files whose rows are packed sequences, and their way to and from arrays.

Any reader of Parquet sees plain lists: ``tokens`` (all of one length), ``length`` (how many of them are tokens, the
rest is padding), ``starts`` (where a document starts in the row) and ``documents`` (their ids, so that a row can be
traced to the pages it came from). Files are written by ``corpus.shards``, a row group being a block of the loader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import StorageError
from training.data.packing import Packed

BLOCK_BYTES = 1 << 19
"""Tokens of a row group, in bytes: small enough that a window of blocks per domain fits into memory."""


class Rows(NamedTuple):
    """The rows of one block, as a batch needs them (``Packed`` without the documents)."""

    tokens: NDArray[np.generic]
    length: NDArray[np.int32]
    offsets: NDArray[np.int64]
    starts: NDArray[np.int32]

    def select(self, rows: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Rows of the block that is meant, and where ``rows`` stand among them: here they are all there."""
        return self, rows


def token_dtype(vocab: int) -> np.dtype[np.generic]:
    """The smallest type of Parquet that holds the ids of a vocabulary."""
    return np.dtype(np.uint16 if vocab <= 1 << 16 else np.uint32)


def token_schema(vocab: int) -> pa.Schema:
    """Schema of a token shard."""
    return pa.schema(
        [
            ("tokens", pa.list_(pa.from_numpy_dtype(token_dtype(vocab)))),
            ("length", pa.int32()),
            ("starts", pa.list_(pa.int32())),
            ("documents", pa.list_(pa.string())),
        ]
    )


def rows_per_block(row_length: int, vocab: int) -> int:
    """Rows of a row group."""
    return max(1, BLOCK_BYTES // (row_length * token_dtype(vocab).itemsize))


def to_table(packed: Packed, ids: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Packed rows as a table; ``ids[i]`` is the id of document ``i``."""
    rows, width = packed.tokens.shape
    even = pa.array(np.arange(0, rows * width + 1, width, dtype=np.int32))
    ragged = pa.array(packed.offsets.astype(np.int32))
    columns = [
        pa.ListArray.from_arrays(even, pa.array(packed.tokens.ravel())),
        pa.array(packed.length),
        pa.ListArray.from_arrays(ragged, pa.array(packed.starts)),
        pa.ListArray.from_arrays(ragged, pa.array(ids, pa.string()).take(pa.array(packed.documents))),
    ]
    return pa.Table.from_arrays([array.cast(f.type) for array, f in zip(columns, schema, strict=True)], schema=schema)


def from_table(table: pa.Table, row_length: int) -> Rows:
    """The arrays of a block read with ``tokens``, ``length`` and ``starts``. Raises ``StorageError`` on other rows."""
    tokens = table.column("tokens").combine_chunks()
    starts = table.column("starts").combine_chunks()
    tokens, starts = (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column for column in (tokens, starts))
    flat = tokens.flatten().to_numpy(zero_copy_only=False)
    if flat.size != table.num_rows * row_length:
        raise StorageError(
            f"{table.num_rows} rows hold {flat.size} tokens, not {row_length} each",
            fix="this is not a token shard of this sequence length; run the tokenize manifest again",
        )
    offsets = starts.offsets.to_numpy().astype(np.int64)
    length = table.column("length").to_numpy().astype(np.int32)
    return Rows(flat.reshape(-1, row_length), length, offsets - offsets[0], starts.flatten().to_numpy())

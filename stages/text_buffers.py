"""The bridge between Arrow text columns and compiled kernels: bytes and offsets, without a copy.

A ``large_string`` array is two buffers: all texts as one run of UTF-8 bytes, and where each text starts. Kernels
read the first with the second. Nothing here costs more than a few microseconds per batch; null texts read as empty.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def text_buffers(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return ``(data, offsets)``: text ``i`` is ``data[offsets[i]:offsets[i + 1]]``. Both are read-only views."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = array.cast(pa.large_string())
    if array.null_count:
        array = pc.fill_null(array, "")
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        offsets = np.zeros(1, np.int64)
    else:
        offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    empty = data_buffer is None or data_buffer.size == 0
    data = np.zeros(1, np.uint8) if empty else np.frombuffer(data_buffer, np.uint8)
    # One flag for all callers: kernels are compiled once, for read-only input.
    data, offsets = data.view(), offsets.view()
    data.flags.writeable = offsets.flags.writeable = False
    return data, offsets


def text_array(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> pa.LargeStringArray:
    """The opposite: an Arrow array over ``data`` (valid UTF-8) and ``offsets`` (one more than texts)."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))

"""The stage ``signals``: measure every text once; rules and people decide later.

The work is done by a compiled kernel over Arrow's buffers (``stages.signals.kernel``); here counts become columns.
Opening costs about 0.4 s (character tables, loading compiled code; several seconds the very first time, to compile).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.schema import add_signals, set_column
from stages.signals import slots
from stages.signals.definitions import FIELDS, SIGNALS
from stages.stage import BatchFunction, Resources, Stage
from stages.text_buffers import text_buffers

if TYPE_CHECKING:
    from stages.signals.kernel import Reference

_SLOT = {name: at for at, name in enumerate(slots.NAMES)}


class Signals(Stage):
    """Measure each document: some sixty numbers that rules judge and that are written beside the text."""

    kind: Literal["signals"] = "signals"

    def adds(self) -> Mapping[str, pa.DataType]:
        """All of ``SIGNALS`` under ``signals.``, and WanJuan-CC's four size fields as columns."""
        fields = dict.fromkeys(FIELDS, pa.int32())
        return fields | {f"signals.{name}": signal.type for name, signal in SIGNALS.items()}

    def open(self, resources: Resources) -> BatchFunction:
        """Build the character tables and load the kernel."""
        _reference()
        return measure_batch


def measure_batch(batch: pa.Table) -> pa.Table:
    """Add all signals and size fields to a batch."""
    counts = _count(batch.column("content"))
    for name, values in _fields(counts).items():
        batch = set_column(batch, name, values)
    return add_signals(batch, _quotients(counts))


def measure(content: pa.Array | pa.ChunkedArray) -> dict[str, NDArray[np.int32] | NDArray[np.float32]]:
    """All signals of the texts: name to int32 or float32 array, one value per text. Null reads as empty."""
    return _quotients(_count(content))


def count_fields(content: pa.Array | pa.ChunkedArray) -> dict[str, pa.Array]:
    """WanJuan-CC's ``token_num``, ``cbytes_num``, ``line_num`` and ``char_num`` of the texts, int32.

    For whoever changes texts after they were measured (masking): same definitions, fresh numbers.
    """
    return _fields(_count(content))


@functools.cache
def _reference() -> Reference:
    from stages.signals.kernel import make_reference

    return make_reference()


def _count(content: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    from stages.signals.kernel import count_batch

    return count_batch(*text_buffers(content), _reference())


def _quotients(counts: NDArray[np.int64]) -> dict[str, NDArray[np.int32] | NDArray[np.float32]]:
    columns: dict[str, NDArray[np.int32] | NDArray[np.float32]] = {}
    for name, signal in SIGNALS.items():
        above = counts[:, _SLOT[signal.count]]
        if signal.per is None:
            columns[name] = above.astype(np.int32)
        else:
            below = counts[:, _SLOT[signal.per]]
            quotient = np.divide(above, below, out=np.zeros(len(counts)), where=below > 0)
            columns[name] = quotient.astype(np.float32)
    return columns


def _fields(counts: NDArray[np.int64]) -> dict[str, pa.Array]:
    lines = np.where(counts[:, slots.BYTES] > 0, counts[:, slots.NEWLINES] + 1, 0)
    values = (counts[:, slots.TOKENS], counts[:, slots.BYTES], lines, counts[:, slots.CHARACTERS])
    return {name: pa.array(column.astype(np.int32)) for name, column in zip(FIELDS, values, strict=True)}

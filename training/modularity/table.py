"""``predictivity.parquet``: measured once, to be asked later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.storage import LocalStore
from training.modularity.chance import Floats
from training.modularity.figures import Measured


def write_table(path: Path, measured: Measured, found: Mapping[int, Mapping[str, Floats]]) -> None:
    """Write one row per step, sub-function, layer and neuron, whole or not at all.

    ``found``: step -> function -> predictivities [sub-functions, layers, neurons].
    """
    buffer = pa.BufferOutputStream()
    pq.write_table(_table(measured, found), buffer, compression="zstd")
    LocalStore(str(path.parent)).swap(path.name, buffer.getvalue().to_pybytes())


def _table(measured: Measured, found: Mapping[int, Mapping[str, Floats]]) -> pa.Table:
    tables = []
    for step, by_function in found.items():
        for function, values in by_function.items():
            parts, layers, neurons = values.shape
            place = np.indices(values.shape).reshape(3, -1)
            names = pa.DictionaryArray.from_arrays(place[0].astype(np.int32), measured.parts[function])
            tables.append(
                pa.table(
                    {
                        "step": np.full(values.size, step),
                        "function": pa.array([function]).dictionary_encode().take(np.zeros(values.size, np.int32)),
                        "sub_function": names,
                        "layer": place[1].astype(np.int32),
                        "neuron": place[2].astype(np.int32),
                        "expert": np.broadcast_to(measured.real, (parts, layers, neurons)).reshape(-1).astype(np.int32),
                        "predictivity": values.reshape(-1),
                    }
                )
            )
    return pa.concat_tables(tables).unify_dictionaries()

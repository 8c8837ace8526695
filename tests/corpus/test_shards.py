"""Shards: equal content gives equal bytes, the schema comes from the plan, torn files are noticed."""

from __future__ import annotations

import io
import threading
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import StorageError
from corpus.schema import TRAVEL, add_signals, alive, give_verdict, signal
from corpus.shards import ShardReader, ShardWriter, align, read_batches, read_partition, write_partitions, write_table
from corpus.storage import open_store, publish_file, sha256_of

SCHEMA = pa.schema([("id", pa.string()), ("content", pa.large_string()), ("signals", pa.struct([("a", pa.int32())]))])


def rows(start, count):
    values = [f"text {i}" for i in range(start, start + count)]
    return pa.table({"id": values, "content": values, "signals": [{"a": i} for i in range(count)]}).cast(SCHEMA)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_the_bytes_of_a_shard_do_not_depend_on_how_rows_arrived(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("shards")
    total = sum(cuts)
    with ShardWriter(folder / "whole", SCHEMA, row_group_rows=64) as writer:
        writer.write(rows(0, total))
    with ShardWriter(folder / "pieces", SCHEMA, row_group_rows=64) as writer:
        at = 0
        for cut in cuts:
            writer.write(rows(0, total).slice(at, cut))
            at += cut
    assert sha256_of(folder / "whole") == sha256_of(folder / "pieces")
    groups = pq.read_metadata(folder / "whole")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)][:-1] == [64] * (
        groups.num_row_groups - 1
    )


def test_missing_columns_become_null_and_others_are_left_out():
    table = pa.table({"id": ["x"], "other": [1], "signals": [{"b": 1}]})
    done = align(table, SCHEMA)
    assert done.schema == SCHEMA
    assert done.to_pylist() == [{"id": "x", "content": None, "signals": {"a": None}}]


def test_a_value_that_does_not_fit_the_schema_is_an_error_and_not_a_null():
    with pytest.raises(pa.ArrowInvalid):
        align(pa.table({"id": ["x"], "signals": [{"a": 1 << 40}]}), SCHEMA)


def test_an_empty_shard_has_a_schema(tmp_path):
    write_table(tmp_path / "empty", SCHEMA.empty_table())
    assert pq.read_schema(tmp_path / "empty").equals(SCHEMA)


def test_batches_come_back_in_order_and_bounded(tmp_path):
    write_table(tmp_path / "a", rows(0, 1000), row_group_rows=300)
    with (tmp_path / "a").open("rb") as file:
        batches = list(read_batches(file, rows=128))
    assert max(batch.num_rows for batch in batches) <= 128
    assert pa.concat_tables(batches).equals(rows(0, 1000))


def test_partitions_can_be_read_one_by_one_and_a_flipped_byte_is_noticed(tmp_path):
    store = open_store(str(tmp_path / "store"))
    staged = tmp_path / "parts"
    write_partitions(staged, [rows(0, 5), rows(0, 0), rows(7, 3)], SCHEMA)
    entry = publish_file(store, staged, "parts")
    assert [read_partition(store, entry, i).num_rows for i in range(3)] == [5, 0, 3]
    assert read_partition(store, entry, 2).equals(rows(7, 3))
    data = bytearray(store.read("parts"))
    data[60] ^= 0xFF
    store.swap("parts", bytes(data))
    with pytest.raises(OSError, match=r"CRC|checksum|Corrupt|crc"):
        read_partition(store, entry, 0)
    store.swap("parts", bytes(data[:-1]))
    with pytest.raises(StorageError, match="another size"):
        read_partition(store, entry, 0)


def test_a_first_verdict_stands_and_later_ones_do_not_touch_it():
    batch = pa.Table.from_pylist([{"id": "a"}, {"id": "b"}], schema=TRAVEL)
    import numpy as np

    batch = give_verdict(batch, np.array([True, False]), "first/rule@1", detail=["why", None])
    batch = give_verdict(batch, np.array([True, True]), ["second/rule@1", "quarantine/x"], outcome="quarantined")
    assert batch.column("reason").to_pylist() == ["first/rule@1", "quarantine/x"]
    assert batch.column("outcome").to_pylist() == ["rejected", "quarantined"]
    assert batch.column("detail").to_pylist() == ["why", None]
    assert not alive(batch).any()


def test_signals_add_up_over_stages():
    batch = pa.Table.from_pylist([{"id": "a"}, {"id": "b"}], schema=TRAVEL)
    batch = add_signals(batch, {"words": pa.array([1, 2], pa.int32())})
    batch = add_signals(batch, {"lines": pa.array([3, 4], pa.int32())})
    assert signal(batch, "words").to_pylist() == [1, 2]
    assert batch.column("signals").to_pylist() == [{"words": 1, "lines": 3}, {"words": 2, "lines": 4}]


def test_a_shard_is_read_on_the_calling_thread_alone(tmp_path):
    # an Arrow thread that still holds a Python file when the interpreter goes down aborts the process
    class Watched(io.FileIO):
        readers: ClassVar[set[int]] = set()

        def read(self, size=-1):
            self.readers.add(threading.get_ident())
            return super().read(size)

    path = tmp_path / "a.parquet"
    write_table(path, pa.table({f"c{i}": pa.array(range(5000)) for i in range(20)}))
    with Watched(path) as file:
        reader = ShardReader(file)
        assert reader.read().num_rows == 5000
        assert reader.group(1, ["c3"]).column_names == ["c3"]
    assert Watched.readers == {threading.get_ident()}

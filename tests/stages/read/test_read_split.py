"""Every record belongs to exactly one unit, wherever a file is cut."""

from __future__ import annotations

import gzip
import random
import zlib
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import SourceError
from stages.read import SourceConfig, plan_units
from stages.read.members import CODECS, resolve, walk_members
from stages.read.storage import open_range


def embedded(crawl, count=4):
    """A page that holds WARC text, a gzip file that holds WARC members, and one stored without compression."""
    inner = b"".join(crawl.responses(count))
    packed = b"".join(crawl.member(data) for data in crawl.responses(count))
    return [
        crawl.record("response", crawl.http(b"<pre>\r\n\r\n" + inner + b"</pre>"), url="http://a.example/text"),
        crawl.record(
            "response", crawl.http(packed, headers="Content-Type: application/gzip\r\n"), url="http://a.example/gz"
        ),
        crawl.record("resource", packed, url="http://a.example/raw"),
        crawl.record("resource", inner, url="http://a.example/plain"),
    ]


def adversarial(crawl, inner=2):
    records = crawl.responses(3)
    for data in embedded(crawl, inner):
        records += [data, crawl.responses(2)[1]]
    return records


def per_record(crawl, records, level):
    return b"".join(crawl.member(data, level) for data in records)


@pytest.mark.parametrize("level", [0, 6, 9])
def test_a_gzip_file_cut_at_every_byte_gives_each_record_once(crawl, write, tmp_path, level):
    data = per_record(crawl, adversarial(crawl), level)
    source = SourceConfig(paths=(str(write("a.warc.gz", data)),))
    (unit,) = plan_units(source)
    whole = crawl.rows([unit], source)
    assert len(whole) == len(adversarial(crawl))
    assert crawl.tiles(whole, len(data))
    starts = [row["warc_offset"] for row in whole] + [len(data)]
    with open_range(str(tmp_path / "a.warc.gz"), {}) as reader:
        for cut in range(len(data) + 1):
            assert resolve(reader, cut, CODECS["gzip"]) == next(start for start in starts if start >= cut), cut
    every = [row["id"] for row in whole]
    for cut in range(0, len(data), 41):
        assert [row["id"] for row in crawl.rows(crawl.split(unit, [cut]), source)] == every, cut


def test_an_embedded_archive_longer_than_a_deflate_block_is_not_taken_for_records(crawl, write):
    noise = random.Random(7)
    pages = [noise.randbytes(5000) for _ in range(120)]
    inner = [crawl.record("resource", body, url=f"http://inner.example/{n}") for n, body in enumerate(pages)]
    packed = b"".join(crawl.member(data, 1) for data in inner)
    assert len(packed) > 600_000
    outer = [*crawl.responses(3), crawl.record("resource", packed), *crawl.responses(3)]
    for level in (0, 1, 6):
        data = per_record(crawl, outer, level)
        assert crawl.member(inner[50], 1)[:4000] in data or level  # the bytes lie there as they are
        source = SourceConfig(paths=(str(write("a.warc.gz", data)),))
        (unit,) = plan_units(source)
        whole = [row["id"] for row in crawl.rows([unit], source)]
        assert len(whole) == 7
        for cut in range(1, len(data), 9973):
            assert [row["id"] for row in crawl.rows(crawl.split(unit, [cut]), source)] == whole


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 20_000), max_size=12), level=st.sampled_from([0, 1, 6]))
def test_any_cuts_of_any_mixture_partition_the_records(crawl, write, seed, cuts, level):
    chance = random.Random(seed)
    records = [chance.choice(adversarial(crawl)) for _ in range(chance.randrange(1, 30))]
    data = per_record(crawl, records, level)
    source = SourceConfig(paths=(str(write("a.warc.gz", data)),))
    (unit,) = plan_units(source)
    whole = crawl.rows([unit], source)
    assert [row["id"] for row in crawl.rows(crawl.split(unit, cuts), source)] == [row["id"] for row in whole]
    assert len(whole) == len(records)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 9_000), max_size=6))
def test_damaged_gzip_files_tile_however_they_are_cut(crawl, write, seed, cuts):
    chance = random.Random(seed)
    data = bytearray(per_record(crawl, crawl.responses(30), 6))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data))
        change = chance.choice(["flip", "cut", "insert"])
        if change == "flip":
            data[at] ^= 1 << chance.randrange(8)
        elif change == "cut":
            del data[at : at + chance.randrange(1, 300)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 300))
    source = SourceConfig(paths=(str(write("a.warc.gz", bytes(data))),), format="warc")
    (unit,) = plan_units(source)
    if not unit.per_record:
        return
    whole = crawl.rows([unit], source)
    assert crawl.tiles(whole, len(data))
    pieces = crawl.rows(crawl.split(unit, cuts), source)
    assert crawl.tiles(pieces, len(data))
    sound = [row["id"] for row in whole if row["outcome"] != "quarantined"]
    assert [row["id"] for row in pieces if row["outcome"] != "quarantined"] == sound


@pytest.mark.parametrize("unit_bytes", [1, 100, 1000, 5000])
def test_a_plain_file_is_cut_where_records_start(crawl, write, unit_bytes):
    data = b"".join(adversarial(crawl))
    path = str(write("a.warc", data))
    whole = crawl.read(path)
    source = SourceConfig(paths=(path,), unit_bytes=unit_bytes)
    units = plan_units(source)
    assert len(units) > 1
    assert crawl.rows(units, source) == whole
    assert crawl.tiles(whole, len(data))
    assert len(whole) == len(adversarial(crawl))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), unit_bytes=st.integers(1, 4000))
def test_damaged_plain_files_tile_and_units_agree_with_the_whole(crawl, write, seed, unit_bytes):
    chance = random.Random(seed)
    data = bytearray(b"".join(adversarial(crawl)))
    for _ in range(chance.randrange(0, 6)):
        at = chance.randrange(len(data))
        if chance.random() < 0.5:
            del data[at : at + chance.randrange(1, 400)]
        else:
            data[at : at + 5] = chance.randbytes(5)
    path = str(write("a.warc", bytes(data)))
    whole = crawl.read(path, format="warc")
    assert crawl.tiles(whole, len(data))
    source = SourceConfig(paths=(path,), format="warc", unit_bytes=unit_bytes)
    assert crawl.rows(plan_units(source), source) == whole


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.text(max_size=30), min_size=1, max_size=30),
    end=st.sampled_from([b"\n", b"\r\n", b""]),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_json_lines_cut_anywhere_give_each_line_once(crawl, write, lines, end, cuts):
    import orjson

    data = (end or b"\n").join(orjson.dumps({"text": line}) for line in lines) + end
    source = SourceConfig(paths=(str(write("a.jsonl", data)),))
    (unit,) = plan_units(source)
    whole = crawl.rows([unit], source)
    assert crawl.rows(crawl.split(unit, cuts), source) == whole
    assert len(whole) == len(lines)


def test_a_file_in_one_member_is_one_unit(crawl, write):
    source = SourceConfig(paths=(str(write("a.warc.gz", gzip.compress(b"".join(crawl.responses(50))))),), unit_bytes=10)
    assert len(plan_units(source)) == 1


def test_units_are_of_even_size_and_cover_the_file(crawl, write):
    data = per_record(crawl, crawl.responses(100), 6)
    source = SourceConfig(paths=(str(write("a.warc.gz", data)),), unit_bytes=len(data) // 3)
    units = plan_units(source)
    assert [unit.index for unit in units] == [0, 1, 2, 3]
    assert (units[0].start, units[-1].end) == (0, len(data))
    assert all(a.end == b.start for a, b in pairwise(units))
    assert max(u.end - u.start for u in units) - min(u.end - u.start for u in units) <= 1
    assert len({unit.fingerprint for unit in units}) == 1


def test_a_border_inside_a_sound_member_is_refused_and_not_read_twice(crawl, write):
    path = write("a.warc.gz", per_record(crawl, crawl.responses(5), 6))
    with open_range(str(path), {}) as reader, pytest.raises(SourceError, match="lies inside one"):
        list(walk_members(reader, 0, 100, CODECS["gzip"], measure=True))


def test_stored_blocks_never_hold_more_than_the_chain_asks_for():
    packed = zlib.compress(random.Random(1).randbytes(300_000), 0)
    header = packed[3:7]
    assert int.from_bytes(header[:2], "little") ^ int.from_bytes(header[2:], "little") == 0xFFFF
    assert int.from_bytes(header[:2], "little") <= 65_535

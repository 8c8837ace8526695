from __future__ import annotations

import gzip
import io
import zlib
from itertools import pairwise

import pytest

from stages.read import SourceConfig, fetch_record, plan_units, read_unit


def verdicts(found):
    return [(row["outcome"], row["reason"]) for row in found]


def one(crawl, write, block, **more):
    (row,) = crawl.read(write("a.warc", crawl.record("response", block, **more)))
    return row


def test_a_page_comes_with_its_body_its_place_and_its_date(crawl, write):
    info = crawl.record("warcinfo", b"software: none\r\n", url=None)
    body = crawl.page(1)
    path = write(
        "CC-MAIN-2024-10-x.warc.gz", crawl.member(info) + crawl.member(crawl.record("response", crawl.http(body)))
    )
    first, second = crawl.read(path)
    assert (first["outcome"], first["reason"], first["detail"]) == ("rejected", "record/not_response@1", "warcinfo")
    assert first["html"] is None
    assert second["outcome"] is None
    assert second["html"] == body
    assert second["source_bytes"] == len(body)
    assert second["date"] == "2024-03-01T10:20:30Z"
    assert second["crawl"] == "CC-MAIN-2024-10"
    assert second["http_content_type"] == "text/html"
    assert second["warc_offset"] == len(crawl.member(info))
    assert second["warc_offset"] + second["warc_length"] == path.stat().st_size
    fetched = fetch_record(str(path), second["warc_offset"], second["warc_length"])
    assert fetched == crawl.record("response", crawl.http(body))
    stored = path.read_bytes()[second["warc_offset"] :]
    assert gzip.decompress(stored) == fetched


def test_an_id_depends_on_file_name_place_and_url_but_not_on_the_folder(crawl, write, tmp_path):
    data = b"".join(crawl.responses(3))
    (tmp_path / "deep").mkdir()
    here, there, other = write("a.warc", data), write("deep/a.warc", data), write("b.warc", data)
    ids = [[row["id"] for row in crawl.read(path)] for path in (here, there, other)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])
    assert all(len(id_) == 32 and set(id_) <= set("0123456789abcdef") for id_ in ids[0])


def test_records_that_share_a_gzip_member_still_have_different_ids(crawl, write):
    twice = crawl.record("response", crawl.http(b"<p>x")) * 2
    found = crawl.read(write("a.warc.gz", crawl.member(crawl.record("warcinfo", b"", url=None)) + crawl.member(twice)))
    assert len(found) == 3
    assert len({row["id"] for row in found}) == 3


@pytest.mark.parametrize(
    "kind", ["request", "metadata", "revisit", "conversion", "resource", "continuation", "monkeys"]
)
def test_what_is_no_response_is_rejected_with_its_type(crawl, write, kind):
    (row,) = crawl.read(write("a.warc", crawl.record(kind, b"x: y")), format="warc")
    assert (row["reason"], row["detail"], row["html"]) == ("record/not_response@1", kind, None)
    assert row["source_bytes"] == 4


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ("Content-Type: text/html; charset=x\r\n", b"hello", None),
        ("content-type: APPLICATION/XHTML+XML\r\n", b"hello", None),
        ("Content-Type: text/plain\r\n", b"<html>", "record/not_html@1"),
        ("Content-Type: image/png\r\n", b"<html>", "record/not_html@1"),
        ("", b"\xef\xbb\xbf \n<!DOCTYPE html><p>", None),
        ("", b"<?xml version='1.0'?>\n<html xmlns='x'>", None),
        ("", "\ufeff<html>x".encode("utf-16-le"), None),
        ("", b"just text", "record/not_html@1"),
        ("Content-Type: application/octet-stream\r\n", b"<HTML>\n", None),
        ("Content-Type: application/octet-stream\r\n", b"\x89PNG", "record/not_html@1"),
        ("Content-Type: text/html\r\n", b"", "record/empty@1"),
        ("Content-Type: text/html\r\n", b" \r\n\t", "record/empty@1"),
    ],
)
def test_html_is_told_by_its_header_and_by_its_bytes_where_the_header_is_silent(crawl, write, headers, body, reason):
    assert one(crawl, write, crawl.http(body, headers=headers))["reason"] == reason


@pytest.mark.parametrize(
    ("status", "reason"), [("200", None), ("200 OK200 OK", None), ("206 X", "record/http_status@1")]
)
def test_only_status_200_passes(crawl, write, status, reason):
    assert one(crawl, write, crawl.http(b"<p>x", status=status))["reason"] == reason


def test_a_response_without_status_line_is_quarantined_with_its_bytes(crawl, write):
    row = one(crawl, write, b"Content-Type: text/html\r\n\r\n<p>x")
    assert (row["outcome"], row["reason"]) == ("quarantined", "quarantine/http_headers")
    assert row["html"] == b"Content-Type: text/html\r\n\r\n<p>x"


def test_the_truncated_flag_travels(crawl, write):
    row = one(crawl, write, crawl.http(b"<p>x"), extra="WARC-Truncated: length")
    assert row["truncated"] == "length"


@pytest.mark.parametrize(
    ("recorded", "normal"),
    [
        ("2018-06-18T18:54:52Z", "2018-06-18T18:54:52Z"),
        ("2018-06-18T18:54:52.123456789Z", "2018-06-18T18:54:52Z"),
        ("2018-06-18T18:54:52+02:00", "2018-06-18T16:54:52Z"),
        ("2018-06-18T18:54-0130", "2018-06-18T20:24:00Z"),
        ("2018-06", "2018-06-01T00:00:00Z"),
        ("2018", "2018-01-01T00:00:00Z"),
        ("2008-10-294T10:00:00Z", None),
        ("2018-02-30T00:00:00Z", None),
        ("blue monday", None),
        ("9999-12-31T23:59:59-10:00", None),
    ],
)
def test_dates_become_utc_or_null(crawl, write, recorded, normal):
    data = crawl.record("response", crawl.http(b"<p>x")).replace(b"2024-03-01T10:20:30Z", recorded.encode())
    (row,) = crawl.read(write("a.warc", data))
    assert row["date"] == normal


@pytest.mark.parametrize(
    "change", [lambda d: d.lower(), lambda d: d.replace(b"\r\n", b"\n"), lambda d: d.replace(b": ", b":\r\n  ", 3)]
)
def test_lower_case_bare_line_feeds_and_folded_headers_are_read(crawl, write, change):
    head, _, rest = crawl.record("response", crawl.http(b"<p>x")).partition(b"\r\n\r\nHTTP")
    found = crawl.read(write("a.warc", (change(head + b"\r\n") + change(b"\r\n") + b"HTTP" + rest) * 3), format="warc")
    assert verdicts(found) == [(None, None)] * 3


def test_a_wrong_content_length_costs_one_record(crawl, write):
    good = crawl.responses(5)
    for wrong in (
        b"Content-Length: 3\r\n",
        b"Content-Length: 200\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Content-Length: -1\r\n",
    ):
        bad = b"\r\n".join(
            wrong.strip() if line.startswith(b"Content-Length: 1") else line for line in good[2].split(b"\r\n")
        )
        assert bad != good[2]
        data = b"".join([*good[:2], bad, *good[3:]])
        found = crawl.read(write("a.warc", data))
        assert [row["reason"] for row in found] == [None, None, "quarantine/broken_framing", None, None], wrong
        assert found[2]["html"] == bad
        assert crawl.tiles(found, len(data))


def test_garbage_between_records_is_one_row(crawl, write):
    first, second = crawl.responses(2)
    garbage = b"\x00garbage\nWARC/\n" * 50
    for make in (lambda d: d, crawl.member):
        data = make(first) + garbage + make(second)
        found = crawl.read(write("a.warc", data))
        assert [row["reason"] for row in found] == [None, "quarantine/broken_framing", None]
        assert found[1]["html"] == garbage
        assert crawl.tiles(found, len(data))


def test_a_flipped_byte_in_a_member_costs_that_member(crawl, write):
    members = [crawl.member(data) for data in crawl.responses(6)]
    broken = bytearray(members[3])
    broken[len(broken) // 2] ^= 0xFF
    data = b"".join([*members[:3], bytes(broken), *members[4:]])
    found = crawl.read(write("a.warc.gz", data))
    assert [row["reason"] for row in found] == [None] * 3 + ["quarantine/broken_framing"] + [None] * 2
    assert found[3]["html"] == bytes(broken)
    assert crawl.tiles(found, len(data))


def test_whole_file_compression_is_read_and_places_count_in_the_stream(crawl, write):
    lz4 = pytest.importorskip("lz4.frame")
    zstandard = pytest.importorskip("zstandard")
    plain = b"".join(crawl.responses(20))
    expected = crawl.read(write("a.warc", plain))
    for name, pack in (("gz", gzip.compress), ("zst", zstandard.ZstdCompressor().compress), ("lz4", lz4.compress)):
        path = write(f"a.warc.{name}", pack(plain))
        found = crawl.read(path, unit_bytes=100)
        place = [(row["warc_offset"], row["warc_length"], row["html"], row["reason"]) for row in found]
        assert place == [(row["warc_offset"], row["warc_length"], row["html"], row["reason"]) for row in expected]


@pytest.mark.parametrize("name", ["zst", "lz4"])
def test_one_frame_per_record_gives_places_in_the_file(crawl, write, name):
    import lz4.frame
    import zstandard

    pack = {"zst": zstandard.ZstdCompressor().compress, "lz4": lz4.frame.compress}[name]
    path = write(f"a.warc.{name}", b"".join(pack(data) for data in crawl.responses(9)))
    found = crawl.read(path)
    assert len(found) == 9
    assert crawl.tiles(found, path.stat().st_size)
    for row, data in zip(found, crawl.responses(9), strict=True):
        assert fetch_record(str(path), row["warc_offset"], row["warc_length"]) == data


def test_a_whole_file_gzip_cut_short_keeps_the_records_before_the_cut(crawl, write):
    data = gzip.compress(b"".join(crawl.responses(200, words=60)))
    found = crawl.read(write("a.warc.gz", data[: len(data) * 2 // 3]))
    assert len(found) > 20
    assert verdicts(found[:-1]) == [(None, None)] * (len(found) - 1)
    assert found[-1]["reason"] == "quarantine/truncated_file"


def test_a_block_above_the_limit_is_passed_over_with_a_sample(crawl, write):
    big = crawl.record("response", crawl.http(b"x" * 3_000_000))
    small = crawl.responses(1)[0]
    for data in (big + small, crawl.member(big) + crawl.member(small), crawl.member(big + small + small)):
        found = crawl.read(write("a.warc", data), max_payload="1MB")
        assert [row["reason"] for row in found][:2] == ["quarantine/oversize", None]
        assert len(found[0]["html"]) == 1 << 20
        assert found[0]["source_bytes"] > 3_000_000


def test_a_gzip_bomb_as_a_record_is_oversize_and_memory_stays_small(crawl, write):
    import resource

    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 150000000\r\n\r\n")
        for _ in range(150):
            file.write(bytes(1_000_000))
        file.write(b"\r\n\r\n")
    path = write("a.warc.gz", bomb.getvalue() + crawl.member(crawl.responses(1)[0]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = crawl.read(path, max_payload="8MiB")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert [row["reason"] for row in found] == ["quarantine/oversize", None]
    assert grown < 100_000  # KiB


def test_batches_are_bounded_by_rows_and_by_bytes(crawl, write):
    path = write("a.warc", b"".join(crawl.responses(30, words=200)))
    source = SourceConfig(paths=(str(path),))
    (unit,) = plan_units(source)
    assert [t.num_rows for t in read_unit(unit, source, batch_rows=8)] == [8, 8, 8, 6]
    assert all(t.num_rows == 2 for t in read_unit(unit, source, batch_bytes=2000))


def test_arc_records_are_read_in_both_versions(crawl, write):
    body = crawl.http(b"<p>x</p>")
    head = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n\n"
    v1 = b"http://a.example/a b 1.2.3.4 20080430204825 text/html; charset=x %d\n" % len(body) + body + b"\n"
    v2 = b"http://a.example/ 1.2.3.4 20080430204825 text/html 200 - - 1234567890 f.arc %d\n" % len(body) + body + b"\n"
    for line in (v1, v2):
        data = b"filedesc://x.arc 0.0.0.0 20080430000000 text/plain %d\n" % len(head) + head + b"\n" + line + line
        for make in (lambda d: d, gzip.compress):
            found = crawl.read(write("a.dat", make(data)))
            assert [row["reason"] for row in found] == ["record/not_response@1", None, None]
            assert found[1]["date"] == "2008-04-30T20:48:25Z"
            assert found[1]["html"] == b"<p>x</p>"
            assert found[1]["url"] in ("http://a.example/a b", "http://a.example/")
    assert crawl.tiles(crawl.read(write("b.arc", data)), len(data))


def test_wet_text_goes_into_content(crawl, write):
    text = "Zw\u00f6lf \u2014 text\0!".encode()
    info = crawl.record("warcinfo", b"x: y", url=None)
    for make in (lambda d: d, crawl.member):
        found = crawl.read(
            write("a.dat", make(info) + make(crawl.record("conversion", text)) + make(crawl.record("conversion", b" ")))
        )
        assert [row["reason"] for row in found] == ["record/not_response@1", None, "record/empty@1"]
        assert (found[1]["content"], found[1]["html"]) == ("Zw\u00f6lf \u2014 text!", None)
        assert found[1]["http_content_type"] == "text/plain"
        assert found[1]["source_bytes"] == len(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n" * 5000,
        b"WARC/1.0\r\n" * 3000,
        b"WARC/1.0\r\nContent-Length: 0\r\n\r\n" * 50,
        b"\x1f\x8b\x08" * 9999,
        b"\n" + b"WARC/1.0\nA:" * 2000,
    ],
    ids=["nothing", "line ends", "version lines", "empty records", "gzip magic", "headers without end"],
)
def test_odd_files_are_read_to_their_end(crawl, write, data):
    found = crawl.read(write("a.warc", data), format="warc")
    assert crawl.tiles(found, len(data))


def test_members_whose_headers_lie_do_not_fool_the_reader(crawl, write):
    raw = zlib.compressobj(wbits=-15)
    stream = raw.compress(crawl.responses(1)[0]) + raw.flush()
    liar = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + stream + b"\0" * 8  # wrong CRC
    data = crawl.member(crawl.responses(1)[0]) + liar + crawl.member(crawl.responses(2)[1])
    found = crawl.read(write("a.warc.gz", data))
    assert [row["reason"] for row in found] == [None, "quarantine/broken_framing", None]
    assert all(a["warc_offset"] < b["warc_offset"] for a, b in pairwise(found))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "pattern",
    [
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 900000\r\n\r\n",
        b"WARC/1.0\nA: b\n",
        b"WARC/1.0\nContent-Length: x\n\n",
        b"WARC/1.0\n\n",
        b"\n",
        b"A:",
    ],
)
def test_a_hostile_file_takes_linear_time(crawl, write, pattern, pack):
    data = crawl.responses(1)[0] + pattern * (1_200_000 // len(pattern))
    found = crawl.read(write("a.warc", pack(data)), format="warc")
    assert found[0]["outcome"] is None
    if pack is bytes:
        assert crawl.tiles(found, len(data))
    assert len({row["id"] for row in found}) == len(found)


@pytest.mark.parametrize("start", [b"BZh9", b"\xfd7zXZ", b"\x5d\x2a\x4d\x18"])
def test_compressions_that_cannot_be_read_are_refused_by_name(crawl, write, start):
    from corpus.errors import SourceError

    with pytest.raises(SourceError, match="cannot be read"):
        crawl.read(write("a.warc.xx", start + bytes(100)))

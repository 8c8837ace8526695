from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import SourceError
from stages.read import SourceConfig, plan_units, read_unit, sanitise_text


def lines(*documents):
    return b"".join(json.dumps(d).encode() + b"\n" if not isinstance(d, bytes) else d for d in documents)


def test_json_lines_become_documents_with_their_ids(crawl, write):
    data = lines(
        {"id": "a", "text": "one", "url": "http://x/", "date": "2020-01-02T03:04:05Z"},
        {"id": 7, "text": "two"},
        b"\n  \n",
        {"text": "three"},
    )
    found = crawl.read(write("CC-MAIN-2020-05.jsonl", data))
    assert [row["content"] for row in found] == ["one", "two", "three"]
    assert [row["id"] for row in found][:2] == ["a", "7"]
    assert len(found[2]["id"]) == 32
    assert (found[0]["url"], found[0]["date"], found[0]["crawl"]) == (
        "http://x/",
        "2020-01-02T03:04:05Z",
        "CC-MAIN-2020-05",
    )
    row = found[1]
    assert data[row["warc_offset"] :][: row["warc_length"]] == b'{"id": 7, "text": "two"}\n'
    assert row["source_bytes"] == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": 5}\n', "quarantine/no_text"),
        (b'{"text": null}\n', "quarantine/no_text"),
        (b'{"other": "x"}\n', "quarantine/no_text"),
        (b'{"text": "x"\n', "quarantine/bad_json"),
        (b'["text"]\n', "quarantine/bad_json"),
        (b"[" * 100_000 + b"\n", "quarantine/bad_json"),
        (b'{"text": " "}\n', "record/empty@1"),
        (b'{"text": "' + b"x" * 2000 + b'"}\n', "quarantine/oversize"),
        (b'{"text": "\\ud800"}\n', None),
        (b'{"text": "\xff\xfe"}\n', None),
        (b'{"text": "x", "n": NaN}\n', None),
    ],
)
def test_each_line_has_a_document_or_a_cause(crawl, write, line, reason):
    good = b'{"text": "fine"}\n'
    settings = {"max_payload": 1000} if len(line) < 3000 else {}
    found = crawl.read(write("a.jsonl", good + line + good), format="jsonl", **settings)
    assert [row["reason"] for row in found] == [None, reason, None]
    if reason and reason.startswith("quarantine"):
        assert line.startswith(found[1]["html"])


def test_compressed_json_lines_are_read_and_a_cut_is_told(crawl, write):
    data = b"".join(lines({"text": f"document {n} {'x' * (n % 17)}"}) for n in range(3000))
    packed = gzip.compress(data[:50_000]) + gzip.compress(data[50_000:])
    assert [r["content"] for r in crawl.read(write("a.jsonl.gz", packed))] == [
        json.loads(d)["text"] for d in data.splitlines()
    ]
    found = crawl.read(write("b.jsonl.gz", packed[:-2000]))
    assert 100 < len(found) < 3000
    assert [row["reason"] for row in found][-1] == "quarantine/truncated_file"
    assert all(row["reason"] is None for row in found[:-1])


def test_the_named_fields_are_used(crawl, write):
    data = lines({"body": "x", "key": "k", "link": "http://l/", "when": "2001"})
    (row,) = crawl.read(write("a.jsonl", data), text_field="body", id_field="key", url_field="link", date_field="when")
    assert (row["content"], row["id"], row["url"], row["date"]) == ("x", "k", "http://l/", "2001-01-01T00:00:00Z")


def parquet(path, columns, rows=10):
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def test_parquet_is_cut_at_row_groups_and_each_row_is_read_once(crawl, tmp_path):
    texts = [f"text {n}" for n in range(105)]
    path = parquet(
        tmp_path / "a.parquet",
        {"id": list(range(105)), "text": texts, "date": [datetime(2020, 1, 2, tzinfo=UTC)] * 105},
    )
    for unit_bytes in (1, 500, 10**9):
        source = SourceConfig(paths=(str(path),), unit_bytes=unit_bytes)
        units = plan_units(source)
        assert len(units) == {1: 11, 10**9: 1}.get(unit_bytes, len(units))
        found = crawl.rows(units, source)
        assert [row["content"] for row in found] == texts
        assert [row["id"] for row in found] == [str(n) for n in range(105)]
        assert [(row["warc_offset"], row["warc_length"]) for row in found] == [(n, 1) for n in range(105)]
        assert found[0]["date"] == "2020-01-02T00:00:00Z"


def test_parquet_texts_of_any_string_type_are_read(crawl, tmp_path):
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        column = (
            pa.array(["a\0b", None, ""]).cast(kind) if kind != pa.string_view() else pa.array(["a\0b", None, ""], kind)
        )
        found = crawl.read(parquet(tmp_path / "a.parquet", {"text": column}))
        assert [(row["content"], row["reason"]) for row in found] == [
            ("ab", None),
            (None, "quarantine/no_text"),
            (None, "record/empty@1"),
        ]


def test_bytes_that_are_no_utf8_are_repaired(crawl, tmp_path):
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb"))
    (row,) = crawl.read(parquet(tmp_path / "a.parquet", {"text": bad}))
    assert row["content"] == "a\N{REPLACEMENT CHARACTER}b"


def test_a_parquet_file_without_the_text_column_is_a_clear_error(crawl, tmp_path):
    path = parquet(tmp_path / "a.parquet", {"body": ["x"]})
    with pytest.raises(SourceError, match="no column 'text'") as error:
        crawl.read(path)
    assert "body" in error.value.fix


def test_a_damaged_parquet_page_is_quarantined_with_its_rows(crawl, tmp_path):
    path = parquet(tmp_path / "a.parquet", {"text": [f"text number {n} " * 50 for n in range(40)]})
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    found = crawl.read(path)
    assert sum(row["warc_length"] for row in found) == 40
    bad = [row for row in found if row["outcome"]]
    assert [(row["reason"], row["warc_offset"]) for row in bad] == [("quarantine/broken_framing", 10)]


@given(st.text(alphabet=st.characters(blacklist_categories=())))
def test_any_string_is_made_safe_once_and_for_all(text):
    clean = sanitise_text(text)
    assert pa.array([clean], pa.large_string()).to_pylist() == [clean]
    assert "\0" not in clean
    assert sanitise_text(clean) == clean
    if "\0" not in text and not any(0xD800 <= ord(c) < 0xE000 for c in text):
        assert clean is text


def test_surrogates_become_replacement_characters_and_pairs_are_joined():
    assert sanitise_text("a\ud800b") == "a\ufffdb"
    assert sanitise_text("\ud83d\ude00") == "\U0001f600"


def test_shards_of_a_corpus_keep_the_place_in_the_crawl(tmp_path):
    crawl = "CC-MAIN-2024-10"
    origin = {"warc_path": f"{crawl}/a.warc.gz", "warc_offset": 77, "warc_length": 500, "crawl": crawl}
    rows = [
        {"id": "one", "text": "kept", **origin},
        {"id": "two", "text": "no place", **dict.fromkeys(origin)},
        {"id": "three", "text": "half a place", **origin, "warc_offset": None},
    ]
    path = tmp_path / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = SourceConfig(paths=(str(path),))
    (table,) = (table for unit in plan_units(source) for table in read_unit(unit, source))
    places = list(zip(*(table.column(name).to_pylist() for name in origin), strict=True))
    assert places[0] == ("CC-MAIN-2024-10/a.warc.gz", 77, 500, "CC-MAIN-2024-10")
    assert places[1][:3] == (str(path), 1, 1)
    assert places[2][:3] == (str(path), 2, 1)

"""Files from the wild (beside the checkout, skipped where absent): nothing crashes, hangs or goes uncounted."""

from __future__ import annotations

import csv

import pytest

from corpus.errors import SourceError
from stages.read import SourceConfig, plan_units

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def cases(shared_data):
    folder = shared_data / "warc_cases"
    with (folder / "index.tsv").open(encoding="utf-8") as file:
        return [{**row, "path": folder / row["file"]} for row in csv.DictReader(file, delimiter="\t")]


def plan(path):
    try:
        source = SourceConfig(paths=(str(path),))
        return source, plan_units(source)
    except SourceError:
        source = SourceConfig(paths=(str(path),), format="arc" if ".arc" in path.name else "warc")
        return source, plan_units(source)


def test_every_file_is_read_and_the_rows_cover_it_without_gap_or_overlap(crawl, cases):
    assert len(cases) == 120
    for case in cases:
        source, units = plan(case["path"])
        found = crawl.rows(units, source)
        assert found or not int(case["bytes"]), case["file"]
        if units[0].compression == "none" or units[0].per_record:
            assert crawl.tiles(found, int(case["bytes"])), case["file"]
        assert all((row["reason"] and row["outcome"]) or row["html"] or row["content"] for row in found), case["file"]


def test_well_formed_files_have_as_many_rows_as_warcio_counts(crawl, cases):
    compared = 0
    for case in cases:
        if case["kind"] in ("valid", "valid_unusual") and not case["warcio_error"] and int(case["warcio_records"]):
            source, units = plan(case["path"])
            assert len(crawl.rows(units, source)) == int(case["warcio_records"]), case["file"]
            compared += 1
    assert compared >= 40


def test_bodies_are_those_that_warcio_decodes(crawl, cases):
    warcio = pytest.importorskip("warcio")
    compared = 0
    for case in cases:
        if case["kind"] != "valid" or ".wet" in case["file"]:
            continue
        source, units = plan(case["path"])
        found = [row for row in crawl.rows(units, source) if row["html"] and not row["outcome"]]
        with case["path"].open("rb") as file:
            pages = {}
            for record in warcio.ArchiveIterator(file, arc2warc=True):
                if record.rec_type == "response":
                    pages.setdefault(record.rec_headers.get_header("WARC-Target-URI"), []).append(
                        record.content_stream().read()
                    )
        for row in found:
            assert row["html"] in pages[row["url"]], (case["file"], row["url"])
            compared += 1
    assert compared > 40


def test_a_file_cut_at_every_997th_byte_never_loses_its_place(crawl, cases, write):
    wanted = {
        "resiliparse/warcfile.warc.gz",
        "dolma/sample-0000.warc.gz",
        "ipwb/baconIpsum_chunked.warc",
        "richardlehane/decode.warc",
    }
    for case in (case for case in cases if case["file"] in wanted):
        data = case["path"].read_bytes()
        source, units = plan(case["path"])
        whole = crawl.rows(units, source)
        ends = [row["warc_offset"] + row["warc_length"] for row in whole]
        known = -1
        for cut in range(1, len(data), 997):
            found = crawl.read(write(case["path"].name, data[:cut]), format="warc")
            assert crawl.tiles(found, cut), (case["file"], cut)
            sound = sum(row["outcome"] != "quarantined" for row in found)
            assert sound >= known, (case["file"], cut)
            known = sound
            if cut not in ends and cut < ends[-1] - 4:
                last_whole = sum(end - 4 <= cut for end in ends)
                assert last_whole - 1 <= sound <= last_whole + 1
                assert found[-1]["outcome"] == "quarantined" or cut in range(ends[sound - 1] - 4, ends[sound - 1])


def test_each_page_of_the_crawl_is_where_its_index_says(crawl, shared_data):
    import gzip
    import json

    path = shared_data / "crawl" / "crawl-01.warc.gz"
    with gzip.open(shared_data / "crawl" / "manifest.jsonl.gz", "rt", encoding="utf-8") as file:
        listed = [json.loads(line) for line in file]
    listed = sorted(
        (row["offset"], row["length"], row["url"], row["bytes"]) for row in listed if row["warc"].endswith(path.name)
    )
    source = SourceConfig(paths=(str(path),), unit_bytes="2MiB")
    units = plan_units(source)
    assert len(units) == 7
    found = [row for row in crawl.rows(units, source) if row["outcome"] is None]
    assert [(r["warc_offset"], r["warc_length"], r["url"], r["source_bytes"]) for r in found] == listed

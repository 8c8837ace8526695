from __future__ import annotations

import gzip

import pytest
from pydantic import ValidationError

from corpus.errors import SourceError
from stages.read import SourceConfig, plan_units
from stages.read.units import parse_size


def paths(*given, **settings):
    return [unit.path for unit in plan_units(SourceConfig(paths=tuple(str(p) for p in given), **settings))]


@pytest.fixture
def folder(tmp_path, crawl):
    for name in ("b/2.warc", "b/1.warc", "a/9.warc", "a/.hidden.warc", "a/_tmp/x.warc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(crawl.responses(1)[0])
    return tmp_path


def test_globs_are_sorted_in_the_order_given_without_repetition(folder):
    found = paths(folder / "b" / "*.warc", folder / "a" / "9.warc", folder / "*" / "*.warc")
    assert [path.removeprefix(str(folder)) for path in found] == [
        "/b/1.warc",
        "/b/2.warc",
        "/a/9.warc",
        "/a/.hidden.warc",
    ][:3]


def test_a_folder_means_all_files_below_but_hidden_ones(folder):
    assert [path.removeprefix(str(folder)) for path in paths(folder)] == ["/a/9.warc", "/b/1.warc", "/b/2.warc"]
    assert len(paths(folder, limit_files=2)) == 2


@pytest.mark.parametrize("name", ["warc.paths", "warc.paths.gz", "files.txt"])
def test_a_listing_names_files_relative_to_itself_or_to_a_prefix(folder, name):
    text = b"# comment\nb/2.warc\n\n  a/9.warc  \nb/2.warc\n"
    listing = folder / name
    listing.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    expected = [f"{folder}/b/2.warc", f"{folder}/a/9.warc"]
    assert paths(listing) == expected
    elsewhere = folder / "b" / name
    elsewhere.write_bytes(listing.read_bytes())
    assert paths(elsewhere, prefix=str(folder)) == expected
    with pytest.raises(SourceError):
        paths(elsewhere)


def test_a_listing_of_a_bucket_or_server_starts_at_its_root():
    from stages.read.listing import _default_prefix

    assert _default_prefix("s3://commoncrawl/crawl-data/CC-MAIN-2024-10/warc.paths.gz", "x") == "s3://commoncrawl/"
    assert _default_prefix("https://data.commoncrawl.org/a/warc.paths.gz", "x") == "https://data.commoncrawl.org/"
    assert _default_prefix("/tmp/none/warc.paths", "crawl-data/x") == "https://data.commoncrawl.org/"


def test_text_that_is_a_crawl_file_is_not_taken_for_a_listing(folder, crawl):
    path = folder / "sample.warc.txt"
    path.write_bytes(crawl.responses(1)[0])
    assert paths(path) == [str(path)]


@pytest.mark.parametrize("pattern", ["missing.warc", "none*.warc", "nowhere/"])
def test_a_path_that_matches_nothing_is_a_clear_error(folder, pattern):
    with pytest.raises(SourceError, match="matches no file") as error:
        paths(folder / pattern)
    assert pattern.rstrip("/") in error.value.where


def test_an_unknown_format_is_a_clear_error(folder):
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(SourceError, match="cannot tell what this file is"):
        paths(folder / "photo.png")


def test_an_unknown_protocol_is_a_clear_error():
    with pytest.raises(SourceError, match="nosuch"):
        paths("nosuch://bucket/file.warc")


def test_formats_are_told_by_content_whatever_the_name(folder, crawl):
    page = crawl.responses(1)[0]
    wanted = {
        "warc": page + page,
        "wet": crawl.record("warcinfo", b"") + crawl.record("conversion", b"text"),
        "jsonl": b'{"text": "x"}\n',
        "arc": b"filedesc://x 0.0.0.0 20080430000000 text/plain 2\nab\n",
    }
    for format_, data in wanted.items():
        for pack, compression in ((bytes, "none"), (gzip.compress, "gzip")):
            (folder / "odd.name").write_bytes(pack(data))
            (unit,) = plan_units(SourceConfig(paths=(str(folder / "odd.name"),)))
            assert (unit.format, unit.compression) == (format_, compression)


def test_the_fingerprint_follows_the_content(folder, crawl):
    def mark():
        return plan_units(SourceConfig(paths=(str(folder / "b" / "1.warc"),)))[0].fingerprint

    before = mark()
    (folder / "b" / "1.warc").touch()
    assert mark() == before
    (folder / "b" / "1.warc").write_bytes(crawl.responses(2)[1])
    assert mark() != before


def test_a_file_that_changed_since_the_plan_is_refused(folder, crawl):
    source = SourceConfig(paths=(str(folder / "b" / "1.warc"),))
    units = plan_units(source)
    (folder / "b" / "1.warc").write_bytes(crawl.responses(1)[0] * 2)
    with pytest.raises(SourceError, match="planned were"):
        crawl.rows(units, source)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 << 20), ("64 mib", 64 << 20), ("1.5GB", 1_500_000_000), ("10", 10), ("3k", 3000), ("7B", 7)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size
    assert SourceConfig(paths=("x",), unit_bytes=text).unit_bytes == size


@pytest.mark.parametrize(
    "settings", [{"unit_bytes": "big"}, {"unit_bytes": 0}, {"paths": ()}, {"format": "pdf"}, {"typo": 1}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        SourceConfig(**{"paths": ("x",), **settings})


@pytest.mark.parametrize("name", ["secret", "key", "aws_secret_access_key", "token", "password"])
def test_secrets_do_not_belong_into_the_manifest(name):
    with pytest.raises(ValidationError, match="environment"):
        SourceConfig(paths=("x",), storage_options={name: "hunter2"})


def test_the_settings_have_a_json_schema_with_sizes_as_text_or_number():
    schema = SourceConfig.model_json_schema()
    assert {"integer", "string"} == {kind["type"] for kind in schema["properties"]["unit_bytes"]["anyOf"]}
    assert all("description" in field for field in schema["properties"].values())

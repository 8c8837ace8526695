"""Real protocols: S3 from a moto server, HTTP from the standard library's, both on loopback."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest

from corpus.errors import SourceError
from stages.read import SourceConfig, fetch_record, plan_units
from stages.read.storage import REMOTE_WINDOW, open_range

pytestmark = [
    # botocore and aiohttp leave sockets to the garbage collector; that is theirs to mend
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def bucket():
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="crawls")
        yield client, {"endpoint_url": endpoint}
        server.stop()


def test_units_of_a_file_on_s3_give_what_the_local_file_gives(crawl, write, bucket):
    client, options = bucket
    data = b"".join(crawl.member(page) for page in crawl.responses(400, words=60))
    local = crawl.read(write("part-0.warc.gz", data))
    key = "crawl-data/CC-MAIN-2024-10/part-0.warc.gz"
    client.put_object(Bucket="crawls", Key=key, Body=data)
    client.put_object(Bucket="crawls", Key="crawl-data/CC-MAIN-2024-10/warc.paths", Body=key.encode() + b"\n")
    for path in (
        f"s3://crawls/{key}",
        "s3://crawls/crawl-data/CC-MAIN-2024-10/*.gz",
        "s3://crawls/crawl-data/CC-MAIN-2024-10/warc.paths",
    ):
        source = SourceConfig(paths=(path,), unit_bytes=len(data) // 5, storage_options=options)
        units = plan_units(source)
        assert len(units) == 6
        assert {unit.path for unit in units} == {f"s3://crawls/{key}"}
        found = crawl.rows(units, source)
        assert [(r["id"], r["html"], r["warc_offset"]) for r in found] == [
            (r["id"], r["html"], r["warc_offset"]) for r in local
        ]
        assert found[0]["crawl"] == "CC-MAIN-2024-10"
    row = found[33]
    assert (
        fetch_record(row["warc_path"], row["warc_offset"], row["warc_length"], options=options)
        == crawl.responses(34, words=60)[33]
    )


def test_the_fingerprint_of_a_remote_file_changes_with_its_content(crawl, bucket):
    client, options = bucket
    marks = []
    for page in crawl.responses(2):
        client.put_object(Bucket="crawls", Key="changing.warc", Body=page)
        marks.append(
            plan_units(SourceConfig(paths=("s3://crawls/changing.warc",), storage_options=options))[0].fingerprint
        )
    assert marks[0] != marks[1]


def test_a_missing_key_is_a_clear_error(bucket):
    _, options = bucket
    with pytest.raises(SourceError, match="matches no file"):
        plan_units(SourceConfig(paths=("s3://crawls/none.warc",), storage_options=options))


def test_parquet_on_s3_is_read_by_row_groups(crawl, bucket, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    client, options = bucket
    pq.write_table(pa.table({"text": [f"t{n}" for n in range(30)]}), tmp_path / "a.parquet", row_group_size=10)
    client.upload_file(str(tmp_path / "a.parquet"), "crawls", "a.parquet")
    source = SourceConfig(paths=("s3://crawls/a.parquet",), unit_bytes=1, storage_options=options)
    units = plan_units(source)
    assert len(units) == 3
    assert [row["content"] for row in crawl.rows(units, source)] == [f"t{n}" for n in range(30)]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    failures = 0

    def log_message(self, *_):
        pass

    def do_GET(self):
        if type(self).failures > 0:
            type(self).failures -= 1
            self.send_error(503)
        else:
            super().do_GET()


@pytest.fixture
def web(tmp_path):
    pytest.importorskip("aiohttp")
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_files_and_listings_on_a_web_server_are_read_even_without_range_requests(crawl, write, web):
    data = b"".join(crawl.member(page) for page in crawl.responses(50))
    local = crawl.read(write("a.warc.gz", data))
    write("warc.paths", b"a.warc.gz\n")
    for name in ("a.warc.gz", "warc.paths"):
        source = SourceConfig(paths=(f"{web}/{name}",), unit_bytes=len(data) // 3)
        assert [row["id"] for row in crawl.rows(plan_units(source), source)] == [row["id"] for row in local]


def test_a_server_that_stumbles_is_asked_again(crawl, write, web, monkeypatch):
    import tenacity

    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda seconds: None)
    data = crawl.responses(1)[0]
    write("a.warc", data)
    monkeypatch.setattr(_Quiet, "failures", 2)
    with open_range(f"{web}/a.warc", {}, len(data)) as reader:
        assert bytes(reader.view(0, REMOTE_WINDOW)) == data
    monkeypatch.setattr(_Quiet, "failures", 99)
    with open_range(f"{web}/a.warc", {}, len(data)) as reader, pytest.raises(SourceError, match="503"):
        reader.view(0, 10)

"""Crawls and corpora that are not on this disk: S3 (a real server of the protocol on loopback) and HTTP with ranges."""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.commit import current_manifest
from corpus.storage import open_store

CANARY = "c4n4ry"
STAGES = [
    *({"kind": kind} for kind in ("extract", "signals")),
    {"kind": "rules", "rulesets": ["gopher"]},
    {"kind": "dedup"},
]
WHERE_FROM = ("warc_path",)


@pytest.fixture(scope="module")
def s3(crawl):
    """A server with two buckets: ``incoming`` holds the crawl and a listing of it, ``curated`` is empty."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, f"{CANARY}-{name.lower()}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="incoming")
        client.create_bucket(Bucket="curated")
        names = files_of(crawl[0])
        for name in names:
            client.upload_file(str(crawl[0] / name), "incoming", f"crawl/{name}")
        listing = gzip.compress("".join(f"crawl/{name}\n" for name in names).encode())
        client.put_object(Bucket="incoming", Key="warc.paths.gz", Body=listing)
        yield client
    server.stop()


@pytest.fixture(scope="module")
def web(crawl):
    """An HTTP server over the crawl that honours ranges; yields its URL and the ranges it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None: ...

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = crawl[0] / self.path.lstrip("/")
            data = path.read_bytes() if path.is_file() else b""
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if wanted:
                asked.append(wanted[0])
                first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
                whole, data = len(data), data[first : last + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
            else:
                self.send_response(200 if path.is_file() else 404)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


def files_of(folder):
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.warc*"))]


@pytest.fixture(scope="module")
def curate(cli, tmp_path_factory):
    def call(paths, output=None, **source):
        folder = tmp_path_factory.mktemp("remote")
        manifest = {
            "name": "remote",
            "source": {"paths": paths, **source},
            "output": {"path": output or str(folder / "out")},
            "executor": {"kind": "local", "workers": 1},
            "stages": STAGES,
        }
        (folder / "m.yaml").write_text(json.dumps(manifest))
        done = cli("run", str(folder / "m.yaml"), "--json")
        assert done.code == 0, done.stderr
        return done.result

    return call


@pytest.fixture(scope="module")
def local(curate, crawl):
    return curate([str(crawl[0] / name) for name in files_of(crawl[0])])


@pytest.fixture(scope="module")
def in_the_cloud(curate, s3):
    return curate(["s3://incoming/crawl/**/*.warc*"], "s3://curated/one")


def rows(output):
    store = open_store(output)
    found = {}
    for kind, entries in current_manifest(store).files.items():
        tables = [
            pq.read_table(io.BytesIO(store.read(entry.name))).drop_columns(WHERE_FROM).to_pylist() for entry in entries
        ]
        found[kind] = sorted(json.dumps(row, sort_keys=True, default=str) for table in tables for row in table)
    return found


def without_places(text):
    return [re.sub(r'"(id|cluster|survivor)": "[0-9a-f]*"', "", row) for row in text]


def test_a_crawl_on_s3_curated_to_s3_gives_what_local_files_give(in_the_cloud, local):
    assert in_the_cloud["ledger"] == local["ledger"]
    remote, near = rows(in_the_cloud["output"]), rows(local["output"])
    assert {kind: sorted(without_places(found)) for kind, found in remote.items()} == {
        kind: sorted(without_places(found)) for kind, found in near.items()
    }


def test_a_second_run_to_s3_does_nothing_again(in_the_cloud, curate, s3):
    def work():
        found = s3.list_objects_v2(Bucket="curated", Prefix="one/.work/")["Contents"]
        return {item["Key"]: item["LastModified"] for item in found if item["Key"].endswith((".parquet", "task.json"))}

    before = work()
    again = curate(["s3://incoming/crawl/**/*.warc*"], "s3://curated/one")
    assert (again["digest"], again["run_id"]) == (in_the_cloud["digest"], in_the_cloud["run_id"])
    assert work() == before


def test_every_question_is_answered_about_a_corpus_on_s3(in_the_cloud, cli, s3):
    output = in_the_cloud["output"]
    assert cli("verify", output, "--json").result["sound"]
    assert cli("status", output, "--json").result["state"] == "published"
    assert cli("whatif", output, "--json").result["documents"] > 0
    assert cli("explain", output, "https://nowhere.example/", "--json").result == {"documents": []}
    document = json.loads(rows(output)["documents"][0])
    (found,) = cli("explain", output, document["id"], "--json").result["documents"]
    assert found["url"] == document["url"]


def test_a_torn_object_is_found_by_verify(curate, cli, s3):
    output = curate(["s3://incoming/crawl/**/*.warc"], "s3://curated/torn")["output"]
    (shard,) = (item["Key"] for item in s3.list_objects_v2(Bucket="curated", Prefix="torn/documents/")["Contents"])
    s3.put_object(Bucket="curated", Key=shard, Body=b"PAR1")
    done = cli("verify", output, "--json")
    assert done.code == 1
    assert shard.removeprefix("torn/") in done.result["faults"][0]


def test_no_credential_of_the_environment_is_in_any_object(in_the_cloud, s3):
    for item in s3.list_objects_v2(Bucket="curated", Prefix="one/")["Contents"]:
        body = s3.get_object(Bucket="curated", Key=item["Key"])["Body"].read()
        assert CANARY.encode() not in body
        if item["Key"].endswith(".parquet"):
            assert CANARY not in str(pq.read_table(io.BytesIO(body)).to_pydict())


def test_a_listing_on_a_web_server_is_read_in_ranges_and_gives_the_same_rows(web, curate, crawl, local):
    (crawl[0] / "warc.paths.gz").write_bytes(gzip.compress("\n".join(files_of(crawl[0])).encode()))
    try:
        by_default = curate([f"{web[0]}warc.paths.gz"])
        with_prefix = curate([str(crawl[0] / "warc.paths.gz")], prefix=web[0])
    finally:
        (crawl[0] / "warc.paths.gz").unlink()
    assert by_default["ledger"] == with_prefix["ledger"] == local["ledger"]
    assert by_default["digest"] == with_prefix["digest"]
    assert web[1]


@pytest.mark.parametrize("path", ["s3://incoming/nothing/*.warc", "s3://no-such-bucket/x.warc", "gopher://x/y.warc"])
def test_a_remote_path_that_is_not_there_is_named(cli, s3, tmp_path, path):
    (tmp_path / "m.yaml").write_text(json.dumps(manifest_of([path], str(tmp_path / "out"))))
    done = cli("run", str(tmp_path / "m.yaml"))
    assert done.code == 1
    assert path in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["gopher://x/y", "s3://no-such-bucket/x"])
def test_an_output_that_cannot_be_is_named(cli, s3, crawl, tmp_path, output):
    (tmp_path / "m.yaml").write_text(json.dumps(manifest_of([str(crawl[0])], output)))
    done = cli("run", str(tmp_path / "m.yaml"))
    assert done.code in (1, 2)
    assert "Traceback" not in done.stderr


def test_a_password_in_a_url_is_neither_printed_nor_written(cli, web, crawl, tmp_path):
    url = web[0].replace("//", f"//bob:{CANARY}@") + files_of(crawl[0])[0]
    (tmp_path / "m.yaml").write_text(json.dumps(manifest_of([url], str(tmp_path / "out"))))
    done = cli("validate", str(tmp_path / "m.yaml"), "--json")
    assert CANARY not in done.stdout + done.stderr


def manifest_of(paths, output):
    return {
        "name": "t",
        "source": {"paths": paths},
        "output": {"path": output},
        "executor": {"kind": "local", "workers": 1},
        "stages": STAGES,
    }


def test_a_harvest_on_s3_has_the_bytes_of_a_local_one(s3, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("CORPUS_CACHE", str(tmp_path / "cache"))
    rows = [
        {"id": f"{word}{n}", "text": f"The {word} number {n} stands in a room."} for word in "abcd" for n in range(9)
    ]
    rows += [{"id": f"heart{n}", "text": f"The heart pumps blood, case {n}, through every artery."} for n in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus.parquet")
    s3.upload_file(str(tmp_path / "corpus.parquet"), "incoming", "corpus.parquet")
    seeds = {"texts": ["the heart and its blood", "artery"], "domain": "medicine"}
    digests = []
    for source, output in (
        (str(tmp_path / "corpus.parquet"), str(tmp_path / "pile")),
        ("s3://incoming/corpus.parquet", "s3://curated/pile"),
    ):
        manifest = {
            "name": "pile",
            "source": {"paths": [source]},
            "output": {"path": output},
            "executor": {"kind": "local", "workers": 2},
            "harvest": {"seeds": [seeds], "queries": {"rounds": 1}},
            "stages": [{"kind": "dedup"}],
        }
        path = tmp_path / "pile.yaml"
        path.write_text(json.dumps(manifest))
        done = cli("run", str(path), "--json")
        assert done.code == 0, done.stderr
        assert done.result["ledger"]["kept"] >= 4
        digests.append([row["id"] for row in read_documents(output)])
        assert cli("verify", output, "--json").result["sound"]
        hits = cli("search", f"{output}/index", "blood artery", "-k", "2", "--json").result["hits"]
        assert all("blood" in hit["text"] for hit in hits)
    assert digests[0] == digests[1]


def read_documents(output):
    store = open_store(output)
    manifest = current_manifest(store)
    tables = []
    for entry in manifest.files["documents"]:
        with store.open(entry.name) as file:
            tables.append(pq.read_table(io.BytesIO(file.read())))
    return pa.concat_tables(tables).to_pylist()

"""The main job end to end over the sample crawl: nothing lost, the same bytes however it is run, whatever dies."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.commit import current_manifest
from corpus.storage import open_store

WANJUAN_FIELDS = [
    *("id", "content", "title", "language", "date", "token_num", "cbytes_num", "line_num", "char_num"),
    *("toxic_score", "porn_score", "fluency_score", "not_ad_score"),
]


def options(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def published(folder: Path, kind: str):
    return pq.read_table([str(path) for path in sorted((folder / kind).glob("*.parquet"))])


@pytest.fixture(scope="module")
def calm(cli, crawl, tmp_path_factory):
    """An undisturbed run with one worker: what all others are held against."""
    out = tmp_path_factory.mktemp("calm") / "out"
    arguments = options(
        f"source.paths=['{crawl[0]}/**/*.warc*']",
        "source.unit_bytes=200KiB",
        f"output.path={out}",
        "executor.kind=local",
        "executor.workers=1",
    )
    done = cli("run", "manifests/wanjuan.yaml", "--json", *arguments)
    assert done.code == 0, done.stderr
    return out, done.result


def test_the_ledger_closes_over_every_record_of_the_crawl(calm, crawl):
    ledger = calm[1]["ledger"]
    out = ledger["kept"] + sum(ledger["rejected"].values()) + ledger["duplicates"] + sum(ledger["quarantined"].values())
    assert ledger["read"] == out == crawl[1].read
    assert ledger["kept"] > 0
    assert ledger["duplicates"] > 0
    assert ledger["quarantined"]


def test_documents_and_rejected_together_are_what_was_read(calm):
    folder, result = calm
    documents, rejected = published(folder, "documents"), published(folder, "rejected")
    assert documents.num_rows == result["ledger"]["kept"]
    assert documents.num_rows + rejected.num_rows == result["ledger"]["read"]
    assert rejected.column("reason").null_count == 0
    identities = [*documents.column("id").to_pylist(), *rejected.column("id").to_pylist()]
    assert len(set(identities)) == len(identities)


def test_kept_documents_carry_the_released_fields_and_their_way_back_to_the_crawl(calm):
    documents = published(calm[0], "documents")
    assert documents.column_names[:13] == WANJUAN_FIELDS
    for name in (*WANJUAN_FIELDS, "url", "crawl", "warc_path", "warc_offset", "warc_length", "signals"):
        if name != "title":
            assert documents.column(name).null_count == 0, name
    for row in documents.select(["content", "cbytes_num", "char_num", "line_num"]).to_pylist():
        assert row["cbytes_num"] == len(row["content"].encode())
        assert row["char_num"] == len(row["content"])
        assert row["line_num"] == row["content"].count("\n") + 1
    assert set(documents.column("language").to_pylist()) == {"en"}


def test_duplicates_name_a_survivor_that_is_not_a_duplicate_itself(calm):
    documents, rejected = published(calm[0], "documents"), published(calm[0], "rejected")
    everything = {row["id"]: row for row in rejected.select(["id", "outcome", "survivor", "similarity"]).to_pylist()}
    kept = set(documents.column("id").to_pylist())
    duplicates = [row for row in everything.values() if row["outcome"] == "duplicate"]
    for row in duplicates:
        assert row["similarity"] >= 0.7
        assert row["survivor"] in kept or everything[row["survivor"]]["outcome"] == "rejected"


def test_quarantined_documents_keep_their_raw_bytes(calm):
    quarantine = published(calm[0], "quarantine")
    assert quarantine.num_rows == sum(calm[1]["ledger"]["quarantined"].values())
    assert quarantine.column("html").null_count < quarantine.num_rows


@pytest.mark.parametrize("settings", [("executor.workers=2",), ("executor.kind=ray", "executor.workers=2")])
def test_the_corpus_does_not_depend_on_executor_or_workers(cli, wanjuan, calm, settings):
    done = cli(*wanjuan, *options(*settings))
    assert done.code == 0, done.stderr
    assert done.result["digest"] == calm[1]["digest"]
    assert done.result["ledger"] == calm[1]["ledger"]


@pytest.mark.parametrize("nth", [1, 4, 9, 30])
def test_a_killed_run_goes_on_where_it_stopped_and_gives_the_same_bytes(cli, wanjuan, calm, tmp_path, nth):
    killed = cli(*wanjuan, CORPUS_CRASH_AT=f"driver.task_done:{nth}")
    assert killed.code == -signal.SIGKILL
    store = open_store(str(tmp_path / "out"))
    assert current_manifest(store) is None
    finished = {name: store.read(name) for name in store.names(".work") if name.endswith("seconds.json")}
    assert len(finished) >= nth
    done = cli(*wanjuan)
    assert done.code == 0, done.stderr
    assert done.result["digest"] == calm[1]["digest"]
    # a task that was done again would have written other times
    assert {name: store.read(name) for name in finished} == finished


@pytest.mark.parametrize("point", ["run.before_manifest:1", "run.before_pointer:1", "run.after_pointer:1"])
def test_a_kill_while_publishing_leaves_the_old_state_or_the_new_one(cli, wanjuan, calm, tmp_path, point):
    assert cli(*wanjuan, CORPUS_CRASH_AT=point).code == -signal.SIGKILL
    seen = current_manifest(open_store(str(tmp_path / "out")))
    assert (seen is None) == (point != "run.after_pointer:1")
    done = cli(*wanjuan)
    assert done.result["digest"] == calm[1]["digest"]
    assert cli("verify", str(tmp_path / "out")).code == 0


@pytest.mark.parametrize("point", ["publish.before_hash:3", "publish.after_link:2", "task.before_record:1"])
def test_a_worker_killed_anywhere_is_replaced_without_a_trace_in_the_corpus(cli, wanjuan, calm, tmp_path, point):
    marker = str(tmp_path / "crashed")
    done = cli(*wanjuan, CORPUS_CRASH_AT=point, CORPUS_CRASH_ONCE=marker)
    assert Path(marker).exists()
    assert done.code == 0, done.stderr
    assert done.result["digest"] == calm[1]["digest"]


def test_a_document_that_kills_its_worker_ends_in_quarantine_alone(cli, wanjuan, calm, tmp_path):
    victim = published(calm[0], "documents").column("url")[0].as_py()
    done = cli(*wanjuan, *options("executor.max_attempts=1"), CORPUS_CRASH_ON_URL=victim)
    assert done.code == 0, done.stderr
    assert done.result["ledger"]["read"] == calm[1]["ledger"]["read"]
    sick = published(tmp_path / "out", "quarantine").to_pylist()
    assert [row["url"] for row in sick if row["reason"] == "quarantine/killed_worker"] == [victim]


def test_a_changed_threshold_redoes_only_what_depends_on_it(cli, wanjuan, tmp_path):
    first = cli(*wanjuan)
    store = open_store(str(tmp_path / "out"))
    before = {name: store.read(name) for name in store.names(".work/documents") if name.endswith("seconds.json")}
    second = cli(*wanjuan, *options("stages.rank_cut.keep=0.9"))
    assert second.code == 0, second.stderr
    assert second.result["ledger"]["kept"] > first.result["ledger"]["kept"]
    assert {name: store.read(name) for name in store.names(".work/documents") if name in before} == before
    assert published(tmp_path / "out", "documents").num_rows == second.result["ledger"]["kept"]
    assert cli("verify", str(tmp_path / "out")).code == 0


@pytest.fixture(scope="module")
def planted(calm, crawl):
    """Planted copies whose two documents both came as far as deduplication: (truth, document, original)."""
    rows = {
        (Path(row["warc_path"]).name, row["warc_offset"]): row
        for kind in ("documents", "rejected")
        for row in published(calm[0], kind).to_pylist()
    }
    truths = [json.loads(line) for line in (crawl[0] / "truth.jsonl").read_text().splitlines()]
    by_id = {truth["id"]: truth for truth in truths}
    pairs = []
    for truth in truths:
        source = truth.get("duplicate_of") or truth.get("near_duplicate_of")
        if source:
            found = [rows[Path(t["warc"]).name, t["offset"]] for t in (truth, by_id[source])]
            if all(row.get("outcome") in (None, "duplicate") or "score" in row["reason"] for row in found):
                pairs.append((truth, *found))
    return pairs


def test_planted_exact_copies_are_found_and_the_newest_crawl_survives(planted):
    recrawled = [(a, b) for truth, a, b in planted if truth["relation"] == "recrawl"]
    assert recrawled
    for pair in recrawled:
        older, newer = sorted(pair, key=lambda row: row["crawl"])
        assert older["outcome"] == "duplicate"
        assert older["cluster"] == newer["cluster"] is not None


def test_planted_near_copies_merge_above_the_threshold_and_never_below(planted):
    near = [
        (truth["jaccard"], a["cluster"] is not None and a["cluster"] == b["cluster"])
        for truth, a, b in planted
        if truth["relation"] == "near"
    ]
    assert [together for jaccard, together in near if jaccard > 0.9].count(True) > 0
    assert not any(together for jaccard, together in near if jaccard < 0.62)

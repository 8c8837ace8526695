"""What a finished run shows: the account told in steps, the page safe whatever the crawl says, the card readable."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from corpus.commit import CorpusManifest, current_manifest, publish_corpus
from corpus.ledger import Count, Ledger, tally
from corpus.shards import ShardWriter
from corpus.storage import open_store, publish_file, staging_folder
from pipeline import survey as survey_module
from pipeline.card import dataset_card
from pipeline.charts import histogram
from pipeline.funnel import KEPT, STEPS, funnel, reasons, step_of
from pipeline.report import ALARM_SHARE, MANY_PAGES, host_rows, plain, write_report
from pipeline.survey import AXES, BINS, SAMPLES, Axis, Survey, survey
from pipeline.verify import verify_corpus

HOSTILE = "</blockquote><script>alert(1)</script><img src=http://evil.example/x>\u202egnp.exe\x00\x1b[31m"
STAGES = ({"kind": "extract", "files": []}, {"kind": "signals", "files": []}, {"kind": "rank_cut", "keep": 0.5})
REASONS = ("gopher/word_count@1", "duplicate/near", "rank_cut/fluency_score@1", "quarantine/extract_crash")


def row(number, reason=None, **given):
    outcome = {"duplicate": "duplicate", "quarantine": "quarantined"}.get(str(reason).split("/")[0], "rejected")
    values = {
        "id": f"{number:032x}",
        "content": f"Text number {number}. " * 60,
        "title": f"Title {number}",
        "language": "en",
        "token_num": 300,
        "cbytes_num": 1000,
        "fluency_score": number % 10 / 10,
        "url": f"https://host{number % 3}.example/{number}",
        "source_bytes": 5000,
        "cluster": "c1" if reason == "duplicate/near" else None,
        "signals": {"character_count": 1000 + number, "pii_email": number % 2},
    }
    verdict = {"outcome": outcome, "reason": reason, "detail": "word_count 3 < min 50"} if reason else {}
    return values | verdict | given


def publish(folder, kept, rejected, *, stages=STAGES, group_rows=64):
    """A published corpus of these rows, and its manifest."""
    store = open_store(str(folder))
    files, tables = {}, {}
    with staging_folder(store) as staging:
        for kind, rows in (("documents", kept), ("rejected", rejected)):
            tables[kind] = pa.Table.from_pylist(rows) if rows else pa.table({"id": pa.array([], pa.string())})
            path = staging / f"{kind}.parquet"
            with ShardWriter(path, tables[kind].schema, row_group_rows=group_rows) as writer:
                writer.write(tables[kind])
            files[kind] = (publish_file(store, path, f"{kind}/part-00000.parquet", rows=len(rows)),)
    nothing = pa.nulls(len(kept), pa.string())
    counted = [tables["documents"].append_column("outcome", nothing).append_column("reason", nothing)]
    ledger = tally(Count(), [*counted, tables["rejected"]])
    manifest = CorpusManifest(
        name="small", files=files, ledger=ledger.model_copy(update={"read": ledger.out}), stages=stages, code="0"
    )
    publish_corpus(store, manifest, {})
    return store, manifest


@pytest.fixture
def corpus(tmp_path):
    kept = [row(n, title=HOSTILE, content=HOSTILE + " word" * 900, url=f"javascript:alert({n})") for n in range(30)]
    rejected = [row(100 + n, REASONS[n % len(REASONS)], detail=HOSTILE) for n in range(60)]
    return publish(tmp_path / "out", kept, rejected)


class Page(HTMLParser):
    """The elements of a page, and everything in it that could fetch or run something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.active, self.meta = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        if tag == "meta" and "http-equiv" in found:
            self.meta[found["http-equiv"]] = found["content"]
        self.active += [f"{tag} {k}={v}" for k, v in found.items() if k in ("src", "style") or k.startswith("on")]
        self.active += [v for k, v in found.items() if k == "href" and not v.startswith("#")]


def test_page_and_card_stand_beside_a_corpus_that_stays_sound(corpus):
    store, manifest = corpus
    assert write_report(store, manifest) == ["README.md", "report.html"]
    assert verify_corpus(store).faults == []
    assert current_manifest(store).digest == manifest.digest


def test_writing_the_report_again_gives_the_same_bytes(corpus):
    store, manifest = corpus
    first = [store.read(name) for name in write_report(store, manifest)]
    assert [store.read(name) for name in write_report(store, manifest)] == first


def test_text_of_a_page_never_becomes_markup(corpus):
    store, manifest = corpus
    write_report(store, manifest)
    text = store.read("report.html").decode()
    page = Page(text)
    assert not {"script", "img", "iframe", "object", "link", "form"} & set(page.tags)
    assert page.active == []
    assert "&lt;script&gt;" in text
    assert not {"\u202e", "\x00", "\x1b"} & set(text)


def test_the_content_security_policy_allows_the_style_of_the_page_and_nothing_else(corpus):
    store, manifest = corpus
    write_report(store, manifest)
    text = store.read("report.html").decode()
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = Page(text).meta["Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_the_front_matter_is_yaml_that_finds_the_shards(corpus):
    store, manifest = corpus
    write_report(store, manifest)
    _, front, body = store.read("README.md").decode().split("---\n", 2)
    values = YAML(typ="safe").load(front)
    assert values["configs"][0]["data_files"] == [{"path": "documents/*.parquet", "split": "train"}]
    assert values["language"] == ["en"]
    assert values["size_categories"] == ["n<1K"]
    assert "| kept |  | 30 |" in body
    assert "<script" not in body


def test_the_card_gives_file_names_and_not_the_folders_of_the_machine(tmp_path):
    stages = ({"kind": "url_filter", "domains": ["/home/someone/lists/bad.txt"]},)
    store, manifest = publish(tmp_path / "out", [row(1)], [], stages=stages)
    card = dataset_card(store, manifest, survey(store, manifest))
    assert "bad.txt" in card
    assert "someone" not in card


def test_a_corpus_in_which_nothing_is_left_has_a_report_too(tmp_path):
    store, manifest = publish(tmp_path / "out", [], [row(1, "extract/empty@1", content=None, signals=None, title=None)])
    write_report(store, manifest)
    assert Page(store.read("report.html").decode()).tags.count("section") >= 6


def test_a_corpus_without_signals_urls_and_scores_has_a_report_too(tmp_path):
    bare = [{"id": str(n), "url": None, "content": "a", "source_bytes": 1} for n in range(3)]
    store, manifest = publish(tmp_path / "out", bare, [], stages=({"kind": "dedup"},))
    write_report(store, manifest)
    assert "No signals were recorded" in store.read("report.html").decode()


def test_samples_and_counts_do_not_depend_on_row_groups(tmp_path):
    kept, rejected = [row(n) for n in range(50)], [row(100 + n, REASONS[n % 4]) for n in range(60)]
    found = [survey(*publish(tmp_path / f"{n}", kept, rejected, group_rows=n)) for n in (7, 1024)]
    assert found[0].kept_samples == found[1].kept_samples
    assert found[0].rejected_samples == found[1].rejected_samples
    assert len(found[0].kept_samples) == SAMPLES
    # quarantined documents have no text to show
    assert {row["reason"] for row in found[0].rejected_samples} == set(REASONS) - {"quarantine/extract_crash"}
    for column, counts in found[0].histograms.items():
        assert np.array_equal(counts, found[1].histograms[column])


def test_histograms_hold_every_kept_document_and_every_one_behind_the_cut(corpus):
    found = survey(*corpus)
    assert found.compared == "cut by rank"
    assert found.histograms["signals.character_count"].sum(axis=1).tolist() == [30, 15]


def test_without_a_rank_cut_histograms_compare_with_all_that_was_rejected(tmp_path):
    rejected = [row(100 + n, REASONS[n % 2]) for n in range(10)]
    found = survey(*publish(tmp_path / "out", [row(1)], rejected, stages=({"kind": "signals"},)))
    assert found.histograms["signals.character_count"].sum(axis=1).tolist() == [1, 10]


def test_beyond_a_number_of_clusters_they_are_sampled_and_the_factor_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(survey_module, "MAX_CLUSTERS", 100)
    rows = [row(n, "duplicate/exact", cluster=f"cluster {n // 2}") for n in range(2000)]
    found = survey(*publish(tmp_path / "out", [row(5000)], rows, group_rows=300))
    assert len(found.clusters) <= 100
    assert set(found.clusters.values()) == {2}
    assert 500 < len(found.clusters) * found.cluster_factor < 2000


@pytest.mark.parametrize(
    ("judged", "kept", "alarm"),
    [
        (MANY_PAGES, 0, True),
        (MANY_PAGES - 1, 0, False),
        (30, 3, False),  # exactly the share is not above it
        (30, 2, True),
    ],
)
def test_a_host_raises_an_alarm_only_with_many_pages_and_more_than_the_share_removed(judged, kept, alarm):
    assert ALARM_SHARE == 0.9
    counts = np.zeros(KEPT + 2, np.int64)
    rules = [step.key for step in STEPS].index("clean")
    counts[rules], counts[KEPT] = judged - kept, kept
    assert host_rows(Survey("rejected", hosts={"a.example": counts}))[0]["alarm"] is alarm


def test_pages_in_other_languages_and_listed_hosts_raise_no_alarm(tmp_path):
    rejected = [row(n, "language/not_wanted@1", url="https://a.example/") for n in range(50)]
    rejected += [row(100 + n, "url/blocked_domain@1", url="https://b.example/") for n in range(50)]
    rows = host_rows(survey(*publish(tmp_path / "out", [], rejected)))
    assert [(row["host"], row["judged"], row["alarm"]) for row in rows] == [
        ("a.example", 0, False),
        ("b.example", 0, False),
    ]


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("record/not_html@1", "pages"),
        ("quarantine/extract_crash", "pages"),
        ("extract/empty@1", "raw"),
        ("language/unreliable@1", "raw"),
        ("gopher/word_count@1", "clean"),
        ("my_own/rule@3", "clean"),
        ("edit/empty@1", "clean"),
        ("datatrove/C4QualityFilter/few@0.1", "clean"),
        ("duplicate/near", "dedup"),
        ("url/blocked_word@1", "safe"),
        ("safety/unsafe_words@1", "safe"),
        ("score/toxic_score@1", "safe"),
        ("score/fluency_score@1", "quality"),
        ("decontaminate/arc@1", "clear"),
        ("rank_cut/a+b@1", "quality"),
    ],
)
def test_every_reason_belongs_to_a_step(reason, step):
    assert STEPS[step_of(reason)].key == step


counts = st.builds(Count, st.integers(0, 10**12), st.integers(0, 10**15))
names = st.sampled_from(["a/b@1", "url/x@1", "score/toxic_score@1", "rank_cut/y@1", "record/z@1"])


@given(kept=counts, rejected=st.dictionaries(names, counts), duplicates=st.dictionaries(st.just("near"), counts))
def test_the_funnel_ends_with_what_is_kept(kept, rejected, duplicates):
    ledger = Ledger(kept=kept, rejected=rejected, duplicates=duplicates, quarantined={"killed_worker": Count(1, 2)})
    ledger = ledger.model_copy(update={"read": ledger.out})
    rows = funnel(ledger, STAGES)
    assert rows[-1].after == kept
    assert rows[0].before == ledger.read
    assert sum(row.removed.documents for row in rows) == sum(count.documents for _, _, count in reasons(ledger))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=50))
def test_every_value_falls_into_a_bin(values):
    for axis in AXES:
        assert axis.bin(np.array(values, np.float64)).sum() == len(values)


@given(st.text())
def test_labels_of_charts_are_escaped(title):
    text = str(histogram(Axis("x", title, 0, 1), np.ones((2, BINS), np.int64), compared="<b>"))
    assert "<b>" not in text
    assert text.count('"') % 2 == 0
    assert Page(text).tags[0] == "svg"


@given(st.text(), st.integers(1, 40))
def test_shown_text_is_printable_and_bounded(text, limit):
    shown = plain(text, limit)
    assert len(shown) <= limit + 1
    assert all(mark.isprintable() or mark == "\n" for mark in shown)


def test_the_command_writes_both_files_and_says_so(cli, corpus):
    store, _ = corpus
    done = cli("report", store.root, "--json")
    assert done.code == 0
    assert json.loads(done.stdout) == {"output": store.root, "written": ["README.md", "report.html"]}


def test_the_command_says_where_nothing_was_published(cli, tmp_path):
    done = cli("report", str(tmp_path))
    assert done.code == 1
    assert "no corpus has been published here" in done.stderr

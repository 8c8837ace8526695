"""Any collection, any subset of the stages: all that goes in comes out once, with a reason, or is refused."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.executors.base import Failure, Outcome
from pipeline.task import Place, Task, execute

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("CORPUS_SHARED_DATA", ROOT.parent / "shared" / "data"))
CHAIN = [
    *({"kind": kind} for kind in ("normalise", "edit", "signals")),
    {"kind": "rules", "rulesets": ["gopher"]},
    {"kind": "dedup"},
    {"kind": "unsafe_words"},
    {"kind": "mask_pii"},
    {"kind": "score", "model": "fluency"},
    {"kind": "rank_cut", "by": {"fluency_score": 1.0}, "keep": 0.5},
]
SUBJECTS = ("the baker", "our teacher", "a sailor", "that gardener", "the doctor", "my neighbour", "a painter")
VERBS = ("has carried", "will have sold", "would be mending", "took", "was to find", "could have left", "wrote about")
OBJECTS = ("the old bridge", "a box of apples", "two grey horses", "the harbour light", "a letter", "that long road")
PLACES = ("near the river", "with a friend", "of the village", "to the market", "and the mill", "in early spring")


@dataclass
class InThisProcess:
    """An executor without processes: the same tasks, done where the test can see them."""

    slots: int = 1

    def __enter__(self) -> InThisProcess:
        self.waiting: list[tuple[Task, Place]] = []
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, task: Task, place: Place) -> None:
        self.waiting.append((task, place))

    def next_outcome(self) -> Outcome:
        task, place = self.waiting.pop(0)
        try:
            return Outcome(task, report=execute(task, place))
        except Exception as error:
            return Outcome(task, failure=Failure("error", str(error), error))

    def describe(self) -> str:
        return "in this process"

    def observe(self, phase: str, ledger: object) -> None: ...


@dataclass(frozen=True)
class Done:
    code: int
    out: Path
    result: dict[str, Any]
    stderr: str

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return pq.read_table([str(path) for path in sorted((self.out / kind).glob("*.parquet"))]).to_pylist()


@pytest.fixture
def curate(tmp_path, capsys, monkeypatch):
    """``curate(files, stages, unit_bytes=...)``: write the files, run the manifest, check that the ledger closes."""
    monkeypatch.setattr("pipeline.run.make_executor", lambda config: InThisProcess())

    def call(files: dict[str, bytes], stages: list[dict[str, Any]], *, output=None, **source: Any) -> Done:
        folder, out = tmp_path / "in", tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        paths = source.pop("paths", [str(folder / name) for name in files])
        manifest = {
            "name": "t",
            "source": {"paths": paths, **source},
            "output": {"path": str(out), **(output or {})},
            "stages": stages,
        }
        (tmp_path / "m.yaml").write_text(json.dumps(manifest))
        code = 0
        try:
            main(["run", str(tmp_path / "m.yaml"), "--json"])
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        assert code == 0 or told.err.startswith(("error", "run ")), told.err
        done = Done(code, out, json.loads(told.out.splitlines()[-1]) if code == 0 else {}, told.err)
        if code == 0:
            check_account(done)
        return done

    return call


def check_account(done: Done) -> None:
    ledger = done.result["ledger"]
    out = ledger["kept"] + sum(ledger["rejected"].values()) + ledger["duplicates"] + sum(ledger["quarantined"].values())
    assert ledger["read"] == out
    documents, rejected = done.rows("documents"), done.rows("rejected")
    assert (len(documents), len(documents) + len(rejected)) == (ledger["kept"], ledger["read"])
    assert all(row["reason"] for row in rejected)


def text(number: int) -> str:
    """Some hundred words of English-looking sentences, different for every number."""

    def pick(words: tuple[str, ...], i: int, salt: int) -> str:
        return words[(number * 31 + i * (salt + number % 5) + i * i * salt) % len(words)]

    sentences = [
        f"{pick(SUBJECTS, i, 3)} {pick(VERBS, i, 5)} {pick(OBJECTS, i, 7)} number{number}x{i} {pick(PLACES, i, 11)}."
        for i in range(12)
    ]
    return "\n".join(" ".join(sentences[i : i + 3]) for i in range(0, 12, 3))


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def collection(count: int = 40) -> list[dict[str, Any]]:
    return [{"id": f"d{i}", "text": text(i), "url": f"https://e{i}.example/"} for i in range(count)]


def parquet(columns: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, row_group_size=16)
    return sink.getvalue().to_pybytes()


def test_json_lines_and_parquet_with_the_same_texts_give_the_same_corpus_without_extraction(curate):
    rows = [*collection(), {"id": "copy", "text": text(3), "url": "https://copy.example/"}]
    from_lines = curate({"a.jsonl": lines(rows)}, CHAIN)
    columns = {"content": [row["text"] for row in rows], "id": [row["id"] for row in rows]}
    from_parquet = curate({"a.parquet": parquet(columns)}, CHAIN, text_field="content")
    assert from_lines.result["ledger"] == from_parquet.result["ledger"]
    assert 0 < from_lines.result["ledger"]["kept"] < 40
    assert from_lines.result["ledger"]["duplicates"] == 1
    content = [
        sorted((row["id"], row["content"]) for row in done.rows("documents")) for done in (from_lines, from_parquet)
    ]
    assert content[0] == content[1]


@pytest.mark.parametrize("stages", [[], [{"kind": "dedup"}], [{"kind": "signals"}, *CHAIN[3:5]], CHAIN[2:]])
def test_any_subset_of_the_stages_runs_on_text(curate, stages):
    done = curate({"a.jsonl": lines(collection(20))}, stages)
    assert done.code == 0, done.stderr
    assert done.result["ledger"]["read"] == 20


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b""),
        ("a.jsonl", b"\n \n"),
        ("a.warc", b""),
        ("a.parquet", parquet({"text": pa.array([], pa.string())})),
    ],
)
@pytest.mark.parametrize("stages", [[{"kind": "extract"}], [{"kind": "extract"}, *CHAIN]])
def test_an_input_without_documents_gives_an_empty_corpus(curate, name, data, stages):
    done = curate({name: data}, stages)
    assert done.code == 0, done.stderr
    assert done.result["ledger"]["read"] == 0
    assert pq.read_table(next((done.out / "documents").glob("*"))).schema.names[:2] == ["id", "content"]


def test_a_corpus_of_which_nothing_is_kept_is_published_with_all_reasons(curate):
    stages = [
        {**stage, "override": {"gopher/word_count@1": {"min": 99_000}}} if stage["kind"] == "rules" else stage
        for stage in CHAIN
    ]
    done = curate({"a.jsonl": lines(collection(20))}, stages)
    assert done.result["ledger"] == {
        "read": 20,
        "kept": 0,
        "duplicates": 0,
        "quarantined": {},
        "rejected": {"gopher/word_count@1": 20},
    }


def test_units_that_keep_nothing_do_not_disturb_each_other(curate):
    stages = [{"kind": "signals"}, {"kind": "rules", "rulesets": ["gopher"]}, {"kind": "dedup"}]
    short = [{"id": str(i), "text": "Too short to stay here."} for i in range(40)]
    done = curate({"a.jsonl": lines(short)}, stages, unit_bytes=200)
    assert done.code == 0, done.stderr
    assert done.result["ledger"]["rejected"] == {"gopher/word_count@1": 40}


def test_of_many_copies_one_is_kept_and_the_others_name_it(curate):
    rows = [{"id": f"x{i}", "text": text(1)} for i in range(25)]
    done = curate({"a.jsonl": lines(rows)}, [{"kind": "dedup"}], unit_bytes="4KiB")
    (kept,) = done.rows("documents")
    assert done.result["ledger"]["duplicates"] == 24
    assert {row["survivor"] for row in done.rows("rejected")} == {kept["id"]}


def test_documents_that_share_an_id_are_each_accounted_for(curate):
    rows = [{"id": "same", "text": text(i % 5)} for i in range(20)]
    done = curate({"a.jsonl": lines(rows)}, [{"kind": "signals"}, {"kind": "dedup"}, *CHAIN[-2:]])
    assert done.result["ledger"]["read"] == 20
    assert done.result["ledger"]["duplicates"] == 15


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([{"kind": "rules", "rulesets": ["gopher"]}, {"kind": "signals"}], "move 'signals' in front of it"),
        ([{"kind": "rank_cut"}], "add the stage that computes it"),
        ([{"kind": "dedup"}, {"kind": "dedup"}], "stands there twice"),
    ],
)
def test_stages_in_an_order_that_cannot_work_are_refused_with_advice(curate, stages, said):
    done = curate({"a.jsonl": lines(collection(2))}, stages)
    assert done.code == 2
    assert said in done.stderr
    assert not done.out.exists()


def test_two_rules_stages_each_reject_under_their_own_names(curate):
    stages = [{"kind": "signals"}, {"kind": "rules", "rulesets": ["gopher"]}, {"kind": "rules", "rulesets": ["c4"]}]
    stages[2]["override"] = {"c4/sentence_count@1": {"min": 500}}
    rows = [*collection(10), {"id": "short", "text": "Too short."}]
    done = curate({"a.jsonl": lines(rows)}, stages)
    assert {reason.partition("/")[0] for reason in done.result["ledger"]["rejected"]} == {"gopher", "c4"}


@pytest.mark.parametrize("stages", [[], [{"kind": "dedup"}], [{"kind": "signals"}, {"kind": "extract"}]])
def test_stages_that_need_the_text_of_pages_before_extraction_are_refused(curate, crawl, stages):
    done = curate({}, stages, paths=[str(next(crawl[0].rglob("*.warc")))])
    assert done.code == 2
    assert "extract" in done.stderr


def test_the_documents_do_not_depend_on_the_size_of_a_unit_only_their_order_does(curate):
    rows = [*collection(60), *({"id": f"c{i}", "text": text(i * 3)} for i in range(15))]
    files = {"a.jsonl": lines(rows[::2]), "b.jsonl": lines(rows[1::2])}
    large, small = curate(files, CHAIN), curate(files, CHAIN, unit_bytes="24KiB")
    assert large.result["ledger"] == small.result["ledger"]

    def as_a_set(done: Done, kind: str) -> list[str]:
        # a cluster is named by one of its members, an offset counts from the start of the file: all must agree
        return sorted(json.dumps(row, sort_keys=True) for row in done.rows(kind))

    for kind in ("documents", "rejected"):
        assert as_a_set(large, kind) == as_a_set(small, kind)
    again = curate(files, CHAIN, unit_bytes="24KiB")
    assert again.result["digest"] == small.result["digest"]


def test_texts_made_to_break_things_are_carried_or_named(curate):
    rows = [
        {"id": "controls", "text": "A\0B\ud800C\u202eD \u2066x\u2069 \x1b]0;title\x07"},
        {"id": "one word of 5 MB", "text": "x" * 5_000_000},
        {"id": "one line of 5 MB", "text": "ab " * 1_700_000},
        {"id": "newlines", "text": "\n" * 2_000_000},
        {"id": "accents", "text": "e" + "\u0301" * 1_000_000},
        {"id": "empty", "text": ""},
        {"id": "null", "text": None},
        {"id": "number", "text": 5},
        {"id": "list", "text": ["a"]},
        {"id": "\ud800", "text": "surrogate id", "url": "\ud800\x1b]0;x\x07"},
        {"text": text(1), "url": "javascript:alert(1)//" + "a" * 100_000, "date": "not a date"},
    ]
    bad = b"not json\n[1]\n\xff\xfe\n" + b"[" * 100_000 + b'\n{"text": NaN}\n{"text": "\xff"}\n'
    done = curate({"a.jsonl": lines(rows) + bad}, CHAIN[:-2])
    assert done.code == 0, done.stderr
    assert done.result["ledger"]["read"] == len(rows) + 6
    (controls,) = (row for row in done.rows("rejected") if row["id"] == "controls")
    assert "\0" not in controls["content"]


def test_shards_keep_their_bound(curate):
    done = curate({"a.jsonl": lines(collection(40))}, [], output={"shard_bytes": 8_000})
    sizes = [
        sum(len(row["content"].encode()) for row in pq.read_table(path).to_pylist())
        for path in (done.out / "documents").glob("*.parquet")
    ]
    assert len(sizes) > 3
    assert max(sizes) <= 8_800  # the bound is held on average over a unit


def test_a_bound_below_the_size_of_a_document_gives_a_shard_for_each(curate):
    done = curate({"a.jsonl": lines(collection(12))}, [], output={"shard_bytes": 100})
    assert len(list((done.out / "documents").glob("*.parquet"))) == 12


def test_every_known_broken_web_archive_at_once_is_read_to_the_last_byte(curate):
    folder = SHARED / "warc_cases"
    if not folder.is_dir():
        pytest.skip("CORPUS_SHARED_DATA names no folder with warc_cases")
    names = [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and _is_archive(path)]
    stages = [{"kind": "extract", "engine": "resiliparse"}, {"kind": "signals"}, {"kind": "dedup"}]
    done = curate({}, stages, paths=names)
    assert done.code == 0, done.stderr
    assert done.result["ledger"]["quarantined"]


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".warc", ".warc.gz", ".arc", ".arc.gz", ".warc.zst", ".wet.gz", ".wet"))

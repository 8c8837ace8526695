"""Decontamination: planted questions are found, chance is not punished, bad settings say so."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.errors import StageError
from stages.benchmark_items import read_items
from stages.decontaminate import Decontaminate, benchmark_name
from stages.decontaminate_kernel import gram_hashes
from stages.word_hash import hash_words

SHARED = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))


class Files:
    """Resources of a stage that needs local files only."""

    def scorer(self, model):
        raise LookupError(model)

    def local_path(self, location: str) -> Path:
        return Path(location)


def batch(texts) -> pa.Table:
    empty = pa.nulls(len(texts), pa.string())
    columns = {"content": pa.array(texts, pa.large_string()), "outcome": empty, "reason": empty}
    return pa.table({**columns, "detail": pa.nulls(len(texts), pa.large_string())})


def words(first: int, count: int) -> str:
    """``count`` words that occur nowhere else."""
    return " ".join(f"w{n}" for n in range(first, first + count))


def write(path: Path, *questions: str) -> str:
    path.write_text("".join(json.dumps({"id": f"q{n}", "question": q}) + "\n" for n, q in enumerate(questions)))
    return str(path)


def run(texts, *benchmarks: str, **settings) -> pa.Table:
    return Decontaminate(benchmarks=benchmarks, **settings).open(Files())(batch(texts))


LONG = words(0, 60)  # 48 runs of 13 words


def test_a_planted_question_is_found_and_named(tmp_path):
    exam = write(tmp_path / "exam.jsonl", words(100, 30), LONG)
    out = run(["Some page.\n" + LONG + "\nMore of it.", "Another page about nothing."], exam)
    assert out["reason"].to_pylist() == ["decontaminate/exam@1", None]
    assert out["detail"].to_pylist()[0] == "item q1: 48 of 48 runs"
    assert [row["contamination_hits"] for row in out["signals"].to_pylist()] == [48, 0]
    assert out["signals"].type.field("contamination_hits").type == pa.int32()


def test_punctuation_case_and_line_breaks_hide_nothing(tmp_path):
    question = "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins."
    disguised = "JANET\u2019S ducks\n\nlay **16** eggs - per day; she eats “three” for breakfast,\tevery morning "
    disguised += "(and bakes muffins)"
    assert run([disguised], write(tmp_path / "gsm.jsonl", question))["reason"].to_pylist() == ["decontaminate/gsm@1"]


def test_fewer_than_min_overlap_runs_of_a_long_item_pass(tmp_path):
    exam = write(tmp_path / "exam.jsonl", LONG)
    four, five = words(0, 16), words(0, 17)
    out = run([four, five], exam)
    assert out["reason"].to_pylist() == [None, "decontaminate/exam@1"]
    assert [row["contamination_hits"] for row in out["signals"].to_pylist()] == [4, 5]


def test_half_of_the_runs_of_a_short_item_are_enough(tmp_path):
    exam = write(tmp_path / "exam.jsonl", words(0, 18))  # 6 runs
    out = run([words(0, 14), words(0, 15)], exam)
    assert out["reason"].to_pylist() == [None, "decontaminate/exam@1"]


def test_runs_of_different_items_do_not_add_up(tmp_path):
    exam = write(tmp_path / "exam.jsonl", *(words(100 * n, 60) for n in range(8)))
    text = " / ".join(words(100 * n, 16) for n in range(8))
    out = run([text], exam)
    assert out["reason"].to_pylist() == [None]
    assert out["signals"].to_pylist() == [{"contamination_hits": 32}]


def test_an_item_shorter_than_a_run_must_stand_there_whole(tmp_path):
    exam = write(tmp_path / "exam.jsonl", words(0, 8))
    out = run(["x " + words(0, 8) + " y", words(0, 7) + " x"], exam)
    assert out["reason"].to_pylist() == ["decontaminate/exam@1", None]


def test_items_below_min_words_are_not_looked_for(tmp_path):
    exam = write(tmp_path / "exam.jsonl", words(0, 7), words(100, 8))
    assert run([words(0, 7)], exam)["reason"].to_pylist() == [None]
    assert run([words(0, 7)], exam, min_words=7)["reason"].to_pylist() == ["decontaminate/exam@1"]


def test_runs_that_many_items_share_are_ignored(tmp_path):
    stem = words(0, 20)
    exam = write(tmp_path / "exam.jsonl", *(stem + " " + words(1000 + 100 * n, 30) for n in range(11)))
    assert run([stem], exam)["reason"].to_pylist() == [None]
    assert run([stem], exam, max_items=11)["reason"].to_pylist() == ["decontaminate/exam@1"]


@pytest.mark.parametrize("ngram", [8, 10, 13])
def test_the_length_of_runs_can_be_chosen(tmp_path, ngram):
    exam = write(tmp_path / "exam.jsonl", LONG)
    out = run([words(0, ngram + 4), words(0, ngram + 3)], exam, ngram=ngram)
    assert out["reason"].to_pylist() == ["decontaminate/exam@1", None]


def test_the_clearest_benchmark_gives_the_reason(tmp_path):
    a, b = write(tmp_path / "a.jsonl", words(0, 60)), write(tmp_path / "b.jsonl", words(100, 20))
    out = run([words(0, 20) + " | " + words(100, 20)], a, b)
    assert out["reason"].to_pylist() == ["decontaminate/b@1"]
    assert out["detail"].to_pylist() == ["item q0: 8 of 8 runs"]


def test_every_file_form_is_read(tmp_path):
    record = json.dumps({"id": 7, "question": LONG, "choices": ["x", "y"]}) + "\n"
    (tmp_path / "a.jsonl").write_text(record)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(record.encode()))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(record.encode()))
    pq.write_table(pa.table({"question": [LONG], "id": [7]}), tmp_path / "d.parquet")
    (tmp_path / "e.txt").write_text(f"\ufeff{LONG}\n\n")
    for path in sorted(tmp_path.iterdir()):
        assert run([LONG], str(path))["reason"].to_pylist() == [f"decontaminate/{path.name[0]}@1"]
    items = list(read_items(tmp_path / "a.jsonl", fields=("choices", "question"), id_field="id"))
    assert [(item.id, item.texts) for item in items] == [("7", ("x y", LONG))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "{", "cannot be read"),
        ("a.jsonl", "[1]\n", "no JSON object"),
        ("a.jsonl", '{"text": "x"}\n', "any of the fields"),
        ("a.jsonl", "", "any of the fields"),
        ("a.jsonl", '{"question": "too short"}\n', "nothing to look for"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.jsonl.gz", "no gzip", "cannot be read"),
    ],
)
def test_a_benchmark_that_cannot_be_used_is_a_clear_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(StageError, match=message):
        run(["x"], str(tmp_path / name))


def test_a_benchmark_of_shared_phrases_only_fails_the_self_check(tmp_path):
    exam = write(tmp_path / "exam.jsonl", *([LONG] * 11))
    with pytest.raises(StageError, match="many of its items share"):
        run(["x"], exam)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValidationError, match="called 'exam'"):
        Decontaminate(benchmarks=("a/exam.jsonl", "b/Exam.parquet"))
    with pytest.raises(ValidationError, match="min_words"):
        Decontaminate(benchmarks=("a",), ngram=8, min_words=9)
    with pytest.raises(ValidationError):
        Decontaminate(benchmarks=())


def test_benchmark_names_are_safe_reasons():
    assert benchmark_name("s3://b/My Exam-v2.test.jsonl.zst") == "my_exam_v2"
    assert benchmark_name("考试.jsonl") == "benchmark"


@pytest.mark.parametrize("text", ["a" * 1_000_000, "w0 " * 300_000, " " * 1_000_000, LONG * 3000, "好" * 300_000])
def test_large_and_monotonous_texts_are_read_in_one_pass(tmp_path, text):
    out = run([text], write(tmp_path / "exam.jsonl", LONG))
    assert out["reason"].to_pylist() == ["decontaminate/exam@1" if "w59" in text else None]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=60), min_size=1, max_size=5), st.integers(8, 20))
@settings(max_examples=60)
def test_hits_are_those_of_a_plain_set_intersection(tmp_path_factory, texts, start):
    item = ("a b a c b d a a c d b b a d c a b d d a c b a b c d " * 2).split()[start : start + 30]
    exam = tmp_path_factory.getbasetemp() / "plain.jsonl"
    write(exam, " ".join(item))
    out = run([" ".join(text) for text in texts], str(exam), min_words=8)
    wanted = set(gram_hashes(hash_words(" ".join(item)), 13).tolist())
    plain = [len(wanted & set(gram_hashes(hash_words(" ".join(text)), 13).tolist())) for text in texts]
    assert [row["contamination_hits"] for row in out["signals"].to_pylist()] == plain


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_any_text_gets_an_answer(tmp_path_factory, text):
    exam = tmp_path_factory.getbasetemp() / "any.jsonl"
    if not exam.exists():
        write(exam, LONG)
    assert run([text.encode("utf-8", "replace").decode()], str(exam)).num_rows == 1


@pytest.mark.shared
@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "svamp", "arc_challenge"])
def test_all_planted_exam_questions_of_eight_words_are_found(name):
    path = SHARED / "exams" / f"{name}.jsonl.zst"
    if not path.exists():
        pytest.skip(f"measurement data is not here: {path}")
    items = [
        item for item in read_items(path, fields=("question",), id_field="id") if len(hash_words(item.texts[0])) >= 8
    ]
    chosen = random.Random(0).sample(items, 200)
    out = run([f"{words(0, 50)}\n{item.texts[0]}\n{words(50, 50)}" for item in chosen], str(path))
    missed = [item.id for item, reason in zip(chosen, out["reason"].to_pylist(), strict=True) if reason is None]
    assert missed == []

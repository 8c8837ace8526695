"""What neurons are judged by: balanced, seeded, cut from single domains or tokenised as the model wants it."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.errors import ManifestError, TrainingError
from tests.training.data.made import numbered
from tests.training.modularity.models import WORDS, save_tokenizer
from training.modularity.functions import LabelledTexts, Topics, make_functions
from training.modularity.labels import MISSING, sub_functions

CORPUS = numbered({"a": [40, 30], "b": [80], "c": [60]}, length=12)  # the first tokens tell domain, block and row


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return folder


def topics(**changes):
    source = Topics(**{"kind": "topics", "length": 3, "per_class": 40, **changes})
    return make_functions([source], CORPUS, None, apart=8, seed=1)


def labelled(tokenizer, *paths, **changes):
    source = LabelledTexts(**{"kind": "labelled", "name": "task", "paths": [str(path) for path in paths], **changes})
    return make_functions([source], None, tokenizer, apart=4, seed=1)[0]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbers(seed, count=120):
    return np.random.default_rng(seed).integers(3, 300, (count, 6))


def rows(count=120):
    """Texts of six words; ``odd``: the first word's number."""
    found = numbers(0, count)
    texts = [" ".join(WORDS[token] for token in row) for row in found]
    return [
        {"text": text, "odd": bool(row[0] % 2), "third": int(row[0] % 3)}
        for text, row in zip(texts, found, strict=True)
    ]


def test_topics_are_one_domain_against_the_rest_and_balanced():
    (found,) = topics()
    assert [part.name for part in found.parts] == ["a", "b", "c"]
    assert all(len(ids) == 3 for ids in found.sequences)
    for number, part in enumerate(found.parts):
        assert part.labels.sum() == len(part.rows) / 2 == 40
        for row, label in zip(part.rows, part.labels, strict=True):
            domain = found.sequences[row][0]  # where it is the start of a row; 0 anywhere else
            assert not domain or (domain == number) == label


def test_sequences_that_are_set_apart_never_judge_a_neuron():
    (found,) = topics()
    judging = {row for part in found.parts for row in part.rows}
    for part in found.parts:
        assert 0 < len(part.own) <= 8
        assert 0 < len(part.other) <= 8
        assert not judging & {*part.own, *part.other}


def test_pieces_do_not_overlap_and_hold_no_padding():
    (found,) = topics(length=5, per_class=30)
    # rows of 12 tokens, of which 10 to 12 are real: two pieces of five; the first tells domain, block and row
    starts = [tuple(ids[:3]) for ids in found.sequences if ids[:3].any()]
    assert len(set(starts)) == len(starts)


def test_equal_seeds_draw_equal_sequences():
    one, same = topics()[0], topics()[0]
    other = make_functions([Topics(kind="topics", length=3, per_class=40)], CORPUS, None, apart=8, seed=2)[0]
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"domains": ("a", "z")}, ManifestError, "no domain 'z'"),
        ({"domains": ("a",)}, ManifestError, "one domain is no topic"),
        ({"length": 13}, ManifestError, "longer than a row"),
        ({"length": 12}, TrainingError, "too few"),
    ],
)
def test_topics_that_cannot_be_told(changes, kind, message):
    corpus = numbered({"a": [18], "b": [80]}, length=12)
    with pytest.raises(kind, match=message):
        make_functions([Topics(kind="topics", **changes)], corpus, None, apart=8, seed=1)


def test_topics_need_a_corpus():
    with pytest.raises(ManifestError, match="need a token corpus"):
        make_functions([Topics(kind="topics")], None, None, apart=8, seed=1)


def test_labels_of_two_values_are_one_sub_function_and_of_more_one_each(tokenizer, tmp_path):
    found = labelled(tokenizer, lines(tmp_path / "odd.jsonl", rows()), labels=("odd", "third"))
    assert [part.name for part in found.parts] == ["odd", "third=0", "third=1", "third=2"]
    for part, (divisor, rest) in zip(found.parts, ((2, 1), (3, 0), (3, 1), (3, 2)), strict=True):
        assert part.labels.mean() == 0.5
        assert all(
            (found.sequences[row][0] % divisor == rest) == label
            for row, label in zip(part.rows, part.labels, strict=True)
        )
        assert all(found.sequences[row][0] % divisor == rest for row in part.own)
        assert all(found.sequences[row][0] % divisor != rest for row in part.other)


def test_of_many_values_some_may_be_chosen(tokenizer, tmp_path):
    file = lines(tmp_path / "third.jsonl", rows())
    found = labelled(tokenizer, file, labels=("third",), values=("2",))
    assert [part.name for part in found.parts] == ["third=2"]
    with pytest.raises(TrainingError, match=r"never are '3'(.|\n)*it has: 0, 1, 2"):
        labelled(tokenizer, file, labels=("third",), values=("2", "3"))


def test_two_domains_are_one_question():
    (found,) = topics(domains=("c", "a"))
    assert [part.name for part in found.parts] == ["c against a"]


def test_globs_name_files_in_their_order(tokenizer, tmp_path):
    made = rows()
    for name, half in (("b", made[60:]), ("a", made[:60])):
        lines(tmp_path / f"{name}.jsonl", half)
    whole = labelled(tokenizer, lines(tmp_path / "whole.json", made), labels=("odd",))
    assert labelled(tokenizer, tmp_path / "*.jsonl", labels=("odd",)).digest == whole.digest


def test_texts_get_the_special_tokens_of_the_model_and_are_cut(tokenizer, tmp_path):
    file = lines(tmp_path / "odd.jsonl", rows())
    whole, cut = (labelled(tokenizer, file, labels=("odd",), length=length) for length in (9, 4))
    assert all(len(ids) == 7 and ids[-1] == 1 for ids in whole.sequences)
    assert all(len(ids) == 4 and ids[-1] == 1 for ids in cut.sequences)


def test_every_kind_of_file_gives_the_same(tokenizer, tmp_path):
    made = [{**row, "label": row.pop("odd")} for row in rows()]
    plain = lines(tmp_path / "task.jsonl", made)
    (tmp_path / "task.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "task.jsonl.zst").write_bytes(zstandard.compress(plain.read_bytes()))
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "task.parquet")
    found = [labelled(tokenizer, tmp_path / f"task.{kind}") for kind in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")]
    assert [part.name for part in found[0].parts] == ["task"]
    assert len({function.digest for function in found}) == 1


def test_entries_of_one_name_are_one_function(tokenizer, tmp_path):
    files = [lines(tmp_path / f"{name}.jsonl", rows()) for name in ("one", "two")]
    sources = [
        LabelledTexts(kind="labelled", name="task", paths=[str(file)], labels=[label])
        for file, label in zip(files, ("odd", "third"), strict=True)
    ]
    (found,) = make_functions(sources, None, tokenizer, apart=4, seed=1)
    assert [part.name for part in found.parts] == ["odd", "third=0", "third=1", "third=2"]
    part = found.parts[2]
    assert all((found.sequences[row][0] % 3 == 1) == label for row, label in zip(part.rows, part.labels, strict=True))
    with pytest.raises(ManifestError, match="two sub-functions are called 'odd'"):
        make_functions([sources[0], sources[0]], None, tokenizer, apart=4, seed=1)


def test_texts_without_a_label_belong_to_neither_side():
    found = sub_functions("task", [1, None, 0.0, True, "x"][:4], where="here")["task"]
    assert found.tolist() == [1, MISSING, 0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"text": "w1", "label": 1}] * 40, "one class only"),
        ([{"text": f"w{n}", "label": n} for n in range(200)], "200 classes"),
        ([{"text": f"w{n}", "label": n % 2} for n in range(20)], "too few"),
        ([{"text": "w1", "tag": 1}], r"lacks 'label'(.|\n)*it has: tag, text"),
        ([{"text": " ", "label": 1}], "there are no texts"),
        (["w1"], "each line is an object"),
    ],
)
def test_texts_that_cannot_serve(tokenizer, tmp_path, content, message):
    with pytest.raises(TrainingError, match=message):
        labelled(tokenizer, lines(tmp_path / "task.jsonl", content))


def test_a_torn_line_and_a_missing_file_are_named(tokenizer, tmp_path):
    (tmp_path / "torn.jsonl").write_text('{"text": "w1", "label": 1}\n{"text": "w2", ')
    with pytest.raises(TrainingError, match=r"torn\.jsonl, line 2"):
        labelled(tokenizer, tmp_path / "torn.jsonl")
    with pytest.raises(ManifestError, match="no such file"):
        labelled(tokenizer, tmp_path / "none.jsonl")

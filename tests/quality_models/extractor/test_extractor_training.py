"""The recipe of the extractor's weights: alignment, groups, forests as LightGBM has them, the same bytes every time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import ManifestError, ModelError
from pipeline.training import load_recipe
from quality_models.extractor.align import MOST_CELLS, matched_by_block, matched_words, words_of
from quality_models.extractor.examples import PER_PAGE, block_weights, build_examples
from quality_models.extractor.fit import round_down, to_forest
from quality_models.extractor.groups import find_groups, fold_of, host_of, sketch
from quality_models.extractor.measure import overlap
from quality_models.extractor.recipe import ExtractorRecipe
from quality_models.extractor.sources import Labelled, read_sources
from quality_models.extractor.train import train_extractor
from stages.extract.blocks.engine import BlocksEngine
from stages.extract.blocks.forest import predict
from stages.extract.blocks.model import load_model
from stages.extract.blocks.tokenizer import Tokenizer

pytest.importorskip("lightgbm", reason="training needs the extra `fit`")
TOPICS = ("harbour", "mountain", "library", "orchestra", "bakery", "observatory", "garden", "railway")


def make_page(number: int) -> tuple[str, str]:
    """A small page and its main text."""
    random = np.random.default_rng(number)
    topic = TOPICS[number % len(TOPICS)]
    sentences = [
        f"On day {random.integers(1, 400)} the {topic} was open to {random.integers(2, 90)} people, who stayed long."
        for _ in range(int(random.integers(3, 9)))
    ]
    links = "".join(f"<li><a href=/{at}>Section {at}</a></li>" for at in range(int(random.integers(4, 12))))
    main = "".join(f"<p>{sentence}</p>" for sentence in sentences)
    html = (
        f"<html><head><title>The {topic}</title></head><body><ul class=nav>{links}</ul><div class=article>{main}</div>"
        f"<div class=footer><p>Copyright {number}, all rights reserved, share on facebook</p></div></body></html>"
    )
    return html, "\n".join(sentences)


def write_data(folder: Path, pages: int) -> Path:
    rows = []
    for number in range(pages):
        html, text = make_page(number)
        rows.append(
            {"id": str(number), "url": f"http://site{number // 2}.example/{number}", "html": html.encode(),
             "gold_kind": "full_text", "gold_text": text}
        )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "pages.parquet")
    return folder


def recipe_of(data: Path, output: Path, **changes: object) -> ExtractorRecipe:
    gold = {
        "kind": "gold",
        "name": "made",
        "licence": "ours",
        "file": "pages.parquet",
        "gold_kind": "full_text",
        "type": "article",
    }
    forest = {"trees": 6, "least": 5}
    values = {
        "train": "extractor",
        "data": data,
        "output": output,
        "sources": [gold],
        "folds": 3,
        "first": forest,
        "second": forest,
    }
    return ExtractorRecipe.model_validate(values | changes)


def test_the_same_recipe_gives_the_same_bytes_and_a_model_that_finds_the_text(tmp_path):
    data = write_data(tmp_path, 48)
    first = train_extractor(recipe_of(data, tmp_path / "a"))
    second = train_extractor(recipe_of(data, tmp_path / "b"))
    assert first.sha256 == second.sha256
    for name in ("MODEL_CARD.md", "report.json", "folds/fold-0.npz", "folds/pages.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert first.report["gold_by_source"]["made"]["f1"] > 0.95
    assert "ours" in (tmp_path / "a" / "MODEL_CARD.md").read_text()
    html, text = make_page(1000)
    engine = BlocksEngine(load_model(first.model, first.sha256))
    assert overlap(engine.extract(html.encode()).text, text)[0] > 0.95


def test_a_fold_has_not_seen_the_hosts_that_it_judges(tmp_path):
    data = write_data(tmp_path, 30)
    recipe = recipe_of(data, tmp_path / "out")
    examples = build_examples(read_sources(recipe, Counter()), recipe, Counter())
    folds_of_host: dict[int, set[int]] = {}
    for example in examples:
        folds_of_host.setdefault(int(example.id.split("/")[1]) // 2, set()).add(example.fold)
    assert all(len(folds) == 1 for folds in folds_of_host.values())
    assert len({example.fold for example in examples}) > 1


def test_what_is_left_out_is_counted(tmp_path):
    data = write_data(tmp_path, 12)
    table = pq.read_table(data / "pages.parquet").to_pylist()
    table[1]["html"] = table[0]["html"]
    table[2]["gold_text"] = "Words that stand nowhere on this page at all, not one of them in its place."
    table[3]["gold_text"] = ""
    table[4]["gold_kind"] = "note_only"
    pq.write_table(pa.Table.from_pylist(table), data / "pages.parquet")
    dropped: Counter[str] = Counter()
    recipe = recipe_of(data, tmp_path / "out", per_host=1)
    examples = build_examples(read_sources(recipe, dropped), recipe, dropped)
    assert dropped == {
        "the same bytes as another page": 1,
        "no reference text": 1,
        "reference text not on the page (gold)": 1,
        "more of one host than the recipe takes": 12 - 4 - len(examples),
    }


ARTICLE = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@pytest.mark.parametrize(
    ("page", "reference", "taken"),
    [
        ("home the x one two three the", "one two three", "0001110"),
        ("two x one two three", "one two three", "00111"),  # the lonely two is not the one meant
        ("one two a b three four", "one two three four", "110011"),
        ("a b c", "d e f", "000"),
        ("a b a b", "a b", "1100"),  # either run would do; the first is taken
    ],
)
def test_alignment_prefers_runs(page, reference, taken):
    tokenizer = Tokenizer()
    found = matched_words(words_of(page, tokenizer), words_of(reference, tokenizer))
    assert "".join(str(int(value)) for value in found) in {taken, "0011" if page == "a b a b" else taken}


@given(st.lists(st.sampled_from(ARTICLE), max_size=40), st.lists(st.sampled_from(ARTICLE), max_size=40))
def test_alignment_takes_a_common_subsequence(page, reference):
    ids = {word: at for at, word in enumerate(ARTICLE, 1)}
    a, b = (np.array([ids[word] for word in words], np.uint32) for words in (page, reference))
    taken = [value for value, hit in zip(a.tolist(), matched_words(a, b).tolist(), strict=True) if hit]
    rest = iter(b.tolist())
    assert all(value in rest for value in taken)


def test_a_pair_too_large_to_align_is_refused_not_guessed():
    many = np.full(int(MOST_CELLS**0.5) + 2, 7, np.uint32)
    assert matched_words(many, many) is None


def test_matched_words_are_counted_by_block():
    page = Tokenizer().read(b"<p>one two<p>three four five<p>six")
    assert matched_by_block(page, np.array([1, 0, 1, 1, 1, 0], np.bool_)).tolist() == [1, 3, 0]


def test_weights_of_blocks_grow_with_words_and_shrink_with_doubt():
    page = Tokenizer().read(
        b"<title>The old lake house</title><p>The old lake house<p>" + b"word " * 50 + b"<p>" + b"w " * 50
    )
    sure = block_weights(page, np.array([1.0, 1.0, 0.0]))
    assert sure.sum() <= PER_PAGE + 1e-3
    assert sure[0] * 20 < sure[1] == pytest.approx(sure[2])
    assert block_weights(page, np.array([1.0, 0.5, 0.0]))[1] == pytest.approx(0.3 * sure[1])


def test_hosts_and_near_duplicates_make_one_group():
    random = np.random.default_rng(3)
    texts = [random.integers(0, 2**32, 300, dtype=np.uint32) for _ in range(3)]
    near = texts[0].copy()
    near[150] += 1
    sketches = [sketch(words) for words in (*texts, near)]
    assert find_groups([None, None, None, None], sketches) == [0, 1, 2, 0]
    assert find_groups(["a", "b", "b", "c"], sketches) == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.co.uk/x", "example.co.uk"),
        ("http://a.b.example.com:80/", "example.com"),
        ("http://abc.unknown.invalid/", None),
        ("http://[broken", None),
        (None, None),
        ("http://192.0.2.1/", "192.0.2.1"),
    ],
)
def test_the_host_of_an_address(url, host):
    assert host_of(url) == host


def test_folds_depend_on_the_name_alone():
    assert [fold_of(name, 5) for name in ("a", "b", "c")] == [fold_of(name, 5) for name in ("a", "b", "c")]
    assert {fold_of(f"host{number}", 5) for number in range(60)} == set(range(5))


@given(st.floats(-1e30, 1e30, allow_nan=False))
def test_rounding_down_never_passes_a_float32(value):
    down = round_down(value)
    assert down <= value
    assert float(np.nextafter(np.float32(down), np.float32(np.inf))) > value


def test_a_forest_judges_as_lightgbm_does():
    import lightgbm

    random = np.random.default_rng(5)
    matrix = random.normal(size=(2000, 6)).astype(np.float32).round(1)
    labels = (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] > 0.1).astype(np.float32)
    settings = {
        "objective": "binary",
        "num_leaves": 8,
        "max_depth": 4,
        "num_threads": 1,
        "deterministic": True,
        "verbosity": -1,
        "seed": 1,
    }
    booster = lightgbm.train(settings, lightgbm.Dataset(matrix, labels), 12)
    forest = to_forest(booster.dump_model()["tree_info"], 4)
    assert predict(forest, matrix) == pytest.approx(booster.predict(matrix), abs=1e-5)


def test_overlap_counts_cjk_characters_as_words():
    assert overlap("中文网页", "中文") == pytest.approx((2 / 3, 0.5, 1.0))
    assert overlap("", "") == (1, 1, 1)
    assert overlap("a", "") == (0, 0, 0)


def test_the_teacher_is_asked_once_per_page(tmp_path):
    from quality_models.extractor.sources import Teacher

    class Counting:
        asked = 0

        def ask(self, request):
            self.asked += 1
            return {"text": request["page"].upper()}

    child = Counting()
    teacher = Teacher(child, tmp_path)  # type: ignore[arg-type]
    assert teacher.ask("a" * 40, b"<p>x", None) == teacher.ask("a" * 40, b"<p>x", None) == "<P>X"
    assert child.asked == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fold: 3", "did you mean 'folds'"),
        ("folds: one", "valid integer"),
        ("train: extractr", "nothing named"),
    ],
)
def test_a_faulty_recipe_is_named_with_its_place(tmp_path, line, message):
    path = tmp_path / "recipe.yaml"
    source = "{kind: gold, name: n, licence: l, file: f, gold_kind: g, type: t}"
    text = f"train: extractor\ndata: d\noutput: o\nsources:\n- {source}\n"
    path.write_text(text.replace("train: extractor", line) if line.startswith("train") else text + line + "\n")
    with pytest.raises(ManifestError, match=message) as caught:
        load_recipe(path, [])
    assert "recipe.yaml:" in str(caught.value)


def test_a_source_that_is_not_there_says_how_to_point_at_it(tmp_path):
    with pytest.raises(ModelError, match="--set data"):
        train_extractor(recipe_of(tmp_path, tmp_path / "out"))


def test_the_shipped_recipe_is_valid_and_overrides_work():
    recipe = load_recipe(Path("manifests/train_extractor.yaml"), ["data=elsewhere", "first.trees=9"])
    assert (str(recipe.data), recipe.first.trees) == ("elsewhere", 9)
    assert load_recipe(Path("manifests/wanjuan.yaml"), []) is None
    assert json.loads(recipe.model_dump_json())["train"] == "extractor"
    assert Labelled.__slots__

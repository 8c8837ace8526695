"""The recipe from windows to weights: what is trained on, that parts stay apart, that bytes come out the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus.errors import ManifestError, ModelError
from pipeline.training import load_recipe
from quality_models import load_scorer
from quality_models.audit import audit_groups, with_term
from quality_models.examples import corruptions, not_ad
from quality_models.examples.parts import part_of, parts_of, representatives
from quality_models.examples.phrases import fill, phrases
from quality_models.examples.pieces import is_prose, plain_prose, prose_windows
from quality_models.examples.toxicity import without_spans
from quality_models.fit import fit
from quality_models.pages import kind_of
from quality_models.recipe import ClassifierRecipe, FastText
from quality_models.train import train_classifier
from tests.quality_models.tiny_data import make_data

PROSE = (
    "The harbour was quiet in the morning, and only a few boats had gone out before the storm. By noon the wind had "
    "risen, so that the fishermen who had stayed at home were glad of it. Nobody spoke of those who had not come back."
)
NAMES = ["adult", "fluency", "not_ad", "toxicity"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def recipe(name: str, *overrides: str) -> ClassifierRecipe:
    found = load_recipe(Path(f"manifests/train_{name}.yaml"), overrides)
    assert isinstance(found, ClassifierRecipe)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid_and_names_no_research_only_source(name: str) -> None:
    assert recipe(name).name == name
    assert not {"fluency_cola", "spam_mail_small", "forum", "news"} & {source.name for source in recipe(name).sources}


def test_a_fault_in_a_recipe_is_an_error_with_its_place(tmp_path: Path) -> None:
    text = Path("manifests/train_toxicity.yaml").read_text().replace("prior: 0.05", "priors: 0.05")
    (tmp_path / "recipe.yaml").write_text(text.replace("windows: 0.01", "windows: 2"))
    with pytest.raises(ManifestError) as caught:
        load_recipe(tmp_path / "recipe.yaml", [])
    assert "did you mean 'prior'?" in str(caught.value)
    assert "false_alarms.windows" in str(caught.value)


@pytest.mark.parametrize(("name", "floor"), [("toxicity", 0.9), ("adult", 0.9), ("fluency", 0.8), ("not_ad", 0.8)])
def test_a_tiny_training_separates_what_it_has_not_seen_and_repeats_itself(
    name: str, floor: float, data: Path, tmp_path: Path
) -> None:
    small = ("scale=0.1", "fasttext.bucket=20000", "fasttext.features=4000", "left_out=[]")
    written = []
    for folder in ("one", "two"):
        wanted = recipe(name, f"data={data}", f"output={tmp_path / folder}", *small)
        trained = train_classifier(wanted, lambda line: None)
        written.append(
            [(tmp_path / folder / name / file).read_bytes() for file in ("model.ftz", "card.json", "card.md")]
        )
    assert written[0] == written[1]
    card = trained.card
    auc = next(metric for metric in card.metrics if metric.name == "rank AUC")
    assert floor < auc.low <= auc.value <= auc.high
    assert 0 < card.threshold < 1
    scorer = load_scorer(name, models_dir=tmp_path / "two")
    assert scorer.card.weights_sha256 == trained.sha256
    shares = [bin_.share for bin_ in card.reliability]
    assert shares[0] < 0.5 < shares[-1]


def test_a_source_that_is_left_out_is_measured_on(data: Path, tmp_path: Path) -> None:
    small = ("scale=0.05", "fasttext.bucket=20000", "fasttext.features=0")
    wanted = recipe("toxicity", f"data={data}", f"output={tmp_path}", *small)
    names = [metric.name for metric in train_classifier(wanted, lambda line: None).card.metrics]
    assert [name for name in names if "never seen" in name] == [
        f"rank AUC, never seen: {source}, {how}"
        for source in ("tweets", "comments")
        for how in ("against all else", "within it")
    ]


def test_near_duplicates_fall_into_one_part_whatever_their_names() -> None:
    texts = {f"{n}": f"{PROSE} This is sentence number {n} of a long and tedious list." for n in range(40)}
    texts |= {f"other {n}": " ".join(f"{word}{n}" for word in PROSE.split()) for n in range(400)}
    parts = parts_of(texts)
    assert len({parts[f"{n}"] for n in range(40)}) == 1
    assert {parts[f"other {n}"] for n in range(400)} == {"train", "calibrate", "test"}
    assert len(representatives(texts)) == 401
    some = dict(list(texts.items())[40:])
    assert {name: parts[name] for name in some} == parts_of(some)


def test_markup_says_what_a_page_is() -> None:
    article = b'<meta property="og:type" content="article"><time datetime="2024-01-31">'
    assert kind_of(article) == "article"
    assert kind_of(article.split(b"<time")[0]) == "other"
    assert kind_of(b'<div itemtype="http://schema.org/Product"><b itemprop="price">3</b>') == "shop"
    assert kind_of(article + b'<a class="add-to-cart">') == "other"
    assert kind_of(b"<p>You can buy this product at a good price") == "other"


def test_parts_are_about_80_10_10_and_never_change() -> None:
    parts = [part_of(f"piece {number}") for number in range(5000)]
    assert parts == [part_of(f"piece {number}") for number in range(5000)]
    assert 0.78 < parts.count("train") / 5000 < 0.82
    assert 0.08 < parts.count("calibrate") / 5000 < 0.12


@pytest.mark.parametrize("corrupt", corruptions.CORRUPTIONS, ids=lambda corrupt: corrupt.__name__)
@pytest.mark.parametrize("text", [PROSE, "word", "", "12 34 .. !"])
def test_corruptions_change_prose_take_any_text_and_repeat_with_their_seed(corrupt, text: str) -> None:
    first, second = (corrupt(text, random.Random(7)) for _ in range(2))
    assert first == second
    if text == PROSE:
        assert first != PROSE


def test_marked_spans_are_cut_out() -> None:
    assert without_spans("you stupid little man", [[4, 10]]) == "you little man"
    assert without_spans("ab cd ef", [[0, 2], [6, 8]]) == "cd"


def test_plain_prose_loses_markup_and_code() -> None:
    text = "# Title\n\nSee [the *docs*](http://x.y/z) for\nmore.\n\n```\ncode()\n```\n\nThe end.<!-- no -->"
    assert plain_prose(text) == "Title\n\nSee the docs for more.\n\nThe end."


def test_only_paragraphs_of_sentences_are_prose() -> None:
    assert is_prose(PROSE)
    assert not is_prose("Too short.")
    assert not is_prose(PROSE[:-1] + ":")
    assert not is_prose("12 34 56 78 90 " * 20 + ".")


def test_windows_hold_their_size_and_come_from_the_documents() -> None:
    windows = prose_windows([f"{PROSE}\n\n{PROSE}"] * 3, 20, random.Random(1), low=100, high=300)
    assert len(windows) == 20
    assert all(20 < len(window) <= 300 for window in windows)
    assert prose_windows(["short"], 5, random.Random(1)) == []


@pytest.mark.parametrize("group", ["shop", "service", "travel_money", "plain_lines", "tube", "identity"])
def test_every_phrase_can_be_filled_and_every_part_has_some(group: str) -> None:
    parts = [phrases(group, part) for part in ("train", "calibrate", "test")]
    assert all(parts)
    for phrase in chain.from_iterable(parts):
        filled = fill(phrase, random.Random(1), terms=["term"])
        assert filled
        assert "{" not in filled


def test_the_same_lines_train_to_the_same_bytes(tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = []
    for _ in range(600):
        side = rng.random() < 0.5
        words = rng.choices(["good", "fine", "nice", "well"] if side else ["bad", "poor", "ill", "worse"], k=8)
        rows.append(f"__label__{'yes' if side else 'no'} {' '.join(words)} w{rng.randrange(40)}\n")
    (tmp_path / "lines.txt").write_text("".join(rows))
    settings = FastText(dim=4, epoch=2, bucket=2000, features=0, min_count=1)
    for name in ("a.bin", "b.bin"):
        fit(tmp_path / "lines.txt", tmp_path / name, settings)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_training_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="training failed"):
        fit(tmp_path / "absent.txt", tmp_path / "model.ftz", FastText())


def test_windows_have_both_classes_and_repeat_with_their_seed(data: Path) -> None:
    first, second = (not_ad.build(data, "train", random.Random(2), 0.1) for _ in range(2))
    assert first == second
    positives = sum(example.positive for example in first)
    assert 0.2 < positives / len(first) < 0.8
    assert all(example.text.strip() for example in first)


def test_a_group_term_is_put_among_the_words_and_the_audit_counts_what_passes() -> None:
    class Fearful:
        def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.array([0.9 if "queer" in text else 0.1 for text in texts], np.float32)

    assert with_term("a b c", "x", random.Random(1)).split().count("x") == 3
    found = audit_groups(Fearful(), [PROSE * 3, PROSE * 4, "short"], threshold=0.5, worse_is_higher=True)
    assert (found.documents, found.crossed) == (2, 4)  # queer, and queer artists
    assert found.largest_shift == pytest.approx(0.8)

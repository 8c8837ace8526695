"""The recipe from windows to weights: what is trained on, that parts stay apart, that bytes come out the same."""

from __future__ import annotations

import os
import random
from itertools import chain
from pathlib import Path

import pytest

from corpus.errors import ModelError
from quality_models.examples import corruptions, not_ad
from quality_models.examples.phrases import fill, phrases
from quality_models.examples.pieces import is_prose, part_of, plain_prose, prose_windows
from quality_models.examples.toxicity import without_spans
from quality_models.fit import fit
from quality_models.recipe import FastText, read_recipe
from quality_models.train import main

DATA = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "classifiers").is_dir(), reason="the measurement data is not there")
PROSE = (
    "The harbour was quiet in the morning, and only a few boats had gone out before the storm. By noon the wind had "
    "risen, so that the fishermen who had stayed at home were glad of it. Nobody spoke of those who had not come back."
)
NAMES = ["adult", "fluency", "not_ad", "toxicity"]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid_and_names_no_research_only_source(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert not {"fluency_cola", "spam_mail_small", "forum", "news"} & {source.name for source in recipe.sources}


def test_an_unknown_recipe_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ModelError) as caught:
        read_recipe("toxicty")
    assert "toxicity" in caught.value.fix


def test_the_command_reports_an_unknown_model_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nothing", "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "there is no recipe 'nothing'" in capsys.readouterr().err


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


@needs_data
@pytest.mark.shared
def test_windows_have_both_classes_and_repeat_with_their_seed() -> None:
    first, second = (not_ad.build(DATA, "test", random.Random(2)) for _ in range(2))
    assert first == second
    positives = sum(example.positive for example in first)
    assert 0.2 < positives / len(first) < 0.8
    assert all(example.text.strip() for example in first)

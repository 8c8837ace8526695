"""The shipped models, and every way in which a model can be absent, changed or someone else's."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from corpus.errors import ModelError
from quality_models import installed, load_scorer
from quality_models.registry import MODELS_DIR

NAMES = ["adult", "fluency", "not_ad", "toxicity"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the smallest shipped model, in a directory of the user's."""
    return shutil.copytree(MODELS_DIR / "adult", tmp_path / "mine")


def pin(directory: Path) -> str:
    return f"{directory}@sha256:{hashlib.sha256((directory / 'card.json').read_bytes()).hexdigest()}"


def test_four_models_are_installed_and_each_is_the_pinned_one() -> None:
    assert [info.name for info in installed()] == NAMES
    for info in installed():
        assert info.card.name == info.name
        assert load_scorer(info.name).score([]).shape == (0,)


def test_the_shipped_models_are_small() -> None:
    assert sum(path.stat().st_size for path in MODELS_DIR.rglob("*.ftz")) < 4_000_000


def test_every_card_names_licences_limits_and_measurements() -> None:
    for info in installed():
        card = info.card
        assert all(source.licence and "(R)" not in source.licence for source in card.sources)
        assert not {"fluency_cola", "spam_mail_small"} & {source.name for source in card.sources}
        assert card.biases
        assert card.metrics
        assert all(metric.low <= metric.value <= metric.high for metric in card.metrics)
        assert {"medical documents", "legal documents"} <= {check.documents for check in card.clean_checks}
        text = (info.directory / "card.md").read_text("utf-8")
        assert card.weights_sha256 in text


@pytest.mark.parametrize("name", ["toxicity", "adult"])
def test_far_fewer_than_two_percent_of_ordinary_documents_are_past_the_bound(name: str) -> None:
    card = next(info for info in installed() if info.name == name).card
    assert all(check.beyond < 0.01 for check in card.clean_checks)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match="no model is called 'toxic'") as caught:
        load_scorer("toxic")
    assert "toxicity" in caught.value.where


def test_a_directory_of_ones_own_loads_with_its_pin(own: Path) -> None:
    assert load_scorer(pin(own)).score(["some text"]).tolist() == load_scorer("adult").score(["some text"]).tolist()


def test_a_directory_without_a_pin_is_refused_and_the_message_says_how_to_pin(own: Path) -> None:
    with pytest.raises(ModelError, match="not pinned") as caught:
        load_scorer(str(own))
    assert "sha256sum" in caught.value.fix


def test_a_shipped_name_may_be_pinned_too() -> None:
    digest = next(info.sha256 for info in installed() if info.name == "adult")
    assert load_scorer(f"adult@sha256:{digest}").card.name == "adult"
    with pytest.raises(ModelError, match="not the pinned"):
        load_scorer(f"adult@sha256:{'0' * 64}")


def test_changed_weights_are_noticed_before_fasttext_sees_them(own: Path) -> None:
    reference = pin(own)
    with (own / "model.ftz").open("r+b") as file:
        file.write(b"\xff" * 16)  # fastText itself would crash or allocate without bounds
    with pytest.raises(ModelError, match="not the pinned one"):
        load_scorer(reference)


def test_truncated_weights_are_noticed(own: Path) -> None:
    reference = pin(own)
    data = (own / "model.ftz").read_bytes()
    (own / "model.ftz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="not the pinned one"):
        load_scorer(reference)


def test_a_changed_card_is_noticed(own: Path) -> None:
    reference = pin(own)
    (own / "card.json").write_text((own / "card.json").read_text().replace('"slope":', '"slope" :'))
    with pytest.raises(ModelError, match="not the pinned one"):
        load_scorer(reference)


@pytest.mark.parametrize("name", ["card.json", "model.ftz"])
def test_a_missing_file_is_named(own: Path, name: str) -> None:
    reference = pin(own)
    (own / name).unlink()
    with pytest.raises(ModelError, match="cannot be read") as caught:
        load_scorer(reference)
    assert name in caught.value.where


def test_a_card_cannot_point_outside_its_directory(own: Path) -> None:
    card = json.loads((own / "card.json").read_text())
    card["weights"] = "../elsewhere.ftz"
    (own / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="outside the model"):
        load_scorer(pin(own))


def test_a_pinned_card_that_is_no_card_says_what_is_wrong(own: Path) -> None:
    (own / "card.json").write_text('{"name": "mine"}')
    with pytest.raises(ModelError, match="not valid"):
        load_scorer(pin(own))


def test_weights_that_are_pinned_but_no_model_are_an_error_and_no_crash(own: Path) -> None:
    (own / "model.ftz").write_bytes(b"this is no fastText model at all")
    card = json.loads((own / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256((own / "model.ftz").read_bytes()).hexdigest()
    (own / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="fastText cannot read"):
        load_scorer(pin(own))


def test_another_list_of_function_words_is_noticed(tmp_path: Path) -> None:
    own = shutil.copytree(MODELS_DIR / "fluency", tmp_path / "mine")
    card = json.loads((own / "card.json").read_text())
    card["function_words_sha256"] = "0" * 64
    (own / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="function words"):
        load_scorer(pin(own))


@pytest.mark.parametrize("content", [None, "", "[]", '{"models": {"adult": {}}}'])
def test_a_broken_registry_is_an_error_with_its_path(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "registry.json").write_text(content)
    with pytest.raises(ModelError, match="registry") as caught:
        installed(models_dir=tmp_path)
    assert "registry.json" in caught.value.where

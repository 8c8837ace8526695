"""Decoding pages: who is believed about the charset, in which order, and what a lie costs."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.charset import codec_of, decode_html

FRENCH = "Le café était fermé à Noël, “déjà” dit l’hôtelier, où les élèves fêtaient leur réussite."
JAPANESE = "日本語のテキストです。今日は天気がいいので、東京へ行きます。"
CHINESE = "中文网页的测试内容，这里有很多汉字，足够让检测器判断编码。"
KOREAN = "한국어 텍스트 입니다. 안녕하세요, 오늘은 날씨가 좋습니다."
RUSSIAN = "Русский текст на странице, которую никто не подписал. Привет, читатель!"
META = '<html><head><meta charset="{}"></head><body>{}</body></html>'


@pytest.mark.parametrize(
    ("body", "header", "charset", "how"),
    [
        (codecs.BOM_UTF8 + FRENCH.encode(), "text/html; charset=gbk", "utf-8", "bom"),
        (codecs.BOM_UTF16_LE + FRENCH.encode("utf-16-le"), "text/html; charset=utf-8", "utf-16-le", "bom"),
        (codecs.BOM_UTF16_BE + FRENCH.encode("utf-16-be"), None, "utf-16-be", "bom"),
        (("<html>" + FRENCH).encode("utf-16-le"), None, "utf-16-le", "nul_pattern"),
        (("<html>" + FRENCH).encode("utf-16-be"), "text/html; charset=utf-8", "utf-16-be", "nul_pattern"),
        (JAPANESE.encode("iso-2022-jp"), None, "iso2022_jp_ext", "escape"),
        (FRENCH.encode(), "text/html; charset=iso-8859-1", "utf-8", "utf8"),
        (b"plain ascii", "text/html; charset=shift_jis", "utf-8", "utf8"),
        (JAPANESE.encode("cp932"), 'text/html; charset="x-sjis"', "cp932", "http"),
        (RUSSIAN.encode("koi8-r"), "text/html;charset=KOI8-R", "koi8-r", "http"),
        (META.format("windows-1251", RUSSIAN).encode("cp1251"), None, "cp1251", "meta"),
        (META.format("gb2312", CHINESE + "镕").encode("gb18030"), None, "gb18030", "meta"),
        (META.format("euc-kr", KOREAN + "똠").encode("cp949"), None, "cp949", "meta"),
        (FRENCH.encode("cp1252"), None, "cp1252", "detector"),
        (KOREAN.encode("cp949"), None, "cp949", "detector"),
        (RUSSIAN.encode("cp1251"), "text/html; charset=x-user-defined", "cp1251", "detector"),
        (META.format("none", CHINESE).encode("gb18030"), None, "gb18030", "detector"),
    ],
)
def test_each_witness_is_heard_in_its_turn(body: bytes, header: str | None, charset: str, how: str) -> None:
    decoded = decode_html(body, header)
    assert (decoded.charset, decoded.how, decoded.replacements) == (charset, how, 0)


@pytest.mark.parametrize("text", [FRENCH, JAPANESE, CHINESE, KOREAN, RUSSIAN])
def test_the_text_comes_back_as_it_was_written(text: str) -> None:
    assert decode_html(text.encode()).text == text


@pytest.mark.parametrize(
    "declaration",
    [
        '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">',
        "<META CONTENT='text/html;charset=KOI8-R' HTTP-EQUIV=Content-Type>",
        "<meta charset=koi8-r />",
        '<?xml version="1.0" encoding="koi8-r"?>',
        "<!-- <meta charset=big5> --><meta charset = 'koi8-r'>",
    ],
)
def test_every_way_to_declare_a_charset_in_the_page_is_read(declaration: str) -> None:
    body = (declaration + RUSSIAN).encode("koi8-r")
    assert decode_html(body).text.endswith(RUSSIAN)


def test_the_header_is_believed_before_the_meta_tag() -> None:
    body = META.format("koi8-r", RUSSIAN).encode("cp1251")
    assert RUSSIAN in decode_html(body, "text/html; charset=windows-1251").text


def test_gb18030_under_a_utf8_label_is_found_out() -> None:
    decoded = decode_html(META.format("utf-8", CHINESE * 3).encode("gb18030"), "text/html; charset=utf-8")
    assert CHINESE in decoded.text
    assert decoded.charset == "gb18030"


def test_windows_1252_under_a_utf8_label_is_found_out() -> None:
    assert FRENCH in decode_html(META.format("utf-8", FRENCH).encode("cp1252"), "text/html; charset=utf-8").text


def test_a_few_damaged_bytes_do_not_turn_utf8_into_something_else() -> None:
    decoded = decode_html((RUSSIAN + "|").encode() + b"\xff\xd0", "text/html; charset=utf-8")
    assert decoded.charset == "utf-8"
    assert decoded.replacements == 2
    assert decoded.text.startswith(RUSSIAN)
    assert decoded.replacement_ratio == pytest.approx(2 / len(decoded.text))


@pytest.mark.parametrize(("broken", "charset"), [(3, "utf-8"), (4, "cp1252")])
def test_a_label_is_believed_while_half_of_the_characters_outside_ascii_decode(broken: int, charset: str) -> None:
    body = "ééé".encode() + b"\xe9 " * broken  # 3 good ones against `broken` bad ones
    assert decode_html(body, "text/html; charset=utf-8").charset == charset


def test_hopeless_bytes_are_counted_and_never_fatal() -> None:
    decoded = decode_html(bytes(range(128, 256)) * 3 + b"\x81\xff\x00")
    assert decoded.text
    assert decoded.replacements == decoded.text.count("\ufffd")


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("latin1", "cp1252"),
        ("US-ASCII", "cp1252"),
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        ("x-sjis", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("cp949", "cp949"),
        ("big5", "big5hkscs"),
        ("windows-874", "cp874"),
        ("iso-8859-9", "cp1254"),
        ("utf8", "utf-8"),
        ("rot13", None),
        ("zlib", None),
        ("bogus", None),
    ],
)
def test_labels_mean_what_browsers_take_them_to_mean(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


@given(st.binary(max_size=300), st.none() | st.text(max_size=40))
def test_any_bytes_under_any_header_decode(body: bytes, header: str | None) -> None:
    decoded = decode_html(body, header)
    assert decoded.replacements == decoded.text.count("\ufffd")
    assert 0 <= decoded.replacement_ratio <= 1


@given(st.text(max_size=200))
def test_valid_utf8_is_never_taken_for_anything_else(text: str) -> None:
    body = ("<p>title</p>" + text.replace("\x1b", "").replace("\0", "")).encode()
    assert decode_html(body, "text/html; charset=big5").text.encode() == body

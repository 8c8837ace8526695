"""Personal data: what is masked, what is left alone, and that no input takes long."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.pii import KINDS, Finder, MaskPii, find_pii, mask

SHARED = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))


def found(text: str, **settings) -> list[tuple[str, str]]:
    return [(span.kind, span.value) for span in find_pii(text, finder=Finder(**settings))]


@pytest.mark.parametrize(
    "address",
    ["jo@example.com", "Jo.Smith+tag@mail.example.co.uk", "o'brien@example.ie", "a_b-c%d@x1.example.museum", "_x@y.io"],
)
@pytest.mark.parametrize(
    "around", ["{}", "Mail {}.", "<{}>", '"{}"', "mailto:{}?subject=x", "联系{}谢谢", "({}),", "x={}&y", "é{}é"]
)
def test_email_addresses_are_found_exactly(address, around):
    assert found(around.format(address)) == [("email", address)]


@pytest.mark.parametrize(
    "text",
    [
        "icon@2x.png",
        "@handle",
        "user@localhost",
        "a @ b.com",
        "git@github.com:o/r",
        "x@y",
        "x@.com",
        "@@@@",
        "x@1.2",
        "lodash@4.17.21",
        "a@b..com",
        "at 5@$3.00",
        "a..b@x.com",
    ],
)
def test_what_only_looks_like_email_is_left_alone(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "address",
    [
        "jo at example dot com",
        "jo dot smith at mail dot example dot co dot uk",
        "JO AT EXAMPLE DOT COM",
        "jo [at] example.org",
        "jo(at)example(dot)org",
        "jo {at} example {dot} de",
        "jo <at> example.net",
        "jo(@)example.com",
        "jo@example dot com",
        "jo\uff20example.com",
        "jo.smith[at]example[.]com",
        "jsmith AT example.org",
        "jo&#64;example&#46;com",
        "jo&commat;example.com",
        "jo@example [dot] com",
        "jo (ät) example [punkt] de",
        "jo (@) example (.) org",
        "jo (arroba) example.es",
    ],
)
@pytest.mark.parametrize("around", ["{}", "Write to {}.", "({}),", "é {}\nBest", "mail: {} or call"])
def test_addresses_hidden_from_machines_are_found(address, around):
    assert found(around.format(address)) == [("email", address)]


@pytest.mark.parametrize(
    "text",
    [
        "look at example dot com",
        "See us at example.com",
        "Meet me at noon. Dot com firms fell.",
        "He worked at the dot com company",
        "The arrow at point dot three",
        "an array[at] example",
        "vector(at) index",
        "jo [at] example",
        "jo [at] example.notadomain",
        "std::map.at(dot)",
        "jo at example dot",
        "at dot com",
    ],
)
def test_prose_and_code_with_at_and_dot_stay(text):
    assert found(text) == []


@pytest.mark.parametrize("glued", ["Phone", "-Phone", "-020", ".Please", ".0044"])
def test_text_glued_to_an_address_stays(glued):
    assert found(f"jo@example.com{glued}") == [("email", "jo@example.com")]


def test_addresses_and_numbers_glued_together_are_all_found():
    assert [value for _, value in found("jo@example.com-ann@example.org")] == ["jo@example.com", "ann@example.org"]
    assert [kind for kind, _ in found("Tel. 020 7946 0958jo [at] example.org")] == ["phone", "email"]


@pytest.mark.parametrize(
    "number",
    [
        "+49 30 901820",
        "+44 (0)20 7946 0958",
        "+1 (212) 555-0123",
        "+12125550123",
        "+46 (0)8 928 571 38",
        "+82 31 670 8451",
        "(212) 555-0123",
        "212-555-0123",
        "212.555.0123",
        "1-800-555-0123",
        "212 555-0123",
        "(212)555-0123 ext. 12",
        "001-518-640-0854",
        "0044 20 7946 0958",
        "020 7946 0958",
        "07700 900123",
        "0492 - 52 43 33",
        "01.23.45.67.89",
        "0711/1234567",
        "212\u2013555\u20130123",
        "(212)\u00a0555-0123",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "Phone: {}.", "Reach us at {}, or write", "a\n{}\nb", "Jo ({}) is", "Büro: {} oder"]
)
def test_telephone_numbers_are_found_by_their_form(number, around):
    if "({})" in around and number.startswith("("):
        around = around.replace("({})", "[{}]")
    assert found(around.format(number)) == [("phone", number)]


INTERNATIONAL = """
+61 2 5550 0123|+61 491 570 006|+49 30 23125 012|+49 (0) 30 23125-012|+49/30/23125012|+49.30.23125.012|+33 1 99 00 12 34
+33 (0)6 39 98 12 34|+33 01 99 00 12 34|0033 1 99 00 12 34|00 33 1 99 00 12 34|011 44 20 7946 0958|++44 20 7946 0958
+(44) 20 7946 0958|+44 (0)20 7946 0958 ext. 12|+1 (212) 555-0123 x12|+1.212.555.0123|+46 8 465 004 00|+353 1 555 0123
+86 10 5550 1234|+91 22 5550 1234|+81 3 5550 1234|+55 11 5550-1234|+7 495 555-01-23|+39 06 5550 1234|+34 915 55 01 23
+31 20 555 0123|+47 22 55 50 12|+45 55 50 12 34|+358 9 5550 1234|+48 22 555 01 23|+420 225 550 123|+90 212 555 01 23
+972 2 555 0123|+65 6555 0123|+852 5550 1234|+27 21 555 0123|+52 55 5550 1234|+49 711 5550-0|+43 1 5550123
"""


@pytest.mark.parametrize("number", INTERNATIONAL.strip().replace("\n", "|").split("|"))
@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u202f"])
def test_international_numbers_are_found_in_all_groupings(number, blank):
    number = number.replace(" ", blank)
    assert found(f"Jo, {number}, is") == [("phone", number)]
    assert found(f"Jo {number}") == [("phone", number)]


@pytest.mark.parametrize(
    "number", ["+1 012 555 0123", "+999 55 501 234", "+44 20 7946", "+45 55 50 12 34 56", "+33 1 99 00 12 34 56 78 90"]
)
def test_numbers_that_no_plan_has_are_found_behind_a_label_only(number):
    assert ("phone", number) not in found(f"It was {number} in all.")


LABELLED = """
Tel. |915 55 01 23;Teléfono: |915 55 01 23;Tlf: |22 55 50 12;Telefoon |020-5550123;Telefon: |22 555 01 23
Tél : |01 99 00 12 34;Tél. |01.99.00.12.34;Mobile: |07700 900123;Fax |225 550 123;Cell: |555 0123;電話：|03-5550-1234
电话:|13900000000;전화 |1555-0123;Тел.: |8 495 555 01 23;тел |555-01-23;Puh. |09 5550 1234;Handy: |0176 04069012
Durchwahl: |5550123;Telefonnummer |030 23125012;M: |07700 900123;T |020 7946 0958;GSM: |0470 55 01 23
WhatsApp: |5550123456;Phone (office): |555 0123;call toll free |800 555 0123;Voice: |212 555 0123;Tfno. |915 550 123
Tel ( |86 ) 10-5550- 1234;Fax: |(+44) 20 7946 0958;Tel: |(0044 20) 7946 0958;Phone: |212 555 0123 x12
"""


@pytest.mark.parametrize("text", LABELLED.strip().replace("\n", ";").split(";"))
def test_national_numbers_are_found_behind_labels_of_many_languages(text):
    label, number = text.split("|")
    assert [value.strip("()") for _, value in found(f"Jo\n{label}{number}\nFax")] == [number.strip("()")]


def test_lists_of_numbers_are_found_line_by_line_and_cell_by_cell():
    lines = "020 7946 0958\n020 7946 0959\n0113 496 0000"
    assert [value for _, value in found(lines)] == lines.split("\n")
    assert [value for _, value in found("Voice: 555-0123/555-0124, 020 7946 0958/ 0113 496 0000")][-2:] == [
        "020 7946 0958",
        "0113 496 0000",
    ]


@pytest.mark.parametrize("number", ["467 3395", "78 651 450", "2125550123", "60-56-85-91", "5550123", "212 555 0123"])
def test_weaker_forms_need_an_announcement(number):
    assert found(f"There were {number} of them.") == []
    for words in ("Tel. {}", "Phone: {}", "call us at {}", "Fax:\n{}", "my mobile number is {}", "☎ {}"):
        assert found(words.format(number)) == [("phone", number)]


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01 12:30:00",
        "01.02.2003 04.05.2006",
        "1999-2004",
        "call before 12/31/2019",
        "open 08.30-12.30",
        "01 02 03 04 05 06",
        "ISBN 978-0-306-40615-7",
        "ISBN 0-306-40615-2",
        "doi:10.1000/555.123.4567",
        "https://x.org/212-555-0123/a",
        "id=2125550123",
        "pi is 3.14159265358979",
        "$1,250,000.00",
        "1 200 300 4000",
        "part no. 212-555-0123",
        "0x7fffffffffff",
        "SKU212-555-0123",
        "02901 - 02940",
        "Boston, MA 02284-1003",
        "v2.12.555.0123",
        "12345678901234567890",
        "1.234.567.890",
        "lat 40.712776, -74.005974",
        "00487.3487.3 km/h",
        "1,2,3,4,5,6,7,8,9",
        "arXiv:astro-ph/0504082",
        "2001:02:03",
        "+1 2 3 4 5 6",
        "0.123.456.789",
        "phone 1999-2004",
        "5/8 x 1-1/4",
        "212-555-01234",
        "x+12125550123",
        "100-200-3000",
        "ISSN 0317-8471",
        "rgb(255, 255, 255)",
        "#00ff00 1234567",
        "https://theses.example.org/tel-01167309/document",
        "RCS Paris, TVA FR 09 552 091 795",
        "numpy 1.26.4.20231120, torch==2.13.0",
        "doi:10.1000/182.555.0123",
        "ISBN 978-0-306-40615-7",
        "std::vector<int> v{2125550123};",
        "12:34:56:789",
        "00:1b:44:11:3a:b7",
        "a[1:2:3]",
        "commit 2125550123456789abcdef",
    ],
)
def test_other_numbers_are_no_personal_data(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "address",
    [
        "106.31.73.20",
        "203.0.113.77",
        "2606:4700:4700::1111",
        "2a00:1450:4001:0831:0000:0000:0000:200e",
        "2001:DB8::8A2E:370:7334",
        "2001:db8::203.0.113.7",
        "2001:db8::1%eth0",
        "::ffff:203.0.113.7",
        "0:0:0:0:0:ffff:203.0.113.7",
        "64:ff9b::203.0.113.7",
    ],
)
@pytest.mark.parametrize("around", ["{}", "IP: {}.", "from {}, port", "http://{}/x", "({})", "root@{}", "{}/64"])
def test_public_ip_addresses_are_found(address, around):
    if ":" in address and around in ("http://{}/x", "root@{}"):
        around = "[{}]"
    assert found(around.format(address)) == [("ip", address)]


@pytest.mark.parametrize(
    "text",
    [
        "version 91.0.44.72",
        "v1.2.3.45",
        "Chrome/91.0.44.72",
        "section 1.2.3.44",
        "1.2.3.4",
        "192.168.1.300",
        "01.02.03.45",
        "1.2.3.4.55",
        "12:34:56",
        "std::vector",
        "a::b",
        "::1",
        "00:1b:44:11:3a:b7",
        "127.0.0.1",
        "192.168.1.1",
        "10.0.0.77",
        "fe80::1",
        "999.1.1.1",
        "8.8.8.8",
        "dead::beef",
        "0.0.0.0",
    ],
)
def test_versions_times_and_private_addresses_stay(text):
    assert found(text) == []


def test_ports_prefixes_and_tags_of_addresses_stay():
    for text in ("[{}]:443", "[IPv6:{}]", "addr:{}", "IP6 {}.443 >", "{}: unreachable", "8080:{}", "from={},"):
        assert found(text.format("2001:db8::7")) == [("ip", "2001:db8::7")]
    assert found("203.0.113.7:8080 203.0.113.0/24") == [("ip", "203.0.113.7"), ("ip", "203.0.113.0")]
    assert found("fe80::1%eth0", private_ips=True) == [("ip", "fe80::1%eth0")]


def test_private_addresses_are_masked_on_demand_and_loopback_never():
    text = "192.168.1.1 fe80::1 10.0.0.77 127.0.0.1 ::1"
    assert [value for _, value in found(text, private_ips=True)] == ["192.168.1.1", "fe80::1", "10.0.0.77"]


@pytest.mark.parametrize(
    "card",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5500005555555559",
        "378282246310005",
        "3782 822463 10005",
        "6011000990139424",
        "2223003122003222",
        "3530111333300000",
    ],
)
def test_payment_cards_pass_luhn_and_start_like_an_issuers(card):
    assert found(f"Paid with {card}.") == [("payment_card", card)]
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    assert found(f"Paid with {wrong}.") == []


def test_unusual_card_lengths_need_a_word():
    assert found("630427373398 items") == []
    assert found("card number 630427373398") == [("payment_card", "630427373398")]


@pytest.mark.parametrize(
    "text", ["0000 0000 0000 0000", "x4111111111111111", "4111111111111111.5", "0.4111111111111111", "1234567812345670"]
)
def test_other_long_numbers_are_no_cards(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "account", ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "gb82west12345698765432", "NO9386011117947"]
)
def test_ibans_need_country_length_and_check_digits(account):
    assert found(f"IBAN: {account}, thanks") == [("iban", account)]
    assert found(f"IBAN {account}") == [("iban", account)]
    wrong = account[:-1] + str((int(account[-1]) + 1) % 10)
    assert ("iban", wrong) not in found(f"IBAN {wrong}")
    assert "iban" not in dict(found(f"x{account}"))


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("123-45-6789", True),
        ("899-45-6789", True),
        ("900-45-6789", False),
        ("000-45-6789", False),
        ("666-45-6789", False),
        ("123-00-6789", False),
        ("123-45-0000", False),
        ("1123-45-6789", False),
        ("123-45-67890", False),
        ("123 45 6789", False),
        ("SSN 123 45 6789", True),
        ("social security number: 123456789", True),
        ("123456789", False),
        ("123-45-6789-1", False),
    ],
)
def test_social_security_numbers_follow_the_rules_of_their_issue(text, hit):
    assert [kind for kind, _ in found(text)] == ["ssn"] * hit


def test_spans_count_characters_and_masking_replaces_exactly_them():
    text = "Жанна: jo@example.com, ☎ 212-555-0123 — 😀 4111 1111 1111 1111 über 106.31.73.20"
    for span in find_pii(text):
        assert text[span.start : span.end] == span.value
    masked, counts = mask(text)
    assert masked == "Жанна: <EMAIL>, ☎ <PHONE> — 😀 <PAYMENT_CARD> über <IP>"
    assert counts == {"email": 1, "phone": 1, "ip": 1, "payment_card": 1, "iban": 0, "ssn": 0}
    assert mask(masked) == (masked, dict.fromkeys(KINDS, 0))


def batch(**columns) -> pa.Table:
    return pa.table({name: pa.array(texts, pa.large_string()) for name, texts in columns.items()})


def test_the_stage_masks_counts_and_leaves_other_rows_alone():
    rows = ["jo@example.com jo@example.org", "nothing", None, "", "tel 212-555-0123 é"]
    out = MaskPii().open(None)(batch(content=rows))
    assert out["content"].to_pylist() == ["<EMAIL> <EMAIL>", "nothing", None, "", "tel <PHONE> é"]
    signals = out["signals"].to_pylist()
    assert [row["pii_email"] for row in signals] == [2, 0, 0, 0, 0]
    assert [row["pii_phone"] for row in signals] == [0, 0, 0, 0, 1]
    declared = dict(MaskPii().adds())
    assert out["pii_spans"].type == declared.pop("pii_spans")
    declared = {name.removeprefix("signals."): kind for name, kind in declared.items()}
    assert {field.name: field.type for field in out["signals"].type} == declared
    assert out["content"].type == pa.large_string()


def test_sliced_and_chunked_batches_are_masked_like_whole_ones():
    table = pa.concat_tables([batch(content=["x", "jo@example.com"]), batch(content=[None, "a jo@example.org b"])])
    assert MaskPii().open(None)(table.slice(1))["content"].to_pylist() == ["<EMAIL>", None, "a <EMAIL> b"]
    assert MaskPii().open(None)(table.slice(0, 0)).num_rows == 0


def test_columns_kinds_and_placeholder_can_be_chosen():
    stage = MaskPii(columns=("content", "title"), kinds=("email",), placeholder="[{kind}]")
    out = stage.open(None)(batch(content=["jo@example.com 212-555-0123"], title=["jo@example.com"]))
    assert out["content"].to_pylist() == ["[EMAIL] 212-555-0123"]
    assert out["title"].to_pylist() == ["[EMAIL]"]
    assert out["signals"].to_pylist()[0] | {"pii_email": 2} == dict.fromkeys([f"pii_{kind}" for kind in KINDS], 0) | {
        "pii_email": 2
    }
    assert stage.needs() == {"content", "title"}


@pytest.mark.parametrize("placeholder", ["<{}>", "<{name}>", "{", "}"])
def test_a_placeholder_that_cannot_be_filled_is_refused(placeholder):
    with pytest.raises(ValidationError, match="placeholder"):
        MaskPii(placeholder=placeholder)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValidationError):
        MaskPii(kinds=("name",))


MEGABYTE = 1_000_000
UNITS = [
    "a",
    "1",
    "@",
    " ",
    "\n",
    ".",
    ":",
    "+",
    "(",
    "-",
    "a@",
    "a@a",
    "1 ",
    "1-",
    "1.",
    "1:",
    "a1",
    "ab12",
    "+1",
    "(1) ",
    "aZ0/+",
    "é",
    "\u00a0",
    "\u2013",
    "1\u2013",
    "a.",
    "@a.",
    "a@b.",
    "ff:",
    "::",
    "1234567 ",
    "12345678901234567890",
    "0123456789abcdef",
    "tel ",
    "tel 1",
    "GB82 ",
    "a at ",
    " dot ",
    "a at b dot ",
    "[at]",
    "a[at]b.",
    "a dot ",
    "\uff20",
    "a@b dot ",
    "a&#64;",
    "a AT ",
    "a[at]",
    "++1",
    "(+1",
    "0 ",
    "00 ",
    "011 ",
    "+49 30 ",
    "020 7946 0958 ",
    "tel 1 ",
    "<PHONE>",
    "<PHONE> 1",
    "::1",
    "::ffff:1.",
    "2001:db8::1",
    "2001:db8::1.",
    "1234:",
    "a@b.Com-",
    "a@b.com.A",
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_anything_is_scanned_in_one_pass(unit):
    text = (unit * (MEGABYTE // len(unit)))[: MEGABYTE // 4 if unit[-1] in " -.:1\u2013" else MEGABYTE]
    assert all(text[span.start : span.end] == span.value for span in find_pii(text))


LIKELY = st.text(alphabet="0123456789 +-().@:/abcdef\u00a0\u2013\n,x", max_size=60)
PIECES = st.sampled_from(
    [
        "jo@x.com",
        "jo at x dot com",
        "jo[at]x.org",
        "020 7946 0958",
        "card ",
        "ssn ",
        "123456789",
        "5550123",
        "::ffff:203.0.113.7",
        ":",
        "/",
        "212-555-0123",
        "+49 30 901820",
        "106.31.73.20",
        "4111 1111 1111 1111",
        "123-45-6789",
        "GB82WEST12345698765432",
        "2606:4700::1111",
        "tel ",
        "é",
        "😀",
        "\u00a0",
        " ",
        "-",
        ".",
        "7",
    ]
)


@given(st.one_of(st.text(max_size=80), LIKELY, st.lists(PIECES, max_size=12).map("".join)))
@settings(max_examples=600)
def test_spans_are_in_order_apart_and_exact_on_any_text(text):
    text = text.encode("utf-8", "replace").decode()
    spans = find_pii(text)
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(text)
        assert text[span.start : span.end] == span.value
        end = span.end
    masked, counts = mask(text)
    assert sum(counts.values()) == len(spans)
    out = MaskPii().open(None)(batch(content=["before", text, "after"]))
    assert out["content"].to_pylist() == ["before", masked, "after"]
    records = out["pii_spans"].to_pylist()
    assert (records[0], records[2]) == ([], [])
    assert remade(text, masked, records[1]) == masked


@given(
    st.one_of(LIKELY, st.lists(st.one_of(PIECES, st.sampled_from(KINDS).map("<{}>".format)), max_size=12).map("".join))
)
@settings(max_examples=1500)
def test_masking_twice_changes_nothing(text):
    masked, _ = mask(text)
    assert mask(masked) == (masked, dict.fromkeys(KINDS, 0))


def test_a_placeholder_announces_nothing():
    for text in ("<PHONE> 5550123", "<SSN> 123456789", "fax <PHONE> 5550123", "{PHONE} 5550123", "[PHONE] 5550123"):
        assert found(text) == []
    assert found("Phone: 212-555-0123 <EMAIL>") == [("phone", "212-555-0123")]


def remade(text: str, masked: str, records: list[dict]) -> str:
    """The masked text from the original and the records alone, every placeholder where the record puts it."""
    pieces, at = [], 0
    for record in records:
        pieces += [text[at : record["start"]], f"<{record['kind'].upper()}>"]
        assert masked[record["masked_start"] : record["masked_end"]] == pieces[-1]
        at = record["end"]
    return "".join([*pieces, text[at:]])


def test_records_say_where_in_which_column_and_never_what():
    stage = MaskPii(columns=("content", "title"), placeholder="[{kind}]")
    out = stage.open(None)(batch(content=["Zoë: jo@example.com", "x"], title=["☎ 212-555-0123", "y"]))
    first, second = out["pii_spans"].to_pylist()
    assert second == []
    assert first == [
        {"column": "content", "kind": "email", "start": 5, "end": 19, "masked_start": 5, "masked_end": 12},
        {"column": "title", "kind": "phone", "start": 2, "end": 14, "masked_start": 2, "masked_end": 9},
    ]


def test_lone_surrogates_are_no_obstacle():
    text = "\ud800 jo@example.com \udfff 212-555-0123"
    assert found(text) == [("email", "jo@example.com"), ("phone", "212-555-0123")]
    assert all(text[span.start : span.end] == span.value for span in find_pii(text))


@pytest.mark.shared
def test_precision_and_recall_on_the_synthetic_set():
    from benchmarks.pii_quality import pii_scores

    path = SHARED / "pii" / "synthetic_a.jsonl.zst"
    if not path.exists():
        pytest.skip(f"measurement data is not here: {path}")
    for kind, counts in pii_scores(path).items():
        assert counts["false"] == 0, kind
        assert counts["found"] / counts["marked"] >= 0.95, kind

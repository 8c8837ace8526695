"""Telephone numbers, told from the many other digit groups of a page by their form and by the words in front.

Four forms, from the surest to the weakest:

    international   +49 30 901820, +1 (212) 555-0123     a plus sign and a country code that exists
    North America   (212) 555-0123, 212-555-0123         area and exchange 2-9, separators as people write them
    trunk zero      030 901820, 020 7946 0958, 01.23.45.67.89     9 to 11 digits behind a single 0
    announced       7 to 15 digits right behind a word like "phone", "Tel.", "fax", "call", or before "office", "mobile"

Dates, clock times, spans of years, counting rows (01 02 03) and numbers announced as something else (ISBN, order no.,
part no.) are no telephone numbers. All patterns are anchored and bounded: constant time per digit group. Bare runs of
ten digits without an announcement are left alone: most of them are identifiers.
"""

from __future__ import annotations

import itertools
import re

_GAP = "[ \u00a0.\\-\u2010-\u2013/]"
_EXTENDED = re.compile(r"(?i)[ ,]{0,2}(?:ext\.?|x|extension)[ :.]?\d{1,5}(?!\d)")
_INTERNATIONAL = re.compile(rf"(?:\+[ \u00a0]?|00(?=[1-9]))\(?\d{{1,4}}\)?(?:{_GAP}{{0,3}}\(?\d{{1,11}}\)?){{1,7}}")
_AMERICAN = re.compile(
    rf"(?:1{_GAP})?(?:\([2-9]\d\d\){_GAP}{{0,3}}|[2-9]\d\d{_GAP}{{1,3}})[2-9]\d\d{_GAP}{{1,3}}\d{{4}}(?!\d)"
)
_TRUNK = re.compile(rf"\(?0[1-9]\d{{0,4}}\)?(?:{_GAP}{{1,3}}\d{{2,8}}){{1,5}}")
_ANNOUNCED = re.compile(rf"\+?\(?\d{{1,15}}\)?(?:{_GAP}{{0,3}}\(?\d{{1,11}}\)?){{0,7}}")

_ANNOUNCEMENT = re.compile(
    r"(?i)(?:(?<!/)\b(?:answering|messages? to|reach(?:ed)?|text|tel|tele?phon[eo]?s?|téléphone|tél|teléfono|tlf|ph"
    r"|phones?|fax|telefax|mobiles?|mob|mobil|cell"
    r"|cellular|handy|call|dial|hotline|helpline|whats ?app|sms|toll[- ]free|landline|pager)\b|\b[tpmf](?=:)"
    r"|[\u260e\u260f\u2706])(?::[ \u00a0]?\n)?"
    r"(?:[^\w\n!?]|\b(?:us|me|him|her|now|today|at|on|is|was|no|nr|num|number|office|home|work|desk|direct|mobile"
    r"|and|or|the|my|our|your|new|phone|line|toll|free)\b){0,8}\Z"
)
_LABEL_BEHIND = re.compile(r"(?i)[ \u00a0]?[-(,]?[ \u00a0]?(?:office|mobile|cell|fax|home|work|direct|landline)\b")
_OTHER_NUMBER = re.compile(
    r"(?i)(?:\b(?:isbn|issn|doi|orders?|ref|reference|items?|models?|sku|parts?|serial|version|build|id|nos?|nr|art|case"
    r"|patent|pmid|upc|ean|gtin|vin|lot|pages?|pp?|vols?|ticket|invoice|account|acct|tracking|docket|rs|inr|usd|eur"
    r"|vat(?: gb)?|tva(?: fr)?|siren|siret)"
    r"\b[\s.:#/-]*|10\.\d{4,9}/\S*|[#$\u20ac\u00a3\u00a5])\Z"
)
_DATE_OR_TIME = re.compile(
    r"[0-3]?\d([./-])[0-3]?\d\1\d{2,4}(?!\d)|(?:18|19|20)\d\d([./-])\d{1,2}\2\d{1,2}(?!\d)"
    r"|(?:18|19|20)\d\d ?[-\u2010-\u2013/] ?(?:18|19|20)?\d\d(?!\d)|(?:[01]?\d|2[0-3])\.[0-5]\d ?[-\u2010-\u2013]"
)
_GROUP = re.compile(r"\d+")
# Country codes of one and two digits, and how those of three start (ITU-T E.164).
_COUNTRY = re.compile(
    "1|7|20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    "|(?:21|22|23|24|25|26|29|35|37|38|42|50|59|67|68|69|80|85|87|88|96|97|99)[0-9]"
)


def phone_end(text: str, start: int) -> int:
    """Where the telephone number that starts at ``start`` ends, or ``start`` where there is none.

    ``text`` holds some 50 characters of context in front of ``start``.
    """
    end = _end(text, start)
    while text.endswith(")", start, end) and text.count(")", start, end) > text.count("(", start, end):
        end -= 1  # the number itself stands in brackets
    unpaired = text[start] == "(" and text.find(")", start, end) < 0
    return start if unpaired else end


def _end(text: str, start: int) -> int:
    if text[start] == "+":
        return _international_end(text, start, "+")
    sure = _sure_end(text, start)
    loose = _loose_end(text, start)
    if sure == loose == start:
        return start  # most digit groups end here
    before = text[max(0, start - 48) : start]
    if _ANNOUNCEMENT.search(before) or (loose > start and _LABEL_BEHIND.match(text, loose)):
        return sure if sure > start else loose
    return start if _OTHER_NUMBER.search(before) else sure


def _sure_end(text: str, start: int) -> int:
    """The end of a number whose form speaks for itself."""
    if text.startswith("00", start) and (end := _international_end(text, start, "00")) > start:
        return end
    match = _AMERICAN.match(text, start)
    if match and _is_american(match.group()):
        extension = _EXTENDED.match(text, match.end())
        end = extension.end() if extension else match.end()
        if _stands_alone(text, start, end, strict=False):
            return end
    match = _TRUNK.match(text, start)
    fits = match and _is_trunk(match.group()) and _stands_alone(text, start, match.end(), strict=True)
    return match.end() if match and fits else start


def _loose_end(text: str, start: int) -> int:
    """The end of what is a telephone number where the words in front say so."""
    match = _ANNOUNCED.match(text, start)
    fits = match and _is_announced(match.group()) and _stands_alone(text, start, match.end(), strict=False)
    return match.end() if match and fits else start


def _international_end(text: str, start: int, prefix: str) -> int:
    match = _INTERNATIONAL.match(text, start)
    if match is None or (start > 0 and (text[start - 1].isalnum() or text[start - 1] in ")+")):
        return start
    number = match.group()
    digits = re.sub(r"\D", "", number).removeprefix("00")
    known = _COUNTRY.match(digits) is not None
    most = 11 if digits[0] == "1" else 15 if len(_GROUP.findall(number)) <= 2 else 13
    while len(digits) > most + ("(0)" in number):  # the pattern ran on into the next number: give groups back
        *_, last = _GROUP.finditer(number)
        number = number[: last.start()].rstrip(" \u00a0.-/(\u2010\u2011\u2012\u2013")
        digits = re.sub(r"\D", "", number).removeprefix("00")
    end = start + len(number)
    fits = known and len(digits) >= (11 if digits.startswith("1") else 8)
    groups = _GROUP.findall(number)
    if not fits or len(groups[-1]) < 2 or (prefix == "00" and len(groups) < 3):
        return start
    extension = _EXTENDED.match(text, end)
    end = extension.end() if extension else end
    return start if text[end : end + 1].isalnum() else end


def _is_american(number: str) -> bool:
    # 200 300 4000 are three numbers in a table as often as a telephone number
    return "(" in number or len(re.findall("[ \u00a0]", number)) < 2


def _is_trunk(number: str) -> bool:
    groups = _GROUP.findall(number)
    gaps = set(re.findall(_GAP, number))
    digits = sum(map(len, groups))
    if _DATE_OR_TIME.match(number) and not (len(groups) == 5 and len(gaps) == 1):
        return False
    if [*map(len, groups)] in ([5, 5], [5, 4]) and gaps != {" "}:
        return False  # US ZIP codes: 02901 - 02940, 02284-1003
    steps = {int(b) - int(a) for a, b in itertools.pairwise(groups)}
    return 9 <= digits <= 11 and len(gaps) <= 2 and not (len(groups) > 2 and steps in ({1}, {2}, {5}, {10}))


def _is_announced(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    return 7 <= len(digits) <= 15 and not _DATE_OR_TIME.match(number) and len(set(digits)) > 1


def _stands_alone(text: str, start: int, end: int, *, strict: bool) -> bool:
    """Whether the number is no part of a longer one; ``strict`` also refuses other numbers one blank away."""
    after = text[end : end + 2]
    if after[:1].isalnum() or after[:1] in ("_", "%") or re.match(r"[-./,:]\d", after):
        return False
    return not (strict and (re.match(r"\s\d", after) or re.search(r"\d\s$", text[max(0, start - 2) : start])))

"""Telephone numbers, told from the many other digit groups of a page by their form and by the words in front.

Four forms, from the surest to the weakest:

    international   +49 30 901820, 0044 20 7946 0958, (+353-1) 5550123, 011 44 20 7946 0958
                    an international prefix, a calling code that exists, and as many digits as its plan has
    North America   (212) 555-0123, 212-555-0123         area and exchange 2-9, separators as people write them
    trunk zero      030 901820, 020 7946 0958, 01.23.45.67.89     9 to 11 digits behind a single 0
    announced       7 to 15 digits right behind a word like "phone", "Tel.", "fax", "call", or before "office", "mobile"

Dates, clock times, spans of years, counting rows (01 02 03), decimals and numbers announced as something else (ISBN,
order no., part no.) are no telephone numbers. All patterns are anchored and bounded: constant time per digit group.
Bare runs of ten digits without an announcement are left alone: most of them are identifiers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Final

from stages.pii.numbering import fits_plan
from stages.pii.phone_words import ANNOUNCEMENT, DATE_OR_TIME, EXTENSION, LABEL_BEHIND, OTHER_NUMBER

_GAP: Final = "[ \u00a0\u202f.\\-\u2010-\u2013/]"
_PREFIX: Final = re.compile(
    "\\(?(?:\\+{1,2}[ \u00a0]?\\(?|00(?=[1-9])|00[ \u00a0\u202f](?=[1-9])|011[ \u00a0\u202f.-](?=[1-9]))"
)
_GROUPS: Final = re.compile(rf"\d{{1,15}}(?: ?\))?(?:{_GAP}{{0,3}}\(?\d{{1,11}}\)?){{0,8}}")
_AMERICAN: Final = re.compile(
    rf"(?:1{_GAP})?(?:\([2-9]\d\d\){_GAP}{{0,3}}|[2-9]\d\d{_GAP}{{1,3}})[2-9]\d\d{_GAP}{{1,3}}\d{{4}}(?!\d)"
)
_TRUNK: Final = re.compile(rf"\(?0[1-9]\d{{0,4}}\)?(?:{_GAP}{{1,3}}\d{{2,8}}){{1,5}}")
_ANNOUNCED: Final = re.compile(rf"\+?\(?\d{{1,15}}(?: ?\))?(?:{_GAP}{{0,3}}\(?\d{{1,11}}\)?){{0,7}}")
_DECIMAL: Final = re.compile(r"\d{1,3}\.\d{4,}(?![\d-])")  # +52.520008: coordinates, and numbers of domain registries
_SEPARATORS: Final = " \u00a0\u202f.-/(+\u2010\u2011\u2012\u2013"
_FEWEST: Final = 7  # digits of a telephone number
_GROUP: Final = re.compile(r"\d+")
_NEXT: Final = re.compile("[ \t\u00a0](?:[0-9]|_0)")
_LAST: Final = re.compile("(?:[0-9]|0_)[ \t\u00a0]$")
_NUMBER_END: Final = tuple("0123456789_")  # also of masked values, see stages.pii.find


def phone_end(text: str, start: int) -> int:
    """Where the telephone number that starts at ``start`` ends, or ``start`` where there is none.

    ``text`` holds some 50 characters of context in front of ``start``.
    """
    end = _end(text, start)
    while text.endswith(")", start, end) and text.count(")", start, end) > text.count("(", start, end):
        end -= 1  # the number itself stands in brackets
    return start if text[start] == "(" and _is_wrapped(text, start, end) else end


def _is_wrapped(text: str, start: int, end: int) -> bool:
    """Whether the bracket at ``start`` holds the whole number, which then starts behind it, or does not close."""
    depth = 0
    for at in range(start, end):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at == end - 1
    return True


def _end(text: str, start: int) -> int:
    before = text[max(0, start - 48) : start]
    if text[start] in "+(01" and (end := _international_end(text, start, before)):
        return end
    match = _ANNOUNCED.match(text, start)
    if text[start] == "+" or match is None or len(_digits(match.group())) < _FEWEST:
        return start  # most digit groups end here
    sure = _sure_end(text, start)
    if _is_labelled(before):
        return sure if sure > start else _most_groups(text, start, match.end(), _is_announced, strict=False)
    labelled = LABEL_BEHIND.match(text, match.end()) is not None
    if sure > start:
        return start if OTHER_NUMBER.search(before) and not labelled else sure
    fits = labelled and _is_announced(match.group()) and _stands_alone(text, start, match.end(), strict=False)
    return match.end() if fits else start


def _sure_end(text: str, start: int) -> int:
    """The end of a number whose form speaks for itself."""
    match = _AMERICAN.match(text, start)
    if match and _is_american(match.group()):
        end = _with_extension(text, match.end())
        if _stands_alone(text, start, end, strict=False):
            return end
    match = _TRUNK.match(text, start)
    return _most_groups(text, start, match.end(), _is_trunk, strict=True) if match else start


def _most_groups(text: str, start: int, end: int, fits: Callable[[str], bool], *, strict: bool) -> int:
    """The end of the most groups of ``text[start:end]`` that fit and stand alone, or ``start``."""
    while end > start:
        if fits(text[start:end]):
            stop = end if strict else _with_extension(text, end)
            if _stands_alone(text, start, stop, strict=strict):
                return stop
        *_, last = _GROUP.finditer(text, start, end)  # the pattern may have run on into the next number
        end = start + len(text[start : last.start()].rstrip(_SEPARATORS))
    return start


def _international_end(text: str, start: int, before: str) -> int:
    """The end of the longest run of groups behind an international prefix that fits the plan; 0 where none does.

    A number with a plus sign that is announced as a telephone number may be shorter or longer than its plan.
    """
    behind = _behind_prefix(text, start, before)
    groups = _GROUPS.match(text, behind) if behind else None
    if groups is None:
        return 0
    parts = list(_GROUP.finditer(text, behind, groups.end()))
    sure = "+" in text[start:behind]
    end = _longest(text, parts, fits_plan, fewest=1 if sure else 3)
    if not end and sure and _is_labelled(before):
        end = _longest(text, parts, _is_announced, fewest=1)
    return _with_extension(text, end + text.startswith(")", end)) if end else 0


def _behind_prefix(text: str, start: int, before: str) -> int:
    """Where the calling code starts, behind ``+``, ``00`` or ``011``; 0 where there is no prefix, or hardly one."""
    prefix = _PREFIX.match(text, start)
    if prefix is None or before[-1:].isalnum() or before.endswith(("+", "_")):
        return 0
    if "+" in prefix.group():
        doubtful = _DECIMAL.match(text, prefix.end()) is not None
    elif before.rstrip()[-1:] in _NUMBER_END:
        return 0
    else:
        doubtful = OTHER_NUMBER.search(before) is not None
    return 0 if doubtful and not _is_labelled(before) else prefix.end()


def _longest(text: str, parts: list[re.Match[str]], fits: Callable[[str], bool], *, fewest: int) -> int:
    """The end of the most groups whose digits fit, at least ``fewest``; 0 where none do."""
    for count in range(len(parts), fewest - 1, -1):
        last = parts[count - 1]
        if fits("".join(part.group() for part in parts[:count])) and _ends_well(text, parts[0].start(), last):
            return last.end()
    return 0


def _ends_well(text: str, start: int, last: re.Match[str]) -> bool:
    """Whether a number may end behind the group ``last``.

    One digit is a group of its own only behind a hyphen, or as ``0``, the switchboard. Letters may be glued to a number
    that is written with blanks: extraction joins what stood in two cells.
    """
    single = len(last.group()) == 1 and last.group() != "0" and text[last.start() - 1] not in "-/"
    if EXTENSION.match(text, last.end()):
        return not single
    after = text[last.end() : last.end() + 1]
    glued = after.isalpha() and " " not in text[start : last.start()]
    return not (single or glued or after.isdigit() or after in ("_", "%"))


def _with_extension(text: str, end: int) -> int:
    extension = EXTENSION.match(text, end)
    return extension.end() if extension else end


def _is_american(number: str) -> bool:
    # 200 300 4000 are three numbers in a table as often as a telephone number
    return "(" in number or len(re.findall("[ \u00a0]", number)) < 2


def _is_trunk(number: str) -> bool:
    groups = _GROUP.findall(number)
    gaps = set(re.findall(_GAP, number))
    digits = sum(map(len, groups))
    if DATE_OR_TIME.match(number) and not (len(groups) == 5 and len(gaps) == 1):
        return False
    if [*map(len, groups)] in ([5, 5], [5, 4]) and gaps != {" "}:
        return False  # US ZIP codes: 02901 - 02940, 02284-1003
    steps = {int(b) - int(a) for a, b in itertools.pairwise(groups)}
    return 9 <= digits <= 11 and len(gaps) <= 2 and not (len(groups) > 2 and steps in ({1}, {2}, {5}, {10}))


def _is_labelled(before: str) -> bool:
    """Whether a label announces what follows; no label reaches across digits, which most numbers stand behind."""
    return before.rstrip(_SEPARATORS)[-1:] not in _NUMBER_END and ANNOUNCEMENT.search(before) is not None


def _digits(number: str) -> str:
    return "".join(_GROUP.findall(number))


def _is_announced(number: str) -> bool:
    digits = _digits(number)
    return _FEWEST <= len(digits) <= 15 and not DATE_OR_TIME.match(number) and len(set(digits)) > 1


def _stands_alone(text: str, start: int, end: int, *, strict: bool) -> bool:
    """Whether the number is no part of a longer one.

    ``strict``: other numbers must be more than a blank away, masked ones (``_000_``) too.
    """
    after = text[end : end + 2]
    if after[:1].isalnum() or after[:1] in ("_", "%") or re.match(r"[-./,:]\d", after):
        return False
    return not (strict and (_NEXT.match(text, end) or _LAST.search(text[max(0, start - 3) : start])))

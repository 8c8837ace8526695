"""Dates as pages write them, as ``YYYY-MM-DD``: in what they declare, in what they mark as a date, in addresses.

Months are known by name in English, German, French, Spanish, Portuguese, Italian, Dutch, Polish, Russian and the
languages of Scandinavia. ``03/04/2024`` is refused,
for it is another day in America than in Europe; so are years of two digits.
"""

from __future__ import annotations

import re

FIRST_YEAR, LAST_YEAR = 1990, 2099
MOST_TEXT = 200  # characters searched

_NUMERIC = re.compile(r"(?<!\d)(\d{4})(?:\s?[-/.年]\s?)?(\d{1,2})(?:\s?[-/.月]\s?)?(\d{1,2})(?!\d)")
_BACKWARDS = re.compile(r"(?<!\d)(\d{1,2})([-/.])\s?(\d{1,2})\2\s?(\d{4})(?!\d)")
_DAY_FIRST = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th|er|\.|º)?\s+(?:de\s+|of\s+)?([^\W\d_]{3,12})\.?,?\s+(?:de\s+)?(\d{4})(?!\d)"
)
_MONTH_FIRST = re.compile(r"([^\W\d_]{3,10})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})(?!\d)")
_IN_ADDRESS = re.compile(r"/(?:(\d{4})[/-](\d\d?)[/-](\d\d?)|(\d{4})(\d\d)(\d\d))(?![\d.])")
_MONTH_NAMES = (
    "jan gen ene янв sty", "feb fév fev фев lut", "mar mär mrt maa мар", "apr avr abr апр kwi",
    "may mai mag mei maj мая май", "jun juin giu июн cze", "jul juil lug июл lip", "aug aoû ago авг sie",
    "sep set сен wrz",
    "oct okt ott out окт paź", "nov ноя lis", "dec dez déc dic des дек gru",
)  # fmt: skip
_MONTHS = {name: at for at, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def normalise_date(raw: str) -> str | None:
    """``YYYY-MM-DD`` from ISO 8601, ``20240131``, ``Mon, 31 Jan 2024 ...``, ``31.1.2024``, ``January 31, 2024``.

    The date may stand among other words; None where there is none, or none that is certain.
    """
    raw = raw[:MOST_TEXT]
    if found := _NUMERIC.search(raw):
        return _valid(*found.groups())
    if found := _BACKWARDS.search(raw):
        day, separator, month, year = found.groups()
        if separator == "/" and int(day) <= 12 and day != month:
            return _valid(year, day, month) if int(month) > 12 else None
        return _valid(year, month, day)
    if found := _DAY_FIRST.search(raw):
        day, name, year = found.groups()
    elif found := _MONTH_FIRST.search(raw):
        name, day, year = found.groups()
    else:
        return None
    month = _MONTHS.get(name[:3].lower()) or _MONTHS.get(name[:4].lower())
    return _valid(year, str(month), day) if month else None


def date_in_address(url: str) -> str | None:
    """The day in ``https://example.org/2024/01/31/words``, ``/2024-01-31-words`` or ``/20240131-words``."""
    found = _IN_ADDRESS.search(url)
    return _valid(*(part for part in found.groups() if part)) if found else None


def _valid(year: str, month: str, day: str) -> str | None:
    if FIRST_YEAR <= int(year) <= LAST_YEAR and 1 <= int(month) <= 12 and 1 <= int(day) <= _DAYS[int(month) - 1]:
        return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"
    return None

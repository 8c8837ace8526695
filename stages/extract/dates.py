"""Dates as pages write them, as ``YYYY-MM-DD``. Dates in running text are not looked for."""

from __future__ import annotations

import re

FIRST_YEAR, LAST_YEAR = 1990, 2099

_NUMERIC = re.compile(r"\s*(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})(?!\d)")
_NAMED = re.compile(
    r"(?:(\d{1,2})(?:st|nd|rd|th)?\s+)?([A-Z][a-z]{2})[a-z]*\.?\s+(?:(\d{1,2})(?:st|nd|rd|th)?,?\s+)?(\d{4})"
)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: at for at, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def normalise_date(raw: str) -> str | None:
    """``YYYY-MM-DD`` from ISO 8601, ``20240131``, ``Mon, 31 Jan 2024 ...`` or ``January 31, 2024``; else None."""
    numeric = _NUMERIC.match(raw)
    if numeric:
        return _valid(*map(int, numeric.groups()))
    named = _NAMED.search(raw)
    if named and named.group(2) in _MONTHS and (named.group(1) or named.group(3)):
        return _valid(int(named.group(4)), _MONTHS[named.group(2)], int(named.group(1) or named.group(3)))
    return None


def _valid(year: int, month: int, day: int) -> str | None:
    if FIRST_YEAR <= year <= LAST_YEAR and 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]:
        return f"{year:04d}-{month:02d}-{day:02d}"
    return None

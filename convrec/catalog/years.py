"""Years as catalogs and data sets write them."""

from __future__ import annotations

import datetime
import re
from typing import Any

from convrec.titles.normalize import FIRST_YEAR, LAST_YEAR, clean_text, is_plausible_year

_WRITTEN = re.compile(r"[(\[]?\s*(\d{4})(?:\.0+)?\s*[)\]]?|(\d{4})-\d\d?(?:-\d\d?(?:[T ].*)?)?")
_MISSING = frozenset({"na", "n/a", "nan", "null", "none", "nat", "\\n", "-", "?", "unknown"})


def parse_year(value: Any) -> tuple[int | None, str]:
    """(year, "") for a year, (None, "") for a missing one, (None, reason) for an invalid one.

    A year is a number (1995, 1995.0), in brackets, or the beginning of a date (1995-12-15).
    """
    if is_missing(value):
        return None, ""
    year = _plain_year(value)
    if year is None:
        year = _other_year(value)
    if year is not None:
        return year or None, ""
    allowed = f"allowed are {FIRST_YEAR} to {LAST_YEAR}, or empty"
    return None, f"broken year {str(value)[:40]!r} ({allowed})"


def is_plain_year(value: Any) -> bool:
    """Whether a year has one of the forms that were read from the beginning, or is broken."""
    return is_missing(value) or _plain_year(value) is not None or _other_year(value) is None


def is_missing(value: Any) -> bool:
    """Whether a value is null, NaN or empty text."""
    return value is None or (isinstance(value, str) and not value.strip()) or value != value


def _plain_year(value: Any) -> int | None:
    try:
        number = float(value)
        year = int(number)
    except (TypeError, ValueError, OverflowError):
        return None
    return year if year == number and is_plausible_year(year) else None


def _other_year(value: Any) -> int | None:
    """The year in a date or in brackets, 0 if a word says that it is missing, else None."""
    if isinstance(value, datetime.date):
        return value.year if is_plausible_year(value.year) else None
    if not isinstance(value, str):
        return None
    text = clean_text(value).strip()
    if text.lower() in _MISSING:
        return 0
    match = _WRITTEN.fullmatch(text)
    year = int(match[1] or match[2]) if match else None
    return year if year is not None and is_plausible_year(year) else None

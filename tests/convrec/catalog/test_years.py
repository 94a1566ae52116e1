from __future__ import annotations

import datetime
from typing import Any

import pytest

from convrec.catalog.years import is_plain_year, parse_year


@pytest.mark.parametrize("value", [1995, 1995.0, "1995", " 1995 ", "1995.0", "１９９５"])
def test_a_year(value: Any) -> None:
    assert parse_year(value) == (1995, "")
    assert is_plain_year(value)


@pytest.mark.parametrize(
    "value",
    [
        "(1995)", "[1995]", "( 1995 )", "(1995.0)", "1995-12-15", "1995-12", "1995-1-5",
        "1995-12-15T00:00:00Z", "1995-12-15 00:00", datetime.date(1995, 12, 15),
        datetime.datetime(1995, 12, 15), "\u200b1995", "1995\ufeff", "(1995\u200e)",
    ],
)  # fmt: skip
def test_a_year_in_a_newer_form(value: Any) -> None:
    assert parse_year(value) == (1995, "")
    assert not is_plain_year(value)


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_missing_year(value: Any) -> None:
    assert parse_year(value) == (None, "")
    assert is_plain_year(value)


@pytest.mark.parametrize("value", ["N/A", "\\N", "nan", "None", "null", "-", "?", "NA", "unknown"])
def test_a_word_for_a_missing_year(value: str) -> None:
    assert parse_year(value) == (None, "")
    assert not is_plain_year(value)


@pytest.mark.parametrize(
    "value",
    ["201", 95, "1995.5", "19x5", "1995-2001", "12/15/1995", "c. 1995", "(95)", 1e400, "inf",
     "9999-01-01", [], {}, "1995 (film)"],
)  # fmt: skip
def test_a_broken_year(value: Any) -> None:
    year, reason = parse_year(value)
    assert year is None
    assert reason.startswith("broken year ")
    assert is_plain_year(value)

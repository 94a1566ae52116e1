"""Reads Reddit-v2 in the authors' processed schema, which the demo's generated rows share.

A row has `prompt` and `completion` (text, or chat messages as `chat.py` reads them), `seen_titles`,
`groundtruth_with_release_year` ([title, year] pairs; a year may be text), and optionally
`sample_id` and `created_utc`. The conversation is the part of the prompt after the marker. Answers
of several users to one post are samples with one `context_id`, the hash of the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import polars as pl

from convrec.catalog.years import parse_year
from convrec.stages.ingest.assign_ids import assign_sample_ids, assign_splits
from convrec.stages.ingest.chat import parse_text, read_completion, read_prompt
from convrec.stages.ingest.raw_rows import RawRow
from convrec.stages.ingest.sample_buffer import SampleBuffer
from convrec.stages.ingest.samples import (
    BadRowError,
    Sample,
    Title,
    check_unicode,
    checked_row,
    context_id,
    quarantine_raw_row,
    require_row_columns,
)
from convrec.stages.ingest.splits import REDDIT_TIMES, SplitTimes
from convrec.titles.line_format import parse_line
from convrec.titles.normalize import clean_title

REQUIRED_COLUMNS = ("prompt", "seen_titles", "groundtruth_with_release_year")


def read_reddit_rows(
    raw_rows: Callable[[], Iterable[RawRow]],
    where: str,
    buffer: SampleBuffer,
    times: SplitTimes | None = REDDIT_TIMES,
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """(ids of usable samples with their split, quarantine rows), in the order of the files.

    The samples are added to `buffer`. `raw_rows` is called a second time if a sample is rejected
    because of another one, to get its text. With `times`, dates decide on splits. Raises InputError
    if a required column is in no row.
    """
    bad: list[dict[str, Any]] = []
    columns: set[str] = set()
    for raw in raw_rows():
        if isinstance(raw.value, dict) and not columns.issuperset(raw.value):
            columns |= raw.value.keys()
        try:
            buffer.add(_parse_sample(raw))
        except BadRowError as error:
            bad.append(quarantine_raw_row(raw, str(error)))
    require_row_columns(columns, REQUIRED_COLUMNS, where, "the reddit-v2 format needs")
    named, repeated = assign_sample_ids(buffer.ids())
    assigned, misplaced = assign_splits(named, times)
    reasons = {(source, line): reason for source, line, reason in (*repeated, *misplaced)}
    rejected = {
        place: quarantine_raw_row(raw, reasons[place])
        for raw in (raw_rows() if reasons else ())
        if (place := (raw.source, raw.line)) in reasons
    }
    return assigned, bad + [rejected[place] for place in reasons if place in rejected]


def _parse_sample(raw: RawRow) -> Sample:
    row = checked_row(raw, REQUIRED_COLUMNS)
    prompt, seen, truth = map(row.get, REQUIRED_COLUMNS)
    prompt, conversation = read_prompt(prompt)
    if not conversation.removeprefix("USER:").strip():
        raise BadRowError("empty conversation")
    ground_truth = _parse_titles(truth, "groundtruth_with_release_year")
    if not ground_truth:
        raise BadRowError("empty ground truth")
    completion, sample_id = row.get("completion"), row.get("sample_id")
    return Sample(
        raw=raw,
        sample_id=check_unicode(str("" if sample_id is None else sample_id)).strip(),
        context_id=context_id(conversation),
        created_utc=_parse_time(row.get("created_utc")),
        conversation=conversation,
        prompt=prompt,
        seen=_parse_titles(seen, "seen_titles"),
        ground_truth=ground_truth,
        completion=read_completion(completion) if completion else None,
    )


def _parse_titles(value: Any, column: str) -> list[Title]:
    """Titles from text, [title, year] or {"title", "year"}."""
    if isinstance(value, str):  # as a table of text holds it
        value = parse_text(value) if value.strip() else []
    if not isinstance(value, list | tuple):
        raise BadRowError(f"{column} is not a list")
    try:
        return [
            _title_from_text(entry, column)
            if isinstance(entry, str)
            else _title(*_title_and_year(entry), column)
            for entry in value
        ]
    except TypeError:
        raise BadRowError(f"an entry of {column} is no title and year") from None


def _title_and_year(entry: Any) -> tuple[Any, Any]:
    """(title, year), unchecked. Raises TypeError for another form of entry."""
    if isinstance(entry, list | tuple) and 1 <= len(entry) <= 2:
        return entry[0], entry[1] if len(entry) == 2 else None
    if isinstance(entry, dict):
        return entry.get("title"), entry.get("year")
    raise TypeError


@lru_cache(maxsize=65_536)
def _title_from_text(line: str, column: str) -> Title:
    title, year = parse_line(clean_title(line)) or ("", None)
    return _title(title, year, column)


@lru_cache(maxsize=65_536)  # a few thousand titles repeat
def _title(title: Any, year: Any, column: str) -> Title:
    if not isinstance(title, str) or not title.strip():
        raise BadRowError(f"an entry of {column} has no title")
    number, reason = parse_year(year)
    if reason:
        raise BadRowError(f"{column}: {reason}")
    title = clean_title(check_unicode(title))
    if not title.strip():
        raise BadRowError(f"an entry of {column} has no title")
    return {"title": " ".join(title.split()), "year": number}


def _parse_time(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0
    if not 0 < seconds < 1e11:  # false for NaN as well
        raise BadRowError(f"created_utc {str(value)[:40]!r} is not seconds since 1970")
    return int(seconds)

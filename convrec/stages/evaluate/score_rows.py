"""Read rows of lists to score from JSONL, and collect the bad ones with the reason.

A row has `completion` (text, or chat messages of which the last one by the assistant counts),
`seen_titles` (titles, or [title, year] pairs) and `groundtruth_with_release_year` ([title, year]
pairs; the year is a number, a string or null). Rows with the same `context_id` are resampled
together. Other columns are ignored.
"""

from __future__ import annotations

import contextlib
import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from convrec.catalog.years import parse_year
from convrec.errors import InputError
from convrec.metrics.relevance import TitleAndYear
from convrec.metrics.scored_lists import EvaluationProtocol, ListToScore
from convrec.stages.ingest.chat import read_completion
from convrec.stages.ingest.samples import BadRowError
from convrec.titles.line_format import parse_line
from convrec.titles.normalize import clean_title
from convrec.utils.file_content import reject_other_kinds, text_lines

SEEN, GROUND_TRUTH = "seen_titles", "groundtruth_with_release_year"


class BadRow(NamedTuple):
    """A row that cannot be scored: its line in the file, from 1, and the reason."""

    line: int
    reason: str


class ScoreRow(NamedTuple):
    """A usable row: its line in the file, the context to resample it with, and the list."""

    line: int
    context: str
    to_score: ListToScore


def read_score_rows(
    path: Path, protocol: EvaluationProtocol, bad_rows: list[BadRow]
) -> Iterator[ScoreRow]:
    """Yield usable rows; append others to `bad_rows`. Raises InputError for an unreadable file."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; provide a JSONL file with one list per line")
    reject_other_kinds(path, "a JSONL file with one list per line")
    with text_lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield _parse_row(number, line, protocol)
            except ValueError as error:
                bad_rows.append(BadRow(number, str(error)))


def _parse_row(number: int, line: bytes, protocol: EvaluationProtocol) -> ScoreRow:
    """Parse one row. Raises ValueError with the reason if it is bad."""
    try:
        row = json.loads(line.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    missing = [name for name in ("completion", SEEN, GROUND_TRUTH) if name not in row]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}")
    truths = [_parse_pair(x, GROUND_TRUTH, protocol) for x in _list(row, GROUND_TRUTH)]
    if not truths:
        raise ValueError(f"{GROUND_TRUTH} is empty, so there is nothing to find")
    seen = [_parse_seen(x, protocol) for x in _list(row, SEEN)]
    context = row.get("context_id")
    return ScoreRow(
        number,
        f"line {number}" if context is None else f"context {context}",
        ListToScore(_text(row["completion"]), seen, truths),
    )


def _text(completion: Any) -> str:
    if isinstance(completion, str):
        return completion
    messages = [completion] if isinstance(completion, dict) else completion
    if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
        texts = [m.get("content") for m in messages if m.get("role", "assistant") == "assistant"]
        if texts and isinstance(texts[-1], str):
            return texts[-1]
        with contextlib.suppress(BadRowError):
            return read_completion(messages)
    raise ValueError("completion is neither a string nor chat messages with an assistant's text")


def _list(row: dict[str, Any], name: str) -> list[Any]:
    value = row[name]
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return value


def _parse_seen(value: Any, protocol: EvaluationProtocol) -> TitleAndYear:
    """Parse a seen title; the published code compares the unparsed text."""
    if not isinstance(value, str):
        return _parse_pair(value, SEEN, protocol)
    return _parse_title(value) if protocol != "reference" else (value, None)


@lru_cache(maxsize=1 << 16)
def _parse_title(text: str) -> TitleAndYear:
    return parse_line(clean_title(text)) or (text, None)


def _parse_pair(value: Any, name: str, protocol: EvaluationProtocol) -> TitleAndYear:
    """Parse a title and its year; the published code compares the title as it is written."""
    if isinstance(value, dict):
        value = [value.get("title"), value.get("year")]
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        raise ValueError(f"{name} contains {value!r:.60}, which is not a [title, year] pair")
    title, year = value
    title = title if protocol == "reference" else clean_title(title)
    number, problem = parse_year(year)
    if not problem:
        return title, number
    try:
        return title, int(year)  # a year that no title can have, which only matches itself
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} has the year {year!r:.20} for {title!r:.60}, which is not a number"
        ) from None

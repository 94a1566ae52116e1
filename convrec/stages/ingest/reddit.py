"""Reddit-v2 in the authors' processed schema; the demo's generated rows have the same.

A row holds `prompt` and `completion` (chat messages, or text), `seen_titles`,
`groundtruth_with_release_year` ([title, year] pairs; years may be text), and sometimes `sample_id`
and `created_utc`. Answers of several users to one post are samples that share a `context_id`, the
hash of the conversation, which is what follows the marker in the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from convrec.catalog.load import read_year
from convrec.stages.ingest.assign_ids import assign_sample_ids, assign_splits
from convrec.stages.ingest.files import RawRow
from convrec.stages.ingest.samples import (
    BadRowError,
    Sample,
    Title,
    context_id,
    quarantined,
    refuse_lacking,
    usable_row,
    whole_text,
)
from convrec.titles.line_format import parse_line

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.ingest.sample_buffer import SampleBuffer

MARKER = "Here is the conversation:"
NEEDED = ("prompt", "seen_titles", "groundtruth_with_release_year")


def read_rows(
    raws: Callable[[], Iterable[RawRow]], where: str, shelf: SampleBuffer
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """(the ids of usable samples, with their split; quarantine rows), in the order of the files.

    The samples are on the shelf, and the ids are its own. `raws` is asked again where a sample
    turns out unfit among the others, for what its row said.

    Raises InputError where a needed column is in no row at all.
    """
    bad: list[dict[str, Any]] = []
    columns: set[str] = set()
    for raw in raws():
        if isinstance(raw.value, dict) and not columns.issuperset(raw.value):
            columns |= raw.value.keys()
        try:
            shelf.put(_sample(raw))
        except BadRowError as error:
            bad.append(quarantined(raw, str(error)))
    refuse_lacking(columns, NEEDED, where, "the reddit-v2 format needs")
    named, repeated = assign_sample_ids(shelf.ids())
    placed, torn = assign_splits(named)
    reasons = {(source, line): reason for source, line, reason in (*repeated, *torn)}
    said = {
        place: quarantined(raw, reasons[place])
        for raw in (raws() if reasons else ())
        if (place := (raw.source, raw.line)) in reasons
    }
    return placed, bad + [said[place] for place in reasons if place in said]


def _sample(raw: RawRow) -> Sample:
    row = usable_row(raw, NEEDED)
    prompt, seen, truth = map(row.get, NEEDED)
    prompt = _message(prompt, "user")
    conversation = prompt.partition(MARKER)[2].strip() if MARKER in prompt else prompt.strip()
    if not conversation.removeprefix("USER:").strip():
        raise BadRowError("empty conversation")
    ground_truth = _titles(truth, "groundtruth_with_release_year")
    if not ground_truth:
        raise BadRowError("empty ground truth")
    completion, name = row.get("completion"), row.get("sample_id")
    context = context_id(conversation)
    return Sample(
        raw=raw,
        sample_id=whole_text(str("" if name is None else name)).strip(),
        context_id=context,
        group=context,
        created_utc=_time(row.get("created_utc")),
        conversation=conversation,
        prompt=prompt,
        seen=_titles(seen, "seen_titles"),
        ground_truth=ground_truth,
        completion=_message(completion, "assistant") if completion else None,
    )


def _message(value: Any, role: str) -> str:
    """The text of the last message of a role, or the value itself where it is text."""
    if isinstance(value, str):
        return whole_text(value)
    if not isinstance(value, list):
        raise BadRowError(f"the {role} text is neither text nor chat messages")
    text = None
    for message in value:
        if not isinstance(message, dict):
            raise BadRowError(f"the {role} text is neither text nor chat messages")
        if message.get("role") == role:
            text = message.get("content")
    if not isinstance(text, str):
        raise BadRowError(f"no {role} message with text")
    return whole_text(text)


def _titles(value: Any, column: str) -> list[Title]:
    """Titles given as text, [title, year] or {"title", "year"}."""
    if not isinstance(value, list | tuple):
        raise BadRowError(f"{column} is not a list")
    try:
        return [
            _title_of_text(entry, column)
            if isinstance(entry, str)
            else _title(*_pair(entry), column)
            for entry in value
        ]
    except TypeError:
        raise BadRowError(f"an entry of {column} is no title and year") from None


def _pair(entry: Any) -> tuple[Any, Any]:
    """(title, year) as given. Raises TypeError where an entry has another form."""
    if isinstance(entry, list | tuple) and 1 <= len(entry) <= 2:
        return entry[0], entry[1] if len(entry) == 2 else None
    if isinstance(entry, dict):
        return entry.get("title"), entry.get("year")
    raise TypeError


@lru_cache(maxsize=65_536)
def _title_of_text(line: str, column: str) -> Title:
    title, year = parse_line(line) or ("", None)
    return _title(title, year, column)


@lru_cache(maxsize=65_536)
def _title(title: Any, year: Any, column: str) -> Title:
    """A title that can be used; the same few thousand come again and again, so it is kept."""
    if not isinstance(title, str) or not title.strip():
        raise BadRowError(f"an entry of {column} has no title")
    number, reason = read_year(year)
    if reason:
        raise BadRowError(f"{column}: {reason}")
    return {"title": " ".join(whole_text(title).split()), "year": number}


def _time(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRowError(f"created_utc {str(value)[:40]!r} is not seconds since 1970") from None
    if not math.isfinite(seconds) or not 0 < seconds < 1e11:
        raise BadRowError(f"created_utc {str(value)[:40]!r} is not seconds since 1970")
    return int(seconds)

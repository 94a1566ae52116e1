"""Rows of a table whose columns the user names, as rows of the Reddit-v2 schema.

`ingest.conversation_columns` maps roles to column names; a role without an entry is the column of
its own name, if there is one. A cell of titles is a list, JSON, or text with titles between
`ingest.separator`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from convrec.config.sections.data import ConversationColumn
from convrec.errors import InputError
from convrec.stages.ingest.chat import parse_text
from convrec.stages.ingest.raw_rows import RawRow
from convrec.stages.ingest.samples import BadRowError
from convrec.stages.ingest.splits import SPLIT_NAMES

REQUIRED: tuple[ConversationColumn, ...] = ("conversation", "ground_truth")
OPTIONAL: tuple[ConversationColumn, ...] = ("seen", "list", "id", "date", "split")

_MILLISECONDS = 1e11
"""From here on a number is milliseconds since 1970, not seconds."""


class TableReader:
    """Converts the rows of a table with columns named by the user."""

    def __init__(
        self,
        columns: Mapping[str, str],
        separator: str,
        where: str,
        *,
        needs_date: bool = False,
    ) -> None:
        self.names = {role: columns.get(role, role) for role in (*REQUIRED, *OPTIONAL)}
        self.needed = [*REQUIRED, *(role for role in OPTIONAL if role in columns)]
        self.separator, self.where, self.needs_date = separator, where, needs_date

    def convert(self, raw_rows: Iterable[RawRow]) -> Iterator[RawRow]:
        """The rows in the schema of Reddit-v2. Raises InputError if a column is in no row."""
        found: dict[str, str] = {}
        for raw in raw_rows:
            if not isinstance(raw.value, dict):
                yield raw
                continue
            if not found.keys() >= raw.value.keys():
                found |= {name: name.strip().lower() for name in raw.value}
            yield self._convert_row(raw)
        if found:
            self._check_columns(found)

    def _check_columns(self, found: Mapping[str, str]) -> None:
        missing = [
            role for role in self.needed if self.names[role].strip().lower() not in found.values()
        ]
        if missing:
            named = " and ".join(f"{self.names[role]} ({role})" for role in missing)
            raise InputError(
                f"{self.where} has no column {named}; its columns are {', '.join(found)}; set "
                "ingest.conversation_columns to the names in the file"
            )

    def _convert_row(self, raw: RawRow) -> RawRow:
        lower = {name.strip().lower(): value for name, value in raw.value.items()}
        cells = {role: lower.get(name.strip().lower()) for role, name in self.names.items()}
        try:
            missing = [role for role in REQUIRED if _is_empty(cells[role])]
            if missing:
                raise BadRowError(f"no {' and no '.join(self.names[role] for role in missing)}")
            has_split = self.names["split"].strip().lower() in lower
            split = self._split(cells["split"]) if has_split else raw.split
            value = {
                "prompt": cells["conversation"],
                "seen_titles": self.titles(cells["seen"]),
                "groundtruth_with_release_year": self.titles(cells["ground_truth"]),
                "completion": _list_text(cells["list"]),
                "sample_id": cells["id"],
                "created_utc": self._seconds(cells["date"]),
            }
        except BadRowError as error:
            return raw._replace(problem=raw.problem or str(error))
        return raw._replace(value=value, split=split)

    def titles(self, value: Any) -> list[Any]:
        """The titles of a cell."""
        if _is_empty(value):
            return []
        if isinstance(value, str):
            parsed = parse_text(value) if value.lstrip().startswith("[") else None
            if not isinstance(parsed, list):
                parsed = value.split(self.separator)
            value = [part for part in parsed if not _is_empty(part)]
        return list(value) if isinstance(value, list | tuple) else [str(value)]

    def _split(self, value: Any) -> str:
        if _is_empty(value):
            raise BadRowError(f"no {self.names['split']}")
        if split := SPLIT_NAMES.get(str(value).strip().lower()):
            return split
        raise BadRowError(
            f"{self.names['split']} {str(value)[:40]!r} is not train, validation or test"
        )

    def _seconds(self, value: Any) -> float | None:
        """Seconds since 1970 of a date, a time or a number."""
        if _is_empty(value):
            if self.needs_date:
                raise BadRowError(f"no {self.names['date']}")
            return None
        try:
            return seconds_since_1970(value)
        except (ValueError, OverflowError):
            raise BadRowError(
                f"{self.names['date']} {str(value)[:40]!r} is neither a date such as 2024-05-31 "
                "nor seconds since 1970"
            ) from None


def seconds_since_1970(value: Any) -> float:
    """Seconds since 1970 of a date, a time, their ISO text, or a number. Raises ValueError.

    A time without a zone is in UTC. Numbers from 10¹¹ on are milliseconds.
    """
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if text.replace(".", "", 1).isdigit() else datetime.fromisoformat(text)
    if isinstance(value, date):
        time = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    number = float(value) if isinstance(value, int | float) else float("nan")
    if not number > 0:
        raise ValueError(value)
    return number / 1000 if number >= _MILLISECONDS else number


def _list_text(value: Any) -> Any:
    """A recommended list as text, one title a line; chat messages as they are."""
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value


def _is_empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())

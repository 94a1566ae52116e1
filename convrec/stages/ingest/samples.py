"""The samples that readers make from raw rows, and rows that cannot be used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from convrec.catalog.rows import quarantine_row
from convrec.errors import InputError
from convrec.stages.ingest.raw_rows import RawRow

TURN_START = r"\s*(?:user|seeker|human|system|recommender|assistant)\s*:"
"""Pattern of a speaker, without regard to case, at the beginning of a turn."""

_LATER_TURN = re.compile(rf"\n{TURN_START}", re.IGNORECASE)

Title = dict[str, Any]
"""{"title": text, "year": number or None}"""


class BadRowError(Exception):
    """A row cannot be used; the message is the reason in the quarantine."""


class Sample(NamedTuple):
    """A usable row."""

    raw: RawRow
    sample_id: str
    context_id: str
    created_utc: int | None
    conversation: str
    prompt: str | None
    seen: list[Title]
    ground_truth: list[Title]
    completion: str | None


def thread_id(conversation: str) -> str:
    """The context id of a conversation's first turn, which its continuations share.

    Turns begin with their speaker, as in "USER: ..." and "SYSTEM: ...", on a line of their own.
    """
    later = _LATER_TURN.search(conversation)
    return context_id(conversation[: later.start()].strip() if later else conversation)


def is_continuation(conversation: str) -> bool:
    """Whether a conversation has several turns."""
    return _LATER_TURN.search(conversation) is not None


def context_id(conversation: str) -> str:
    """The first 16 hex digits of the SHA-256 of a conversation."""
    return hashlib.sha256(conversation.encode()).hexdigest()[:16]


def check_unicode(text: str) -> str:
    """Returns the text. Raises BadRowError if it has a lone surrogate, which cannot be stored."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise BadRowError("text that is not valid Unicode") from None
    return text


def checked_row(raw: RawRow, required: Sequence[str]) -> dict[str, Any]:
    """The object in a raw row. Raises BadRowError if a required column has no value."""
    row = raw.value
    if raw.problem:
        raise BadRowError(raw.problem)
    if not isinstance(row, dict):
        raise BadRowError("not a JSON object")
    missing = [name for name in required if row.get(name) is None]
    if missing:
        raise BadRowError(f"no {' and no '.join(missing)}")
    return row


def require_row_columns(
    columns: set[str], required: Sequence[str], where: str, subject: str
) -> None:
    """Raise InputError if there are columns and a required column is in no row at all."""
    missing = [name for name in required if name not in columns]
    if missing and columns:
        raise InputError(
            f"{where} has no column {' and no column '.join(missing)} (its columns: "
            f"{', '.join(sorted(columns))}); {subject} {', '.join(required)}"
        )


def quarantine_raw_row(raw: RawRow, reason: str) -> dict[str, Any]:
    """The quarantine row of a raw row."""
    text = raw.text or ("" if raw.value is None else repr(raw.value))
    return quarantine_row(raw.source, raw.line, reason, text)


SPLIT_RULE = (
    "the posts until 2022-10 if rows have created_utc, else it follows file names or a hash"
)
"""Which rows the train split has."""


def select_samples(
    samples: pl.DataFrame,
    bad: list[dict[str, Any]],
    limit: int,
    where: str,
    split_rule: str = SPLIT_RULE,
) -> pl.DataFrame:
    """The samples (with columns context_id and split) of the first `limit` contexts per split.

    A limit of 0 keeps all. Raises InputError if the train split is empty.
    """
    splits = samples["split"].unique().sort()
    if "train" not in splits:
        first = f"; {bad[0]['source']} line {bad[0]['line']}: {bad[0]['reason']}" if bad else ""
        raise InputError(
            f"{where} has no usable row in the train split (usable splits: "
            f"{', '.join(splits) or 'none'}, rows in quarantine: {len(bad)}{first}); the train "
            f"split has {split_rule}",
            rows=[(f"{row['source']} line {row['line']}", row["reason"]) for row in bad],
        )
    if not limit:
        return samples
    contexts = samples.select("split", "context_id").unique(maintain_order=True)
    return samples.join(
        contexts.group_by("split", maintain_order=True).head(limit),
        on=["split", "context_id"],
        how="semi",
        maintain_order="left",
    )


def sample_row(sample: Sample, split: str) -> dict[str, Any]:
    """The row of a sample in the artifact kind `conversations`."""
    row = sample._asdict()
    del row["raw"]
    return {**row, "split": split}

"""What every reader makes of its rows: samples, and rows that cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.catalog.load import bad_row
from convrec.errors import InputError
from convrec.stages.ingest.files import RawRow

if TYPE_CHECKING:
    import polars as pl

Title = dict[str, Any]
"""{"title": text, "year": number or None}"""


class BadRowError(Exception):
    """A row that cannot be used; the message is the reason that the quarantine shows."""


class Sample(NamedTuple):
    """One usable row; `group` is what no split may tear apart."""

    raw: RawRow
    sample_id: str
    context_id: str
    group: str
    created_utc: int | None
    conversation: str
    prompt: str | None
    seen: list[Title]
    ground_truth: list[Title]
    completion: str | None


def context_id(conversation: str) -> str:
    """16 hex digits of the SHA-256 of a conversation."""
    return hashlib.sha256(conversation.encode()).hexdigest()[:16]


def whole_text(text: str) -> str:
    """The text itself. Raises BadRowError where half a character makes it unfit to store."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise BadRowError("text that is not valid Unicode") from None
    return text


def usable_row(raw: RawRow, needed: Sequence[str]) -> dict[str, Any]:
    """The object in a raw row, which has a value for each needed column. Raises BadRowError."""
    row = raw.value
    if raw.problem:
        raise BadRowError(raw.problem)
    if not isinstance(row, dict):
        raise BadRowError("not a JSON object")
    missing = [name for name in needed if row.get(name) is None]
    if missing:
        raise BadRowError(f"no {' and no '.join(missing)}")
    return row


def refuse_lacking(columns: set[str], needed: Sequence[str], where: str, what: str) -> None:
    """Raise InputError where rows have columns and a needed one is in no row at all."""
    missing = [name for name in needed if name not in columns]
    if missing and columns:
        raise InputError(
            f"{where} has no column {' and no column '.join(missing)} (it has "
            f"{', '.join(sorted(columns))}); {what} {', '.join(needed)}"
        )


def quarantined(raw: RawRow, reason: str) -> dict[str, Any]:
    """The quarantine row of a raw row."""
    text = raw.text or ("" if raw.value is None else repr(raw.value))
    return bad_row(raw.source, raw.line, reason, text)


def usable(
    samples: pl.DataFrame, bad: list[dict[str, Any]], limit: int, where: str
) -> pl.DataFrame:
    """The samples (with columns context_id and split) that a run takes.

    `limit` keeps the first contexts of each split, 0 keeps all. Raises InputError where nothing is
    left to train on.
    """

    splits = samples["split"].unique().sort()
    if "train" not in splits:
        first = f"; {bad[0]['source']} line {bad[0]['line']}: {bad[0]['reason']}" if bad else ""
        raise InputError(
            f"{where} has no usable row in the train split (usable splits: "
            f"{', '.join(splits) or 'none'}, rows in "
            f"quarantine: {len(bad)}{first}); train holds posts up to 2022-10 where rows have "
            "created_utc, else what the files' names or a hash say",
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
    """The row of a sample in `conversations`."""
    return {
        "sample_id": sample.sample_id,
        "context_id": sample.context_id,
        "split": split,
        "created_utc": sample.created_utc,
        "conversation": sample.conversation,
        "prompt": sample.prompt,
        "seen": sample.seen,
        "ground_truth": sample.ground_truth,
        "completion": sample.completion,
    }

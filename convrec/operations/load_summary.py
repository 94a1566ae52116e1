"""What ingest read, kept and set aside, and how the ground truth fits the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.record import ArtifactRecord
from convrec.stages.ingest.splits import SPLITS
from convrec.titles.aliases import with_catalog_titles
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import format_line

MAX_REASONS = 5
MAX_TITLES = 5
SHORT, LONG = 48, 72
"""Characters of a cell of the preview."""


@dataclass(frozen=True)
class Coverage:
    """How many different titles of the ground truth the catalog has, and the others by number."""

    found: int
    titles: int
    missing: list[tuple[str, int]]


def reason_counts(quarantine: pl.DataFrame) -> list[tuple[str, int]]:
    """Reasons of set-aside rows and how many rows have each, the most frequent first.

    Reasons that differ in quoted text and numbers count as one.
    """
    counts = (
        quarantine.select(_kind())["reason"]
        .value_counts()
        .sort("count", "reason", descending=[True, False])
    )
    return [(str(reason), int(count)) for reason, count in counts.iter_rows()]


def summary_lines(store: Store, ids: Mapping[str, str]) -> list[str]:
    """What was read, kept and set aside by reason; `ids` maps the kinds of ingest to artifacts."""
    catalog, conversations = (store.header(ids[kind]) for kind in ("catalog", "conversations"))
    quarantine = store.read(ids["quarantine"])
    of_catalog = int(catalog.figures.get("quarantined", 0))  # they come first
    posts = (f"{conversations.figures.get(f'contexts_{split}', 0):,} {split}" for split in SPLITS)
    of_conversations = quarantine.slice(of_catalog)
    return [
        f"conversations: {_counts(conversations, of_conversations.height)}; different ones: "
        f"{', '.join(posts)}",
        *_reason_lines(of_conversations),
        f"catalog: {_counts(catalog, of_catalog)}",
        *_reason_lines(quarantine.head(of_catalog)),
    ]


def _counts(kept: ArtifactRecord, bad: int) -> str:
    aside = f", {bad:,} set aside" if bad else ""
    return f"{kept.ref.rows + bad:,} rows read{aside}, {kept.ref.rows:,} kept"


def reason_examples(bad: pl.DataFrame) -> list[tuple[str, int, int]]:
    """(reason, rows that have it, line of the first), the most frequent first.

    A reason that a single row has is in full; others are without what differs from row to row.
    """
    examples = []
    for kind, count in reason_counts(bad):
        reason, line = bad.filter(_kind() == kind).select("reason", "line").row(0)
        examples.append((reason if count == 1 else kind, count, line))
    return examples


def _reason_lines(bad: pl.DataFrame) -> list[str]:
    """The most frequent reasons, each with its first line."""
    lines = []
    examples = reason_examples(bad)
    for reason, count, line in examples[:MAX_REASONS]:
        where = f"line {line}" if count == 1 else f"first in line {line}"
        lines.append(f"  {count:,} × {reason} ({where})")
    if others := sum(count for _, count, _ in examples[MAX_REASONS:]):
        lines.append(f"  {others:,} more")
    return lines


def _kind() -> pl.Expr:
    """The reason without what differs from row to row."""
    return pl.col("reason").str.replace_all(r"'[^']*'|\d+", "…")


def ground_truth_coverage(catalog: pl.DataFrame, conversations: pl.DataFrame) -> Coverage:
    """Which titles of the ground truth the catalog has, as titles or aliases."""
    index = TitleIndex(catalog.select("item_id", "title", "year").iter_rows())
    conversations = with_catalog_titles(conversations, catalog)
    counts: Counter[tuple[str, int | None]] = Counter()
    for titles in conversations["ground_truth"].to_list():
        counts.update((title["title"], title["year"]) for title in titles)
    missing = [(title, n) for title, n in counts.most_common() if index.find(*title) is None]
    shown = [(format_line(*title), n) for title, n in missing[:MAX_TITLES]]
    return Coverage(len(counts) - len(missing), len(counts), shown)


def coverage_lines(coverage: Coverage) -> list[str]:
    """A sentence about the ground truth, and what the catalog lacks."""
    lines = [f"ground truth: {coverage.found:,} of {coverage.titles:,} titles are in the catalog"]
    if coverage.missing:
        named = ", ".join(f"{title} ({count})" for title, count in coverage.missing)
        lines.append(f"  not in the catalog, most often: {named}")
        lines.append("  no list can name them; add them, or their spelling as an alias")
    return lines


def preview_rows(conversations: pl.DataFrame, count: int = 5) -> list[tuple[str, str, str, str]]:
    """(split, conversation, ground truth, seen) of the first rows, cut to one line each."""
    return [
        (
            row["split"],
            _cut(row["conversation"], LONG),
            _cut("; ".join(format_line(**title) for title in row["ground_truth"]), SHORT),
            _cut("; ".join(format_line(**title) for title in row["seen"]), SHORT),
        )
        for row in conversations.head(count).iter_rows(named=True)
    ]


def _cut(text: str, size: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= size else f"{line[: size - 1]}…"

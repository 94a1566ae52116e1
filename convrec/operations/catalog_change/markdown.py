"""The plan and the report of a catalog change as markdown, for the Prefect UI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from convrec.utils import markdown

if TYPE_CHECKING:
    import polars as pl

    from convrec.operations.catalog_change.plan import ChangePlan
    from convrec.operations.catalog_change.report import ChangeReport
    from convrec.titles.line_format import LineFormat

SHOWN_ITEMS = 50
SHOWN_LISTS = 200
SHOWN_WHOLE = 10
LONGEST = 160
"""Signs of a cell."""

_SAFE = re.compile(r"[\w./@+-]+")
_RANKING = re.compile(r"NDCG|Recall")
_WHEN = re.compile(r" (before|after)$")
_HARMLESS = re.compile(r"\\([(),'!?:.%@;+-])")


def plan_page(plan: ChangePlan, title: str, form: LineFormat) -> str:
    """What changes, what it touches, and what it costs."""
    low, high = plan.usd
    rows: list[Sequence[object]] = [
        (role, f["requests"], f["prompt_tokens"], f["completion_tokens"], _usd(f))
        for role, f in plan.llm.items()
    ]
    touched = "not known before the teacher has answered"
    if plan.touched is not None:
        touched = f"{plan.touched:,} of {plan.contexts:,}"
    return "\n\n".join(
        [
            f"## Plan: {_plain(title)}",
            f"{plan.requests:,} requests, {low:.4f} to {high:.4f} USD; contexts whose candidates "
            f"change: {touched}.",
            "### Requests that will be sent",
            _numbers(("to", "requests", "prompt tokens", "completion tokens", "USD"), rows),
            *_catalog_part(plan, form),
            "### Stages",
            _table(
                ("stage", "artifact", "state"),
                [(e["stage"], e["kind"], e["state"].replace("_", " ")) for e in plan.stages],
            ),
        ]
    )


def _catalog_part(plan: ChangePlan, form: LineFormat) -> list[str]:
    if plan.diff is None:
        return [
            f"### Catalog\n\n{plan.items:,} items. This profile was not built before with these "
            "settings, so there is nothing to compare with and all of it is made."
        ]
    frames = plan.diff.frames
    parts = [
        "### Catalog since the last build",
        ", ".join(f"{frame.height:,} {name}" for name, frame in frames.items())
        + f"; {plan.items:,} items now.",
    ]
    for name, frame in frames.items():
        if frame.height:
            parts += [f"#### {name.capitalize()}", _items(frame, form)]
    return parts


def _items(frame: pl.DataFrame, form: LineFormat) -> str:
    rows = []
    for row in frame.head(SHOWN_ITEMS).iter_rows(named=True):
        line = form.format(row["title"], row["year"])
        if "old_title" in row:
            rows.append((line, f"was {form.format(row['old_title'], row['old_year'])}"))
        else:
            rows.append((line, ", ".join(row.get("fields") or ())))
    more = frame.height - len(rows)
    table = _table(("item", ""), rows)
    return f"{table}\n\nand {more:,} more" if more else table


def report_page(report: ChangeReport, title: str, lines_at: str) -> str:
    """What the rebuild changed; `lines_at` is the file with every line of every changed list."""
    count, same = report.changed.height, report.total - report.changed.height
    parts = [
        f"## Changes: {_plain(title)}",
        f"{count:,} of {report.total:,} demonstrations changed, {report.reordered:,} of them in "
        f"their order alone; {same:,} are the same. From `{report.old_id}` to `{report.new_id}`.",
        "### Measures",
        _measures(report),
        "### By item",
        _by_item(report),
    ]
    if count:
        parts += [
            "### Changed demonstrations",
            _changed(report),
            *_whole(report),
            f"Every line of every changed demonstration: {_name(lines_at)}",
        ]
    return "\n\n".join(parts)


def _measures(report: ChangeReport) -> str:
    """Both sets' figures, how they rank first; each set has some from before and after adjust."""
    rows = []
    for name, before, after in sorted(report.measures, key=lambda m: not _RANKING.search(m[0])):
        both = isinstance(before, int | float) and isinstance(after, int | float)
        difference = f"{after - before:+.4g}" if both and before != after else ""
        said = _WHEN.sub(r", \1 adjust", name)
        rows.append((said, _cell(before), _cell(after), difference))
    return _numbers(("measure", "last build", "this build", "difference"), rows)


def _by_item(report: ChangeReport) -> str:
    """Items by how many lists they entered and left."""
    import polars as pl

    rows = pl.concat(
        report.changed.select(pl.col(name).alias("item"))
        .explode("item")
        .drop_nulls()
        .with_columns(pl.lit(name).alias("how"))
        for name in ("entered", "left")
    )
    if rows.is_empty():
        return "No item entered or left a list."
    counted = (
        rows.group_by("item")
        .agg(
            (pl.col("how") == "entered").sum().alias("entered"),
            (pl.col("how") == "left").sum().alias("left"),
        )
        .sort(pl.col("entered") + pl.col("left"), "item", descending=[True, False])
    )
    more = counted.height - SHOWN_ITEMS
    table = _numbers(("item", "lists entered", "lists left"), counted.head(SHOWN_ITEMS).rows())
    return f"{table}\n\nand {more:,} more items" if more > 0 else table


def _changed(report: ChangeReport) -> str:
    rows = [
        (_owner(row), row["split"], "; ".join(row["entered"]), "; ".join(row["left"]), row["moved"])
        for row in report.changed.head(SHOWN_LISTS).iter_rows(named=True)
    ]
    more = report.changed.height - len(rows)
    table = _table(("demonstration", "split", "entered", "left", "moved"), rows)
    return f"{table}\n\nand {more:,} more" if more else table


def _whole(report: ChangeReport) -> list[str]:
    """The demonstrations that changed most, line by line."""
    parts = ["### Before and after, of those that changed most"]
    chosen = report.changed.head(SHOWN_WHOLE)
    for row in chosen.iter_rows(named=True):
        own = report.lines.filter(
            report.lines["context_id"].eq_missing(row["context_id"])
            & report.lines["sample_id"].eq_missing(row["sample_id"])
        )
        ranks = own.select("item", "rank_before", "rank_after").rows()
        cells = [(item, _rank(before), _rank(after)) for item, before, after in ranks]
        parts += [
            f"#### {_owner(row)}",
            _table(("line", "rank before", "rank after"), cells),
        ]
    return parts


def _owner(row: dict[str, Any]) -> _Markdown:
    sample = f" / {_name(row['sample_id'])}" if row["sample_id"] else ""
    return _Markdown(_name(row["context_id"]) + sample)


def _rank(rank: int | None) -> str:
    return "–" if rank is None else str(rank)


def _cell(value: object) -> object:
    return "" if value is None else value


def _usd(figures: dict[str, Any]) -> str:
    return f"{figures['usd_low']:.4f} to {figures['usd_high']:.4f}"


def _numbers(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return _table(columns, [[f"{c:,}" if isinstance(c, int) else c for c in r] for r in rows])


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; a cell that is a `Markdown` stands as it is."""
    lines = [[c if isinstance(c, _Markdown) else _plain(c) for c in row] for row in rows]
    head = f"| {' | '.join(columns)} |"
    return "\n".join([head, "|---" * len(columns) + "|", *(f"| {' | '.join(x)} |" for x in lines)])


class _Markdown(str):
    """Text that is safe markdown already."""

    __slots__ = ()


def _name(value: object) -> _Markdown:
    """An id or a path as code, so that it can be searched for; escaped where it cannot be that."""
    name = str(value)
    return _Markdown(f"`{name}`" if _SAFE.fullmatch(name) else markdown.text(name, LONGEST))


def _plain(value: object) -> str:
    """Text as `markdown.text` has it, without backslashes before signs that do nothing here."""
    escaped = markdown.text(value, LONGEST)
    return escaped if "www" in escaped.lower() else _HARMLESS.sub(r"\1", escaped)

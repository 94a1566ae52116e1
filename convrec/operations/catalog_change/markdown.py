"""Renders the plan and the report of a catalog change as markdown for the Prefect UI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import median

import polars as pl

from convrec.operations.catalog_change.fit_age import FitAge
from convrec.operations.catalog_change.ground_truth import LostGroundTruths
from convrec.operations.catalog_change.plan import ChangePlan
from convrec.operations.catalog_change.report import ChangeReport
from convrec.pipeline.cost import most_requests, requests_text
from convrec.titles.line_format import LineFormat
from convrec.utils import markdown

FIRST_ITEMS, MAX_ITEMS = 8, 50
"""Items on a report's first screen, and in a table."""

MAX_CELL_CHARACTERS = 160

RETRAIN_SHARE = 0.05
"""Share of new lines to train on from which the report advises a training."""

_SAFE_IN_CODE = re.compile(r"[\w./@+-]+")
_RANKING_METRIC = re.compile(r"NDCG|Recall")
_BEFORE_OR_AFTER = re.compile(r" (before|after)$")
_NEEDLESS_ESCAPE = re.compile(r"\\([(),'!?:.%@;+-])")


class _Markdown(str):
    """Text that is already markdown."""

    __slots__ = ()


def render_plan(plan: ChangePlan, title: str, form: LineFormat) -> str:
    """The catalog's changes, the affected contexts, and the cost."""
    low, high = plan.usd
    rows = [
        (
            role,
            requests_text(figures["requests"], most_requests(figures)),
            *(figures[name] for name in ("prompt_tokens", "completion_tokens")),
            f"{figures['usd_low']:.4f} to {figures['usd_high']:.4f}",
        )
        for role, figures in plan.llm.items()
    ]
    affected = "unknown until the teacher has answered"
    if plan.affected_contexts is not None:
        affected = f"{plan.affected_contexts:,} of {plan.contexts:,}"
    return "\n\n".join(
        [
            f"## Plan: {_escape(title)}",
            f"{plan.requests} requests, {low:.4f} to {high:.4f} USD; contexts whose candidates "
            f"change: {affected}.",
            "### Requests to send",
            _number_table(("to", "requests", "prompt tokens", "completion tokens", "USD"), rows),
            *_catalog_section(plan, form),
            "### Stages",
            _table(
                ("stage", "artifact", "state"),
                [(e["stage"], e["kind"], e["state"].replace("_", " ")) for e in plan.stages],
            ),
        ]
    )


def render_report(
    report: ChangeReport,
    title: str,
    lines_path: str,
    form: LineFormat,
    fit: FitAge | None = None,
    truths: LostGroundTruths | None = None,
) -> str:
    """The effect of the rebuild. `lines_path` has every line of every changed demonstration.

    The first screen says what to do, how many lists changed, and because of which items. Figures
    and further items follow. The changed demonstrations are in a table artifact and in the file.
    """
    return "\n\n".join(
        [
            f"## Changes: {_escape(title)}",
            *headlines(report, fit, truths),
            *_edits(report, form, FIRST_ITEMS),
            *_details(report, fit),
            "### Figures that changed",
            _figure_table(report),
            *(_edits(report, form, MAX_ITEMS) if report.edits.height > FIRST_ITEMS else ()),
            *_other_items(report, form),
            *_rest(report, lines_path),
        ]
    )


def headlines(
    report: ChangeReport, fit: FitAge | None = None, truths: LostGroundTruths | None = None
) -> list[str]:
    """What to do and what changed: a sentence, and a list of others."""
    others = (*_lists(report), *_ground_truth(truths), *_fit(fit))
    return [_training(report), "\n".join(f"- {line}" for line in others)]


def _training(report: ChangeReport) -> str:
    """Whether to train again."""
    new, lines = report.new_train_lines, report.train_lines
    share = new / lines if lines else 0.0
    advice = (
        "**Train again soon**"
        if share >= RETRAIN_SHARE
        else "**No training is due**, unless added items should be recommended"
    )
    return (
        f"{advice}: {share:.1%} of the lines to train on are new ({new:,} of {lines:,}; rule of "
        f"thumb: from {RETRAIN_SHARE:.0%})."
    )


def _fit(fit: FitAge | None) -> list[str]:
    """Whether to fit w and b again."""
    if fit is None:
        return []
    due = "A new fit of Adjust is due" if fit.is_due else "No new fit of Adjust is due"
    return [f"**{due}**: {fit.unfitted:,} of {fit.items:,} items have no w and b yet."]


def _lists(report: ChangeReport) -> list[str]:
    """How many lists changed, and why."""
    count = report.changed.height
    text = f"**{count:,} of {report.total:,} lists changed**"
    if not count:
        return [f"{text}."]
    reasons = []
    if not report.edits.is_empty():
        reasons.append(f"{report.explained:,} name an edited item, before or now")
    if others := count - report.explained:
        reasons.append(
            f"in {others:,}, a title of the teacher is linked otherwise, or w and b were fitted "
            "again"
        )
    return [f"{text}: {'; '.join(reasons)}."]


def _ground_truth(truths: LostGroundTruths | None) -> list[str]:
    """How many ground truths are out of reach."""
    if truths is None:
        return []
    lost, part = truths.lost, truths.reduced - truths.lost
    of_all = f"of {truths.samples:,} samples of validation and test"
    if not truths.reduced:
        return [f"**No ground truth is out of reach**, {of_all}."]
    text = (
        f"**{lost:,} {of_all} have no ground truth within reach now**; {part:,} more lose a part"
        if lost
        else f"**No sample loses its whole ground truth**; {part:,} {of_all} lose a part"
    )
    return [
        f"{text}. The items are gone or have another title. Metrics fall by that, although no list "
        "is worse."
    ]


def _details(report: ChangeReport, fit: FitAge | None) -> list[str]:
    """How lists changed, how far lines moved, and how well w and b still suit the catalog."""
    kinds = [f"{number:,} {kind}" for kind, number in report.kinds.items() if number]
    text = f"Of the changed lists, {', '.join(kinds)}. " if kinds else ""
    if moves := report.moves:
        middle = median(moves)
        text += (
            f"{len(moves):,} lines moved within their list, by {middle:.0f} "
            f"{'rank' if middle == 1 else 'ranks'} in the median and {max(moves)} at most. "
        )
    if fit:
        gain = "" if fit.gain is None else f", and change NDCG@20 on validation by {fit.gain:+.4f}"
        text += (
            f"w and b are from {fit.fitted_at:%Y-%m-%d}, learned from {fit.samples:,} samples"
            f"{gain}; `--refresh adjust` fits them again, which moves most lists a little. "
        )
    text += "`convrec recommend` leaves removed items out as soon as it gets the new catalog."
    return ["### Details", text]


def _edits(report: ChangeReport, form: LineFormat, most: int) -> list[str]:
    """The `most` edited items that change most lists."""
    if report.edits.is_empty():
        return []
    rows = []
    for edit in report.edits.head(most).iter_rows(named=True):
        change = edit["change"]
        if edit["old_title"] is not None:
            change = f"{change}, was {form.format(edit['old_title'], edit['old_year'])}"
        line = form.format(edit["title"], edit["year"])
        lists = f"{edit['before']:,} → {edit['after']:,}"
        rows.append((line, change, lists, edit["changed"]))
    table = _number_table(("item", "edit", "lists with it", "changed lists"), rows)
    title = "Edited items" if most == FIRST_ITEMS else "All edited items"
    counts = ", ".join(
        f"{report.edits['change'].eq(change).sum():,} {change}"
        for change in report.edits["change"].unique().sort()
    )
    return [f"### {title}: {counts}", _with_rest(table, report.edits.height - most, " items")]


def _catalog_section(plan: ChangePlan, form: LineFormat) -> list[str]:
    if plan.diff is None:
        return [
            f"### Catalog\n\n{plan.items:,} items. This profile was not built before with these "
            "settings, so there is nothing to compare with and everything is built."
        ]
    frames = plan.diff.by_change
    counts = ", ".join(f"{frame.height:,} {name}" for name, frame in frames.items())
    parts = ["### Catalog since the last build", f"{counts}; {plan.items:,} items now."]
    for name, frame in frames.items():
        if frame.height:
            parts += [f"#### {name.capitalize()}", _changed_items(frame, form)]
    return parts


def _changed_items(frame: pl.DataFrame, form: LineFormat) -> str:
    rows = []
    for row in frame.head(MAX_ITEMS).iter_rows(named=True):
        line = form.format(row["title"], row["year"])
        if "old_title" in row:
            rows.append((line, f"was {form.format(row['old_title'], row['old_year'])}"))
        else:
            rows.append((line, ", ".join(row.get("fields") or ())))
    return _with_rest(_table(("item", ""), rows), frame.height - len(rows))


def _figure_table(report: ChangeReport) -> str:
    """The figures that differ between the two builds, ranking metrics first."""
    rows = []
    differing = [figure for figure in report.figures if figure[1] != figure[2]]
    for name, before, after in sorted(differing, key=lambda f: not _RANKING_METRIC.search(f[0])):
        are_numbers = isinstance(before, int | float) and isinstance(after, int | float)
        difference = f"{after - before:+.4g}" if are_numbers else ""
        label = _BEFORE_OR_AFTER.sub(r", \1 adjust", name)
        values = ("–" if value is None else value for value in (before, after))
        rows.append((label, *values, difference))
    if not rows:
        return "None."
    table = _number_table(("figure", "last build", "this build", "difference"), rows)
    same = len(report.figures) - len(rows)
    return f"{table}\n\n{same:,} others are the same." if same else table


def _other_items(report: ChangeReport, form: LineFormat) -> list[str]:
    """The items that were not edited and entered or left most lists."""
    edited = {
        line
        for edit in report.edits.iter_rows(named=True)
        for title, year in (("title", "year"), ("old_title", "old_year"))
        if edit[title] is not None
        for line in (edit[title], form.format(edit[title], edit[year]))
    }
    rows = pl.concat(
        report.changed.select(item=name, entered=pl.lit(name == "entered")).explode("item")
        for name in ("entered", "left")
    ).drop_nulls("item")
    counts = (
        rows.filter(~pl.col("item").is_in(list(edited)))
        .group_by("item")
        .agg(pl.col("entered").sum(), left=(~pl.col("entered")).sum())
        .sort(pl.col("entered") + pl.col("left"), "item", descending=[True, False])
    )
    if counts.is_empty():
        return []
    columns = ("item", "lists entered", "lists left")
    table = _number_table(columns, counts.head(FIRST_ITEMS).rows())
    rest = _with_rest(table, counts.height - FIRST_ITEMS, " items")
    return ["### Other items that entered or left most lists", rest]


def _rest(report: ChangeReport, lines_path: str) -> list[str]:
    """Where the changed demonstrations are."""
    compared = f"Compared: `{report.old_id}` and `{report.new_id}`."
    if report.changed.is_empty():
        return [compared]
    return [
        "### Changed lists",
        "The artifact `changed-demonstrations` of this run lists them, with what entered and left "
        f"each. {_code(lines_path)} has each of their lines with its rank before and now. "
        f"{compared}",
    ]


def _with_rest(table: str, rest: int, noun: str = "") -> str:
    return f"{table}\n\nand {rest:,} more{noun}" if rest > 0 else table


def _number_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return _table(columns, [[f"{c:,}" if isinstance(c, int) else c for c in r] for r in rows])


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; cells are escaped unless they are `_Markdown`."""
    cells = [[c if isinstance(c, _Markdown) else _escape(c) for c in row] for row in rows]
    return markdown.markdown_table(columns, cells)


def _code(value: object) -> _Markdown:
    """An id or a path as code, or escaped if it cannot be code."""
    text = str(value)
    is_safe = _SAFE_IN_CODE.fullmatch(text)
    return _Markdown(f"`{text}`" if is_safe else markdown.escape(text, MAX_CELL_CHARACTERS))


def _escape(value: object) -> str:
    """Escaped text, without the backslashes that have no effect in these tables."""
    escaped = markdown.escape(value, MAX_CELL_CHARACTERS)
    return escaped if "www" in escaped.lower() else _NEEDLESS_ESCAPE.sub(r"\1", escaped)

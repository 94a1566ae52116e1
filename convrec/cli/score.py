"""`convrec score`: metrics of the lists of any system; `convrec compare`: of several runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, console, open_store, write_json
from convrec.errors import InputError

if TYPE_CHECKING:
    from convrec.stages.evaluate.score_file import Score

_MAX_REASONS = 20


class ProtocolName(StrEnum):
    """How lists are matched with the ground truth."""

    standard = "standard"
    reference = "reference"
    per_label = "per-label"


def score(
    lists: Annotated[Path, typer.Argument(help="JSONL file with one list per row.")],
    catalog: Annotated[Path, typer.Option(help="Catalog, CSV or Parquet with title and year.")],
    protocol: Annotated[
        ProtocolName,
        typer.Option(
            help="standard: positions as generated. reference: as in the published Rank-GRPO code. "
            "per-label: each (turn, item) pair once, as in CIKM'23."
        ),
    ] = ProtocolName.standard,
    per_list: Annotated[
        Path | None,
        typer.Option(help="Write a JSON row with metrics and both rewards for each list."),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            help="Profile with the line format and the catalog columns; default: Title (year)."
        ),
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Score recommended lists against a catalog.

    A row has `completion` (text or chat messages), `seen_titles` and
    `groundtruth_with_release_year`; other columns are ignored. Bad rows are reported and skipped.
    """
    from convrec.config import load
    from convrec.stages.evaluate.score_file import score_file

    config = load(profile) if profile else None
    with _row_counter() as count_rows:
        result = score_file(
            lists,
            catalog,
            protocol=protocol.value,
            config=config,
            per_list=per_list,
            progress=count_rows,
        )
    if result.bad_catalog_rows:
        typer.echo(
            f"{result.bad_catalog_rows} rows of {catalog} skipped; "
            "`convrec catalog check` lists them",
            err=True,
        )
    _report_bad_rows(result)
    if result.marked_lines:
        typer.echo(
            f"note: {result.marked_lines:,} lines, such as {result.marked_example!r}, name items "
            "of the catalog but for a number or bullet, which counts as part of the title; remove "
            "it from the lists to have them scored",
            err=True,
        )
    if not write_json(_score_json(result), json_file):
        _print_table(result)


@contextmanager
def _row_counter() -> Iterator[Callable[[int], None]]:
    """Yield a callback for the number of rows read so far; it is shown on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("scored to row {task.completed}"), TimeElapsedColumn())
    stderr = Console(stderr=True)
    # Without a terminal, an enabled progress bar prints an empty line.
    disable = not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=disable) as bar:
        task = bar.add_task("score", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def _report_bad_rows(result: Score) -> None:
    for bad in result.bad_rows[:_MAX_REASONS]:
        typer.echo(f"row {bad.line} skipped: {bad.reason}", err=True)
    if len(result.bad_rows) > _MAX_REASONS:
        typer.echo(f"... and {len(result.bad_rows) - _MAX_REASONS} more", err=True)
    if result.bad_rows:
        typer.echo(f"{len(result.bad_rows)} bad rows skipped, {result.lists} scored", err=True)


def _score_json(result: Score) -> dict[str, Any]:
    """Return a score as `--json` writes it."""
    return {
        "protocol": result.protocol,
        "lists": result.lists,
        "cases": result.cases,
        "bad_rows": [bad._asdict() for bad in result.bad_rows],
        "metrics": {name: interval.value for name, interval in result.metrics.items()},
        "intervals": {name: [x.low, x.high] for name, x in result.metrics.items()},
    }


def _print_table(result: Score) -> None:
    from rich.table import Table

    pairs = f", {result.cases} pairs" if result.cases != result.lists else ""
    table = Table(title=f"{result.lists} lists{pairs}, {result.protocol} protocol")
    table.add_column("metric")
    table.add_column("mean", justify="right")
    table.add_column("95% interval", justify="right")
    for name, interval in result.metrics.items():
        table.add_row(name, f"{interval.value:.4f}", f"{interval.low:.4f} – {interval.high:.4f}")
    console().print(table)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more flow run ids or ids of metrics, or the beginnings of ids."
        ),
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("comparison.html"),
    json_file: JsonFile = None,
) -> None:
    """Write a page with what differs between two or more runs: settings, data and metrics.

    The others are compared with the first, on the same samples if they have the same conversations.
    """
    from convrec.stages.evaluate.report.compare import (
        check_runs,
        comparison_json,
        comparison_page,
    )
    from convrec.stages.evaluate.report.compared_run import read_run
    from convrec.stages.evaluate.report.run_pairs import pair_runs

    check_runs(runs)
    store = open_store()
    compared = [read_run(store, name) for name in runs]
    pairs = [pair_runs(store, compared[0], run) for run in compared[1:]]
    page = comparison_page(store, compared, pairs)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror})") from None
    entries = zip(compared, [None, *pairs], strict=True)
    write_json({run.name: comparison_json(run, pair) for run, pair in entries}, json_file)
    typer.echo(f"comparison: {out}", err=True)

"""`convrec score`: Recall, NDCG, rates and rewards of anyone's lists."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, console, takes_stdout, write_json

if TYPE_CHECKING:
    from convrec.stages.evaluate.score import Score

_SHOWN_REASONS = 20


class ProtocolName(StrEnum):
    """How lists are judged."""

    standard = "standard"
    reference = "reference"
    per_label = "per-label"


def score(
    lists: Annotated[Path, typer.Argument(help="JSONL file, one list a row.")],
    catalog: Annotated[Path, typer.Option(help="Catalog, CSV or Parquet with title and year.")],
    protocol: Annotated[
        ProtocolName,
        typer.Option(
            help="standard: positions as generated. reference: as the published Rank-GRPO code. "
            "per-label: each (turn, item) pair once, as in CIKM'23."
        ),
    ] = ProtocolName.standard,
    per_list: Annotated[
        Path | None, typer.Option(help="Write one JSON row a list here, with both rewards.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Whose form of a line and catalog columns; default: Title (year).")
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Score recommended lists against a catalog.

    A row holds `completion` (text or chat messages), `seen_titles` and
    `groundtruth_with_release_year`; other columns are ignored. Bad rows are reported and left out.
    """
    from convrec.config import load
    from convrec.stages.evaluate.score import score_file

    config = load(profile) if profile else None
    with _counting() as count:
        result = score_file(
            lists,
            catalog,
            protocol=protocol.value,
            config=config,
            per_list=per_list,
            progress=count,
        )
    if result.catalog_left_out:
        typer.echo(
            f"{result.catalog_left_out} rows of {catalog} left out; "
            "`convrec catalog check` names them",
            err=True,
        )
    _report_bad(result)
    if json_file is not None:
        write_json(_figures(result), json_file)
    if not takes_stdout(json_file):
        _print_table(result)


def _counting() -> Any:
    """A context manager that gives a callback: rows read so far, shown on a terminal only."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("scored to row {task.completed}"), TimeElapsedColumn())

    @contextmanager
    def shown() -> Any:
        screen = Console(stderr=True)
        away = not screen.is_terminal  # or it would print an empty line
        with Progress(*columns, console=screen, transient=True, disable=away) as bar:
            task = bar.add_task("score", total=None)
            yield lambda rows: bar.update(task, completed=rows)

    return shown()


def _report_bad(result: Score) -> None:
    for bad in result.bad[:_SHOWN_REASONS]:
        typer.echo(f"row {bad.line} left out: {bad.reason}", err=True)
    if len(result.bad) > _SHOWN_REASONS:
        typer.echo(f"... and {len(result.bad) - _SHOWN_REASONS} more", err=True)
    if result.bad:
        typer.echo(f"{len(result.bad)} bad rows left out, {result.lists} scored", err=True)


def _figures(result: Score) -> dict[str, Any]:
    """The figures of a score as `--json` writes them."""
    return {
        "protocol": result.protocol,
        "lists": result.lists,
        "cases": result.cases,
        "bad_rows": [bad._asdict() for bad in result.bad],
        "metrics": {name: found.value for name, found in result.metrics.items()},
        "intervals": {name: [found.low, found.high] for name, found in result.metrics.items()},
    }


def _print_table(result: Score) -> None:
    from rich.table import Table

    of = f", {result.cases} pairs" if result.cases != result.lists else ""
    table = Table(title=f"{result.lists} lists{of}, {result.protocol} protocol")
    table.add_column("metric")
    table.add_column("mean", justify="right")
    table.add_column("95% interval", justify="right")
    for name, found in result.metrics.items():
        table.add_row(name, f"{found.value:.4f}", f"{found.low:.4f} – {found.high:.4f}")
    console().print(table)

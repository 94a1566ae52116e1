"""`convrec compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convrec.cli.output import JsonFile, open_store, write_json
from convrec.errors import InputError


def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Two or more runs: flow run ids or ids of metrics.")
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("comparison.html"),
    json_file: JsonFile = None,
) -> None:
    """Write a page that compares the metrics of two or more runs."""
    from convrec.stages.evaluate.report.compare import comparison_json, comparison_page, read_run

    store = open_store()
    compared = [read_run(store, name) for name in runs]
    page = comparison_page(compared)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror})") from None
    write_json({run.name: comparison_json(run) for run in compared}, json_file)
    typer.echo(f"comparison: {out}", err=True)

"""`convrec catalog check|diff|link|versions`: look at catalogs without a run."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, console, takes_stdout, whole, write_json

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(help="Catalogs: check, diff, link, publish, versions.", no_args_is_help=True)

_SHOWN = 20

Profile = Annotated[
    str, typer.Option(help="Whose names for the file's columns; default: title, year and so on.")
]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with title and year.")],
    profile: Profile = "",
    json_file: JsonFile = None,
) -> None:
    """Say how many rows of FILE can be used, and why the others cannot."""
    items, bad = _loaded(file, profile)
    result = {
        "file": str(file),
        "items": items.height,
        "with_year": items.height - items["year"].null_count(),
        "with_genres": items.filter(items["genres"].list.len() > 0).height,
        "with_aliases": items.filter(items["aliases"].list.len() > 0).height,
        "quarantined": bad.to_dicts(),
    }
    if json_file is not None:
        write_json(result, json_file)
    if takes_stdout(json_file):
        return
    _table(
        f"{file}: {items.height} items, {bad.height} rows in quarantine",
        ["with", "items"],
        [(name, result[f"with_{name}"]) for name in ("year", "genres", "aliases")],
    )
    if bad.height:
        _table(
            "Quarantine", ["line", "reason", "row"], bad.select("line", "reason", "raw").iter_rows()
        )


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The catalog as it was.")],
    new: Annotated[Path, typer.Argument(help="The catalog as it is now.")],
    profile: Profile = "",
    json_file: JsonFile = None,
) -> None:
    """Show which items were added, removed, renamed or changed from OLD to NEW."""
    from convrec.catalog.diff import diff_catalogs

    found = diff_catalogs(_loaded(old, profile)[0], _loaded(new, profile)[0])
    frames = {
        "added": found.added.select("item_id", "title", "year"),
        "removed": found.removed.select("item_id", "title", "year"),
        "renamed": found.renamed,
        "changed": found.changed,
    }
    if json_file is not None:
        write_json({name: frame.to_dicts() for name, frame in frames.items()}, json_file)
    if takes_stdout(json_file):
        return
    for name, frame in frames.items():
        _frame(f"{frame.height} {name}", frame)


@app.command()
def link(
    catalog: Annotated[Path, typer.Option("--catalog", metavar="FILE", help="CSV or Parquet.")],
    explain: Annotated[
        bool, typer.Option("--explain", help="Add the columns method, runner_up, runner_up_score.")
    ] = False,
    profile: Profile = "",
    json_file: JsonFile = None,
) -> None:
    """Link raw titles, one a line on stdin, to items; writes CSV, one row a line, in order.

    The columns are query, item_id, title, year, score. Where nothing in the catalog is meant, all
    but the query stay empty. The runner-up is the next best other item that was looked at; one that
    a rule refused scores below 80. JSON always has all columns.
    """
    from convrec.errors import InputError
    from convrec.titles.linker import Link, Linker

    if sys.stdin is None:
        raise InputError(
            "standard input is closed, so there are no titles to link; give a file or a pipe, one "
            f"title a line, as in `convrec catalog link --catalog {catalog} < titles.txt`"
        )
    items, _ = _loaded(catalog, profile)
    lines = _lines(sys.stdin.buffer.read().decode(errors="replace"))
    links = Linker(items).link_many([(line, None) for line in lines])
    nothing = dict.fromkeys(Link._fields)
    rows = [
        {"query": line} | (found._asdict() if found else nothing)
        for line, found in zip(lines, links, strict=True)
    ]
    if json_file is not None:
        write_json({"links": rows}, json_file)
    if not takes_stdout(json_file):
        columns = ["query", *Link._fields][: None if explain else 5]
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)


@app.command()
def versions(
    name: Annotated[str, typer.Argument(help="A catalog; empty: all of them.")] = "",
    json_file: JsonFile = None,
) -> None:
    """Show what was published: the versions of each catalog, or the changes of NAME@VERSION."""
    from convrec.artifacts import Store
    from convrec.catalog.publish import changes_of
    from convrec.catalog.versions import PREFIX, find_version, named, published
    from convrec.config import home

    store = Store(home())
    wanted = named(f"{PREFIX}{name}") if name else None
    if wanted is not None and wanted.version is not None:
        frame = changes_of(store, find_version(store, *wanted))
        if json_file is not None:
            write_json(frame.to_dicts(), json_file)
        if not takes_stdout(json_file):
            _frame(f"{frame.height} changes of {name}", frame)
        return
    rows = [asdict(version) for version in published(store, wanted.name if wanted else "")]
    if json_file is not None:
        write_json(rows, json_file)
    if not rows and not takes_stdout(json_file):
        typer.echo(
            f"no catalog {name or 'NAME'} is published in {store.where}; "
            f"`convrec catalog publish FILE --name {name or 'NAME'}` publishes one"
        )
    elif not takes_stdout(json_file):
        shown = ("name", "version", "items", "quarantined", "compared_with", "published_at")
        cells = [
            [str(row[column])[:19] if column == "published_at" else row[column] for column in shown]
            for row in rows
        ]
        _table(f"{len(rows)} versions in {store.where}", shown, cells)


def _loaded(file: Path, profile: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    from convrec.catalog.load import load_catalog
    from convrec.config import load

    if not profile:
        return load_catalog(file)
    config = load(profile)
    return load_catalog(file, config.ingest.names, years=config.recommend.years)


def _lines(text: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines


def _frame(title: str, frame: pl.DataFrame) -> None:
    if not frame.height:
        typer.echo(title)
        return
    rows = [
        [", ".join(v) if isinstance(v, list) else v for v in row]
        for row in frame.head(_SHOWN).iter_rows()
    ]
    more = frame.height - len(rows)
    _table(title, frame.columns, rows, f"and {more} more; --json - shows all" if more else None)


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str | None = None
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(caption=caption, caption_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    typer.echo(title)
    console().print(whole(table))

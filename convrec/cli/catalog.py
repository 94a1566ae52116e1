"""`convrec catalog check|diff|link|import-pickle|versions`: commands that need no run."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convrec.cli.output import JsonFile, open_store, print_table, write_json
from convrec.utils.terminal import write_data

if TYPE_CHECKING:
    import polars as pl

    from convrec.catalog.rows import CollectedItems

app = typer.Typer(help="Check, compare, link and publish catalogs.", no_args_is_help=True)

_MAX_ROWS = 20

Profile = Annotated[
    str, typer.Option(help="Profile that maps the file's columns; default: title, year, ...")
]
YearInTitle = Annotated[
    bool,
    typer.Option(
        "--year-in-title",
        help="Split the year off titles such as `Matrix, The (1999)`: ingest.year_in_title.",
    ),
]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with title and year.")],
    profile: Profile = "",
    year_in_title: YearInTitle = False,
    json_file: JsonFile = None,
) -> None:
    """Count the usable rows of FILE and list the others with the reason."""
    items, bad, _, decoded = _load(file, profile, year_in_title)
    result = {
        "file": str(file),
        "items": items.height,
        "with_year": items.height - items["year"].null_count(),
        "with_genres": items.filter(items["genres"].list.len() > 0).height,
        "with_aliases": items.filter(items["aliases"].list.len() > 0).height,
        "decoded_titles": decoded,
        "quarantined": bad.to_dicts(),
    }
    if write_json(result, json_file):
        return
    typer.echo(f"{file}: {items.height} items, {bad.height} rows in quarantine")
    names = ("year", "genres", "aliases")
    print_table(("with", "items"), [(name, result[f"with_{name}"]) for name in names])
    if decoded:
        typer.echo(
            f"titles with URL escapes, HTML entities or invisible characters: {decoded}; lists and "
            "reports show them decoded"
        )
    if bad.height:
        typer.echo("Quarantine")
        print_table(("line", "reason", "row"), bad.select("line", "reason", "raw").iter_rows())


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The old catalog.")],
    new: Annotated[Path, typer.Argument(help="The new catalog.")],
    profile: Profile = "",
    year_in_title: YearInTitle = False,
    json_file: JsonFile = None,
) -> None:
    """List the items that were added, removed, renamed or changed from OLD to NEW."""
    from convrec.catalog.diff import diff_catalogs

    before, after = (_load(file, profile, year_in_title).items for file in (old, new))
    changes = diff_catalogs(before, after)
    frames = {
        "added": changes.added.select("item_id", "title", "year"),
        "removed": changes.removed.select("item_id", "title", "year"),
        "renamed": changes.renamed,
        "changed": changes.changed,
    }
    if write_json({name: frame.to_dicts() for name, frame in frames.items()}, json_file):
        return
    for name, frame in frames.items():
        _print_frame(f"{frame.height} {name}", frame)


@app.command()
def link(
    catalog: Annotated[Path, typer.Option("--catalog", metavar="FILE", help="CSV or Parquet.")],
    explain: Annotated[
        bool, typer.Option("--explain", help="Add method, runner_up, runner_up_score and note.")
    ] = False,
    profile: Profile = "",
    year_in_title: YearInTitle = False,
    json_file: JsonFile = None,
) -> None:
    """Link titles on stdin, one per line, to items. Writes one CSV row per line, in order.

    The columns are query, item_id, title, year, score; all but query are empty if no item matches.
    The runner-up is the next best other item; it scores below 80 if a rule rejected it. The note
    says what a remark in brackets, such as "(remake)" or "(US)", leaves open. JSON always has all
    columns.
    """
    from convrec.config import load
    from convrec.errors import InputError
    from convrec.titles.linker import DEFAULT_NOUN, Link, Linker

    if sys.stdin is None:
        raise InputError(
            "standard input is closed, so there are no titles to link; use a file or a pipe with "
            f"one title per line, as in `convrec catalog link --catalog {catalog} < titles.txt`"
        )
    items = _load(catalog, profile, year_in_title).items
    titles = _split_lines(sys.stdin.buffer.read().decode(errors="replace"))
    noun = load(profile).domain.noun if profile else DEFAULT_NOUN
    links = Linker(items, noun).link_many([(title, None) for title in titles])
    no_link = dict.fromkeys(Link._fields)
    rows = [
        {"query": title} | (link._asdict() if link else no_link)
        for title, link in zip(titles, links, strict=True)
    ]
    if not write_json({"links": rows}, json_file):
        columns = ["query", *Link._fields][: None if explain else 5]
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
        write_data(output.getvalue())


@app.command("import-pickle")
def import_pickle(
    file: Annotated[Path, typer.Argument(help="Pickle with a catalog, such as gt_catalog.pkl.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="CSV file to create.")],
    json_file: JsonFile = None,
) -> None:
    """Convert a catalog in a pickle to CSV, without running code in it.

    Only lists, tuples, sets, dictionaries, text and numbers are read; anything else is refused.
    """
    from convrec.catalog.pickle_import import import_pickle as convert

    result = convert(file, out)
    if write_json({"file": str(out), **result._asdict()}, json_file):
        return
    typer.echo(f"{out}: {result.rows} rows, {result.with_year} with year, {result.with_id} with id")
    for reason, count in result.skipped.items():
        typer.echo(f"left out: {count} {'entry' if count == 1 else 'entries'}, {reason}")
    typer.echo(f"`convrec catalog check {out}` shows what of it can be used")


@app.command()
def versions(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION; default: all catalogs.")] = "",
    json_file: JsonFile = None,
) -> None:
    """List the published versions of a catalog, or the changes of NAME@VERSION."""
    from convrec.catalog.publish import read_changes
    from convrec.catalog.versions import PREFIX, find_version, list_versions, parse_catalog_name

    store = open_store()
    catalog = parse_catalog_name(f"{PREFIX}{name}") if name else None
    if catalog is not None and catalog.version is not None:
        frame = read_changes(store, find_version(store, *catalog))
        if not write_json(frame.to_dicts(), json_file):
            _print_frame(f"{frame.height} changes of {name}", frame)
        return
    rows = [asdict(version) for version in list_versions(store, catalog.name if catalog else "")]
    if write_json(rows, json_file):
        return
    if not rows:
        typer.echo(
            f"no catalog {name or 'NAME'} is published in {store.location}; "
            f"`convrec catalog publish FILE --name {name or 'NAME'}` publishes one"
        )
        return
    typer.echo(f"{len(rows)} versions in {store.location}")
    columns = ("name", "version", "items", "quarantined", "compared_with")
    cells = [[*(row[name] for name in columns), str(row["published_at"])[:19]] for row in rows]
    print_table((*columns, "published_at"), cells)


def _load(file: Path, profile: str, year_in_title: bool) -> CollectedItems:
    from convrec.catalog.load import read_configured_catalog
    from convrec.config import Config, load

    config = load(profile) if profile else Config()
    if year_in_title:
        ingest = config.ingest.model_copy(update={"year_in_title": True})
        config = config.model_copy(update={"ingest": ingest})
    return read_configured_catalog(file, config)


def _split_lines(text: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines


def _print_frame(title: str, frame: pl.DataFrame) -> None:
    typer.echo(title)
    if not frame.height:
        return
    rows = [
        [", ".join(v) if isinstance(v, list) else v for v in row]
        for row in frame.head(_MAX_ROWS).iter_rows()
    ]
    rest = frame.height - len(rows)
    caption = f"and {rest} more; --json - shows all" if rest else None
    print_table(frame.columns, rows, caption)

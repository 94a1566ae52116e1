"""`convrec init`: a profile for the user's own data, and what ingest makes of it."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convrec.cli.output import open_store, print_table
from convrec.errors import ConvrecError, InputError

if TYPE_CHECKING:
    from convrec.operations.own_data.peek import Peek
    from convrec.operations.own_data.profile_text import OwnData

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_QUESTIONS = {
    "conversation": "Column of the conversation",
    "ground_truth": "Column of the items that a good answer names",
    "seen": "Column of items not to recommend again",
    "list": "Column of a list that was shown, to learn from instead of a teacher",
    "date": "Column of the date",
    "split": "Column of the split",
    "id": "Column of the row's id",
}


def _column(names: str) -> typer.models.OptionInfo:
    return typer.Option(metavar="COLUMN", help=names)  # type: ignore[no-any-return]


def init(
    name: Annotated[str, typer.Argument(help="Name of the profile to write.")],
    conversations: Annotated[
        str, typer.Option(metavar="FILE", help="CSV, JSONL or Parquet file, or a folder of them.")
    ] = "",
    catalog: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="CSV or Parquet file; default: catalog.csv next to the data, if any.",
        ),
    ] = "",
    conversation: Annotated[str, _column("Column of the conversation: text or messages.")] = "",
    ground_truth: Annotated[str, _column("Column of the items that a good answer names.")] = "",
    seen: Annotated[str, _column("Column of items that are not to be recommended.")] = "",
    shown: Annotated[
        str, typer.Option("--list", metavar="COLUMN", help="Column of a list to learn from.")
    ] = "",
    day: Annotated[
        str,
        typer.Option("--date", metavar="COLUMN", help="Column of the date; it decides on splits."),
    ] = "",
    split: Annotated[str, _column("Column of the split: train, validation or test.")] = "",
    row_id: Annotated[
        str, typer.Option("--id", metavar="COLUMN", help="Column of the row's id.")
    ] = "",
    separator: Annotated[str, typer.Option(help="Between the titles of a cell.")] = "",
    noun: Annotated[str, typer.Option(help='What an item is, such as "board game".')] = "",
    teacher: Annotated[
        str, typer.Option(help="Model of the teacher and the judge; `none` asks no LLM.")
    ] = "gpt-4o-mini",
    base: Annotated[str, typer.Option(help="Model to train; default: smollm2 if installed.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is found.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing profile.")] = False,
) -> None:
    """Write profiles/NAME.toml for your own data, run ingest, and show what it made.

    Columns are guessed from names and values. On a terminal, each guess is a question.
    """
    from convrec.config import home

    target = _target(name, force=force)
    ask = not yes and _is_terminal()
    given = {
        "conversation": conversation,
        "ground_truth": ground_truth,
        "seen": seen,
        "list": shown,
        "id": row_id,
        "date": day,
        "split": split,
    }
    if ask:
        typer.echo("Enter takes what is in brackets; - means none.")
    path = conversations or (_ask("File or folder of conversations", "") if ask else "")
    if not path:
        raise InputError("--conversations is missing; give the file or folder of the conversations")
    data, unused = _describe_data(name, path, catalog, given, ask=ask)
    data = replace(
        data,
        teacher=teacher,
        base=base or data.base,
        separator=separator or data.separator,
    )
    data = replace(data, noun=noun or (_ask("What is an item?", data.noun) if ask else data.noun))
    _describe_mapping(data)
    for column in unused:
        typer.echo(
            f"note: column {column} also holds items of the catalog and is not used; name its role "
            "with --ground-truth or --seen"
        )
    _ingest(data, target)
    typer.echo(f"\nwritten: {target.relative_to(Path.cwd())}, and the data to {home()}")
    typer.echo(f"next: convrec plan {name}                  # requests, dollars and time")
    typer.echo(f"      convrec run {name} --until adjust    # the data stages")
    typer.echo(f"      convrec run {name}                   # and training and evaluation")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _target(name: str, *, force: bool) -> Path:
    """The file to write. Raises InputError for a name that is taken or cannot be one."""
    from convrec.config import ROOT

    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a profile; use lower-case letters, digits, dots, "
            "dashes and underscores"
        )
    target = Path.cwd() / "profiles" / f"{name}.toml"
    shipped = ROOT / "profiles" / f"{name}.toml"
    if shipped.exists() and shipped != target:
        raise InputError(f"{name} is a profile that ships with convrec; choose another name")
    if target.exists() and not force:
        raise InputError(f"{target} exists; choose another name, or give --force to replace it")
    return target


def _describe_data(
    name: str, path: str, catalog: str, given: Mapping[str, str], *, ask: bool
) -> tuple[OwnData, tuple[str, ...]]:
    """What the files hold, as guessed, given and asked, and the columns of items without a role."""
    from convrec.config import resolve_path
    from convrec.operations.own_data.describe import describe_catalog, describe_data
    from convrec.operations.own_data.guess import guess_conversation_columns, item_columns
    from convrec.operations.own_data.peek import peek

    file = resolve_path(path, "--conversations")
    if not file.exists():
        raise InputError(f"--conversations={path} does not exist; give an existing file or folder")
    found = peek(file)
    catalog = catalog or _catalog_next_to(file)
    if ask:
        catalog = _ask("Catalog file (none: the items that answers name)", catalog)
    facts = describe_catalog(catalog)
    guessed = guess_conversation_columns(found, facts.titles, _named(given, found))
    columns = _columns(found, guessed, ask=ask)
    unused = tuple(item_columns(found, facts.titles, columns.values()))
    return describe_data(name, path, found, columns, facts), unused


def _named(given: Mapping[str, str], found: Peek) -> dict[str, str]:
    """The columns that options name. Raises InputError for one that the file lacks."""
    by_name = {column.strip().lower(): column for column in found.columns}
    for role, column in given.items():
        if column and column.strip().lower() not in by_name:
            raise InputError(
                f"there is no column {column!r} (--{role.replace('_', '-')}); the columns are "
                f"{', '.join(found.columns)}"
            )
    return {role: by_name[column.strip().lower()] for role, column in given.items() if column}


def _columns(found: Peek, guessed: dict[str, str], *, ask: bool) -> dict[str, str]:
    """The role of each column. Raises InputError without a conversation or a ground truth."""
    if ask:
        typer.echo(f"columns: {', '.join(found.columns)}")
        for role, question in _QUESTIONS.items():
            guessed[role] = _ask(question, guessed.get(role, ""), ["", *found.columns])
        guessed = {role: column for role, column in guessed.items() if column}
    for role in ("conversation", "ground_truth"):
        if role not in guessed:
            raise InputError(
                f"no column looks like the {role.replace('_', ' ')} (the columns are "
                f"{', '.join(found.columns)}); name it with --{role.replace('_', '-')} COLUMN"
            )
    return guessed


def _ask(question: str, default: str, allowed: Sequence[str] = ()) -> str:
    """An answer from the terminal; Enter takes the default, a dash means none."""
    while True:
        answer = str(typer.prompt(question, default=default, show_default=bool(default))).strip()
        answer = "" if answer == "-" else answer
        if not allowed or answer in allowed:
            return answer
        typer.echo(f"there is no column {answer!r}; the columns are {', '.join(allowed[1:])}")


def _catalog_next_to(file: Path) -> str:
    """The catalog next to the data; empty if there is none."""
    from convrec.catalog.selection import BUNDLED_NAMES

    folder = file if file.is_dir() else file.parent
    return next((str(folder / name) for name in BUNDLED_NAMES if (folder / name).is_file()), "")


def _describe_mapping(data: OwnData) -> None:
    """Print which column is read as what."""
    for role, column in data.columns.items():
        form = "lists" if data.are_lists else f"titles separated by {data.separator!r}"
        between = f", {form}" if role == "ground_truth" else ""
        typer.echo(f"{role.replace('_', ' '):<13} column {column}{between}")
    if data.split_days:
        typer.echo(
            f"splits        by date: validation from {data.split_days[0]}, test from "
            f"{data.split_days[1]}"
        )
    elif "split" not in data.columns:
        typer.echo(
            "splits        by a hash of the conversation: 80% train, 10% validation, 10% test"
        )
    names = ", ".join(f"{role} = column {column}" for role, column in data.catalog_columns.items())
    typer.echo(
        f"catalog       {f'{data.catalog}: {names}' if names else 'the items that answers name'}"
    )
    typer.echo(f"item          {data.noun} (--noun names it)")
    if "seen" not in data.columns:
        typer.echo(
            "note: without a column of seen items, an item that a conversation names may be "
            "recommended"
        )


def _ingest(data: OwnData, target: Path) -> None:
    """Write the profile once ingest has read the data with it, and print what ingest made."""
    from convrec.config import load
    from convrec.operations.load_summary import (
        coverage_lines,
        ground_truth_coverage,
        preview_rows,
        summary_lines,
    )
    from convrec.operations.local_run import LocalRun
    from convrec.operations.own_data.profile_text import profile_text

    text = profile_text(data)
    store = open_store()
    with tempfile.TemporaryDirectory(prefix="convrec-init-") as folder:
        trial = Path(folder) / target.name
        trial.write_text(text, encoding="utf-8")
        run = LocalRun(load(str(trial)), store)
        run.run(until="ingest")
    ids = {kind: ref.artifact_id for kind, ref in run.refs.items()}
    catalog, conversations = (store.read(ids[kind]) for kind in ("catalog", "conversations"))
    typer.echo()
    for line in summary_lines(store, ids):
        typer.echo(line)
    if data.catalog:
        for line in coverage_lines(ground_truth_coverage(catalog, conversations)):
            typer.echo(line)
    print_table(("split", "conversation", "ground truth", "seen"), preview_rows(conversations))
    if run.refs["quarantine"].rows:
        typer.echo(f"rows that were set aside: `convrec artifacts show {ids['quarantine']}`")
    try:
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConvrecError(f"{target} cannot be written ({error.strerror})") from None

"""Output of commands: tables that never cut an id, and the `--json FILE|-` beside each of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 160
"""Columns that a table may take where the output is not a terminal."""


def _place_for_json(path: Path | None) -> Path | None:
    """The path itself; said before a long run begins, not after. Raises InputError."""
    if path is None or is_stdout(path):
        return path
    if os.path.isdir(path):
        raise _unwritable(path, "Is a directory")
    if not os.path.isdir(path.parent):
        raise _unwritable(path, "No such file or directory")
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        callback=_place_for_json,
        help="Write the same as JSON to this file; - for stdout.",
    ),
]

ProfileName = Annotated[str, typer.Argument(help="A shipped profile, or a path to a .toml file.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set one key.")
]


def write_json(value: Any, path: Path) -> None:
    """Write `value` as indented JSON to a file, or to stdout for `-`. Raises InputError."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def _unwritable(path: Path, reason: str | None) -> InputError:
    return InputError(
        f"{path} cannot be written ({reason}); give --json a path in a folder that can"
    )


def is_stdout(path: Path | None) -> bool:
    """Whether the JSON goes to stdout, so that nothing else may."""
    return str(path) == "-"


def fold_cells(table: Table) -> Table:
    """The table itself, with cells that fold where the terminal is narrow instead of being cut."""
    for column in table.columns:
        if not column.no_wrap:
            column.overflow = "fold"
    return table


def console(*, stderr: bool = False) -> Console:
    """A console for tables; wide where it is a pipe, as wide as the terminal where it is one."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)

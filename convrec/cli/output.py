"""Output of commands: tables that never truncate an id, and `--json FILE|-`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.errors import InputError
from convrec.utils.terminal import discard_if_closed, is_unicode_output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

    from convrec.artifacts import Store

PIPE_WIDTH = 160
"""Width of tables if the output is not a terminal."""


def _check_json_path(path: Path | None) -> Path | None:
    """The path itself, checked before a long run starts. Raises InputError."""
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
        callback=_check_json_path,
        help="Write the result as JSON to this file, or - for stdout.",
    ),
]

ProfileName = Annotated[str, typer.Argument(help="A shipped profile, or the path of a .toml file.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting."),
]


def write_json(value: Any, path: Path | None) -> bool:
    """Write `value` as JSON to the file of `--json`, if there is one. Raises InputError.

    Returns whether it went to stdout, so that nothing else is printed there.
    """
    if path is None:
        return False
    to_stdout = is_stdout(path)
    is_ascii = to_stdout and not is_unicode_output()  # escapes of JSON, rather than others
    text = json.dumps(value, indent=2, default=str, ensure_ascii=is_ascii) + "\n"
    if to_stdout:
        sys.stdout.write(text)
        return True
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error.strerror) from None
    return False


def _unwritable(path: Path, reason: str | None) -> InputError:
    return InputError(
        f"{path} cannot be written ({reason}); give --json a path in a folder that can be written"
    )


def is_stdout(path: Path | None) -> bool:
    """Whether the JSON goes to stdout."""
    return str(path) == "-"


def print_table(
    columns: Sequence[str | Column], rows: Iterable[Sequence[object]], caption: str | None = None
) -> None:
    """Print rows as a table; None is an empty cell."""
    from rich.table import Table

    table = Table(*columns, caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console().print(fold_cells(table))


def open_store() -> Store:
    """The warehouse of CONVREC_HOME."""
    from convrec.artifacts import Store
    from convrec.config import home

    return Store(home())


def fold_cells(table: Table) -> Table:
    """The table itself; on a narrow terminal its cells wrap instead of being truncated."""
    for column in table.columns:
        if not column.no_wrap:
            column.overflow = "fold"
    return table


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or PIPE_WIDTH if there is none.

    It shows brackets as they are: titles, paths and templates may contain "[/x]", which is markup.
    """
    from rich.console import Console

    class QuietConsole(Console):
        """Goes on quietly when the reader of its output is gone, as in `| head`."""

        def on_broken_pipe(self) -> None:
            discard_if_closed()

    found = QuietConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if found.is_terminal:
        return found
    return QuietConsole(stderr=stderr, highlight=False, markup=False, emoji=False, width=PIPE_WIDTH)

"""`convrec artifacts forget`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convrec.cli.output import JsonFile, console, is_stdout, write_json


def forget(
    conversation: Annotated[
        list[str], typer.Option(help="Its context_id or sample_id; may be given several times.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, at a terminal.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Delete conversations from every table, the spool, stored answers and reports, for good."""
    from rich.table import Table

    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.operations.forget import forget_conversations

    store = Store(home())
    if sys.stdin is not None and sys.stdin.isatty() and not yes:
        planned = forget_conversations(conversation, store, dry_run=True)
        rows = sum(planned.removed.values())
        typer.confirm(f"Delete {rows:,} rows of {len(planned.conversations)} contexts?", abort=True)
    done = forget_conversations(conversation, store)
    if json_file is not None:
        write_json(vars(done), json_file)
    if is_stdout(json_file):
        return
    shown = console()
    table = Table("table", "rows removed")
    for name, count in done.removed.items():
        table.add_row(name, f"{count:,}")
    shown.print(table)
    if done.checkpoints:
        shown.print(
            "These checkpoints were trained on it, and weights cannot forget; train them anew: "
            + ", ".join(done.checkpoints)
        )
    shown.print("Take it out of the source file too, or the next ingest brings it back.")

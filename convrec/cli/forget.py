"""`convrec artifacts forget`: deletes conversations."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convrec.cli.output import JsonFile, console, open_store, print_table, write_json


def forget(
    conversation: Annotated[
        list[str], typer.Option(help="A context_id or sample_id; can be repeated.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Delete conversations permanently from all tables, stored responses, reports and files."""
    from convrec.operations.forget import forget_conversations

    store = open_store()
    if sys.stdin is not None and sys.stdin.isatty() and not yes:
        planned = forget_conversations(conversation, store, dry_run=True)
        rows = sum(planned.removed.values())
        typer.confirm(f"Delete {rows:,} rows of {len(planned.conversations)} contexts?", abort=True)
    report = forget_conversations(conversation, store)
    if write_json(vars(report), json_file):
        return
    counts = [(name, f"{count:,}") for name, count in report.removed.items()]
    print_table(("table", "rows deleted"), counts)
    out = console()
    if report.checkpoints:
        out.print(
            "These checkpoints were trained on deleted conversations; retrain them: "
            + ", ".join(report.checkpoints)
        )
    out.print("Delete the conversations from the source file too, or ingest adds them again.")

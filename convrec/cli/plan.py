"""`convrec plan`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from convrec.cli.output import Assignments, JsonFile, ProfileName, console, is_stdout, write_json


def plan(
    profile: ProfileName,
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Show what a run of PROFILE would do and cost; nothing is executed."""
    from rich.table import Table

    from convrec.artifacts import Store
    from convrec.catalog.resolve import load_with_catalog, unpublished_edit
    from convrec.config import has_warehouse, home, parse_overrides
    from convrec.models.identity import base_error
    from convrec.pipeline.plan import make_plan

    config = load_with_catalog(profile, parse_overrides(assignments or []))
    for note in filter(None, (unpublished_edit(config), base_error(config.model.base))):
        typer.echo(f"convrec: {note}", err=True)
    with tempfile.TemporaryDirectory() as empty:
        made = make_plan(config, Store(home() if has_warehouse() else Path(empty)))
    if json_file is not None:
        write_json(made, json_file)
    if is_stdout(json_file):
        return
    table = Table("stage", "kind", "state", "contexts")
    for entry in made["stages"]:
        contexts = f"{entry['contexts']:,}" if entry["contexts"] else ""
        table.add_row(entry["stage"], entry["kind"], entry["state"], contexts)
    shown = console()
    shown.print(table)
    for role, figures in made["llm"].items():
        shown.print(
            f"{role}: {figures['requests']:,} requests to send, about "
            f"{figures['prompt_tokens']:,} prompt and {figures['completion_tokens']:,} completion "
            f"tokens, {figures['usd_low']:.4f} to {figures['usd_high']:.4f} USD",
        )

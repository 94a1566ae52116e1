"""Commands of `convrec artifacts` that list runs, and that pin, delete, forget and copy data."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, console, open_store, print_table, write_json
from convrec.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from convrec.artifacts.store import Store
    from convrec.operations.gc import Garbage

ArtifactId = Annotated[
    str, typer.Argument(metavar="ID", help="An artifact id, or the beginning of it or its hash.")
]

KEEP_PREFIX = "kept/"
"""Prefix of pins without --name, which only keep an artifact."""

MAX_LEFTOVERS_SHOWN = 20


def print_runs(store: Store, json_file: Path | None) -> None:
    """Print the runs, newest first, with their settings and the number of their artifacts."""
    from rich.table import Column

    from convrec.artifacts.runs import COMPLETED, list_runs

    runs = list_runs(store)
    if write_json([asdict(run) for run in runs], json_file):
        return
    if not runs:
        typer.echo(f"{store.location} has no runs yet")
        return
    columns = ("flow", "profile", "set", "code", "state", "started (UTC)", "made", "cached")
    rows = []
    for run in runs:
        settings = " ".join(f"{key}={json.dumps(value)}" for key, value in run.overrides.items())
        started = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
        made = sum(used.state == COMPLETED for used in run.artifacts)
        row = (run.run_id[:8], run.flow, run.profile, settings, run.revision, run.state, started)
        rows.append((*row, made, len(run.artifacts) - made))
    print_table((Column("run", no_wrap=True), *columns), rows)


def pin(
    artifact_id: ArtifactId,
    name: Annotated[str, typer.Option(help="Name of the pin, as in `artifacts pins`.")] = "",
) -> None:
    """Pin an artifact, so that `gc` keeps it and its ancestors.

    With the --name of an existing pin, this artifact replaces the pinned one. Runs use the
    similarity basis that is pinned for their profile.
    """
    store = open_store()
    artifact_id = store.full_id(artifact_id)
    store.pin(name or f"{KEEP_PREFIX}{artifact_id}", artifact_id)
    typer.echo(f"{artifact_id} is pinned as {name or KEEP_PREFIX + artifact_id}")


def pins(json_file: JsonFile = None) -> None:
    """List the pinned artifacts and the names of their pins."""
    found = open_store().pins()
    if not write_json(found, json_file):
        print_table(("name", "artifact"), found.items())


def unpin(artifact_id: ArtifactId) -> None:
    """Remove all pins of an artifact. It stays until `gc` finds that nothing needs it."""
    store = open_store()
    names = store.unpin(artifact_id)
    if not names:  # the id is short, unknown or not pinned
        artifact_id = store.full_id(artifact_id)
        names = store.unpin(artifact_id)
    state = f"no longer pinned as {', '.join(names)}" if names else "not pinned"
    typer.echo(f"{artifact_id} is {state}")


def gc(
    keep_runs: Annotated[
        int, typer.Option(min=0, help="Keep what this many runs of each flow and profile used.")
    ] = 10,
    days: Annotated[
        float, typer.Option(min=0, help="Delete unfinished training workspaces older than this.")
    ] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", help="Delete, instead of only showing it.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Show, and with --yes delete, artifacts that no pin and no recent run needs.

    Also deletes workspaces of finished or abandoned trainings, and what crashed runs left behind.
    Stored responses, embeddings, the ledger and the record of runs stay.
    """
    from convrec.operations.gc import collect_garbage, find_garbage

    store = open_store()
    garbage = (collect_garbage if yes else find_garbage)(store, keep_runs=keep_runs, days=days)
    if not write_json({"deleted": yes, **garbage.as_json()}, json_file):
        _print_garbage(garbage, deleted=yes)


def _print_garbage(garbage: Garbage, *, deleted: bool) -> None:
    from rich.table import Column

    out = console()
    rows = [
        (x.artifact_id, f"{x.rows:,}", f"{x.created_at:%Y-%m-%d %H:%M:%S}", f"{x.bytes / 1e6:.1f}")
        for x in garbage.artifacts
    ]
    if rows:
        artifact = Column("artifact", no_wrap=True)
        print_table((artifact, "rows", "created (UTC)", "MB of files"), rows)
    for leftover in garbage.leftovers[:MAX_LEFTOVERS_SHOWN]:
        line = f"{leftover.path}  {leftover.bytes / 1e6:.1f} MB, {leftover.why}"
        out.print(line, soft_wrap=True)
    if len(garbage.leftovers) > MAX_LEFTOVERS_SHOWN:
        out.print(f"... and {len(garbage.leftovers) - MAX_LEFTOVERS_SHOWN} more")
    counts = (
        f"{len(garbage.artifacts)} artifacts and {len(garbage.leftovers)} leftovers "
        f"({garbage.bytes / 1e6:.1f} MB of files); {garbage.kept} artifacts are kept"
    )
    if deleted:
        out.print(f"Deleted {counts}. The warehouse reuses the space of deleted rows.")
    else:
        out.print(f"Would delete {counts}. Nothing was deleted; add --yes to delete.")


def copy(
    to: Annotated[str, typer.Option("--to", help="Address of the lake, as in CONVREC_WAREHOUSE.")],
    data: Annotated[
        str, typer.Option(help="Folder or s3://bucket/prefix for the data of a new lake.")
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Copy the warehouse file in CONVREC_HOME into a lake and compare the two; can be repeated."""
    from convrec.artifacts.ducklake.connection import ADDRESS_PREFIX
    from convrec.artifacts.store import Store
    from convrec.config import home
    from convrec.llm.response_store import ResponseStore
    from convrec.operations.migrate_to_ducklake import copy_warehouse

    if not to.startswith(ADDRESS_PREFIX):
        raise InputError(
            f"--to {to!r} is not the address of a lake; "
            f'give "{ADDRESS_PREFIX}host=HOST dbname=NAME"'
        )
    if not (home() / "warehouse.duckdb").exists():
        raise InputError(
            f"{home()} has no warehouse file; set CONVREC_HOME to a folder that has one"
        )
    source = Store(home(), ("", ""))
    ResponseStore(source).recover()
    target = Store(home(), (to, data))
    copied: dict[str, Any] = copy_warehouse(source, target)
    if write_json({"to": target.location, "copied": copied}, json_file):
        return
    for name, count in copied.items():
        typer.echo(f"{count:>12,}  {name}")
    typer.echo(f"{target.location} has every row and file of {source.location}.")


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

"""The commands that keep a warehouse tidy: which runs there were, what is pinned, what may go."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from convrec.cli.output import JsonFile, console, fold_cells, is_stdout, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from convrec.artifacts.store import Store
    from convrec.operations.gc import Garbage

ArtifactId = Annotated[str, typer.Argument(metavar="ID", help="An artifact id.")]

KEEP_PREFIX = "kept/"
"""Under this prefix stand artifacts that somebody pinned for no other reason than to keep them."""

MAX_LEFTOVERS_SHOWN = 20


def open_store() -> Store:
    """The warehouse of CONVREC_HOME."""
    from convrec.artifacts.store import Store
    from convrec.config import home

    return Store(home())


def print_runs(store: Store, json_file: Path | None) -> None:
    """Print the runs, the newest first, each with what was set and what it made."""
    from rich.table import Column, Table

    from convrec.artifacts.runs import COMPLETED, list_runs

    found = list_runs(store)
    if json_file is not None:
        write_json([asdict(run) for run in found], json_file)
    if is_stdout(json_file):
        return
    if not found:
        typer.echo(f"no run was noted yet in {store.location}")
        return
    table = Table(
        Column("run", no_wrap=True), "flow", "profile", "set", "code", "state", "started (UTC)",
        "made", "cached",
    )  # fmt: skip
    for run in found:
        made = sum(used.state == COMPLETED for used in run.artifacts)
        table.add_row(
            run.run_id[:8],
            run.flow,
            run.profile,
            " ".join(f"{key}={json.dumps(value)}" for key, value in run.overrides.items()),
            run.revision,
            run.state,
            f"{run.started_at:%Y-%m-%d %H:%M:%S}",
            str(made),
            str(len(run.artifacts) - made),
        )
    console().print(fold_cells(table), markup=False)


def pin(
    artifact_id: ArtifactId,
    name: Annotated[
        str, typer.Option(help="The use it is pinned for, as `artifacts pins` names it.")
    ] = "",
) -> None:
    """Keep an artifact, and all that it was made from, whatever `gc` deletes.

    With the --name of another pin, put this artifact in its place: runs use the similarity basis
    that is pinned for their profile.
    """
    store = open_store()
    store.header(artifact_id)
    store.pin(name or f"{KEEP_PREFIX}{artifact_id}", artifact_id)
    typer.echo(f"{artifact_id} is pinned as {name or KEEP_PREFIX + artifact_id}")


def pins(json_file: JsonFile = None) -> None:
    """List what is pinned, and for which use."""
    from rich.table import Table

    found = open_store().pins()
    if json_file is not None:
        write_json(found, json_file)
    if not is_stdout(json_file):
        table = Table("name", "artifact")
        for name, artifact_id in found.items():
            table.add_row(name, artifact_id)
        console().print(fold_cells(table))


def unpin(
    artifact_id: ArtifactId,
) -> None:
    """Take away every pin of an artifact; it stays until `gc` finds that nothing needs it."""
    store = open_store()
    names = store.unpin(artifact_id)
    if not names:
        store.header(artifact_id)  # an id that nothing has is a slip of the hand
    typer.echo(f"{artifact_id} was pinned as {', '.join(names)}" if names else "it was not pinned")


def gc(
    keep_runs: Annotated[
        int, typer.Option(min=0, help="Keep what the last runs of each flow and profile used.")
    ] = 10,
    days: Annotated[
        float, typer.Option(min=0, help="A training untouched for so long is given up.")
    ] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing changes.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Show, and with --yes delete, artifacts that no pin and none of the last runs needs.

    Also folders of trainings that are finished or given up, and what crashed runs left behind.
    Stored answers, embeddings, the ledger and the list of runs stay.
    """
    from convrec.operations.gc import collect_garbage, find_garbage

    store = open_store()
    garbage = (collect_garbage if yes else find_garbage)(store, keep_runs=keep_runs, days=days)
    if json_file is not None:
        write_json({"deleted": yes, **garbage.as_json()}, json_file)
    if not is_stdout(json_file):
        _print(garbage, deleted=yes)


def _print(garbage: Garbage, *, deleted: bool) -> None:
    from rich.table import Column, Table

    shown = console()
    table = Table(Column("artifact", no_wrap=True), "rows", "created (UTC)", "MB of files")
    for part in garbage.artifacts:
        made = f"{part.created_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(part.artifact_id, f"{part.rows:,}", made, f"{part.bytes / 1e6:.1f}")
    if garbage.artifacts:
        shown.print(fold_cells(table))
    for left in garbage.leftovers[:MAX_LEFTOVERS_SHOWN]:
        line = f"{left.path}  {left.bytes / 1e6:.1f} MB, {left.why}"
        shown.print(line, markup=False, soft_wrap=True)
    if len(garbage.leftovers) > MAX_LEFTOVERS_SHOWN:
        shown.print(f"... and {len(garbage.leftovers) - MAX_LEFTOVERS_SHOWN} more")
    counts = (
        f"{len(garbage.artifacts)} artifacts and {len(garbage.leftovers)} leftovers "
        f"({garbage.bytes / 1e6:.1f} MB of files); {garbage.kept} artifacts are kept"
    )
    if deleted:
        shown.print(f"Deleted {counts}. The rows' space in the warehouse is used again.")
    else:
        shown.print(f"Would delete {counts}. Nothing was deleted; --yes does it.")

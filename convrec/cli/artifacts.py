"""`convrec artifacts`: what is in the warehouse, and where it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.copy import copy
from convrec.cli.maintenance import ArtifactId, gc, open_store, pin, pins, print_runs, unpin
from convrec.cli.output import JsonFile, console, fold_cells, is_stdout, write_json

if TYPE_CHECKING:
    from convrec.artifacts.record import ArtifactRecord

app = typer.Typer(
    help="Artifacts in the warehouse: what is there, where it came from, what may go.",
    no_args_is_help=True,
)

for command in (copy, gc, pin, pins, unpin):
    app.command()(command)


def _plain(header: ArtifactRecord) -> dict[str, Any]:
    return {
        "artifact_id": header.ref.artifact_id,
        "stage": header.ref.stage,
        "kind": header.ref.kind,
        "rows": header.ref.rows,
        "partial": header.ref.partial,
        "created_at": header.created_at.isoformat(timespec="seconds"),
        "seconds": round(header.seconds, 3),
        "version": header.version,
        "config": header.config,
        "inputs": header.inputs,
        "parents": header.parents,
        "figures": header.figures,
        "flow_run_id": header.producer.flow_run_id,
        "task_run_id": header.producer.task_run_id,
    }


@app.command("list")
def list_artifacts(
    kind: Annotated[str | None, typer.Option(help="Only artifacts of this kind.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs instead.")] = False,
    run: Annotated[str, typer.Option(help="Only what this run used; an id, or its start.")] = "",
    json_file: JsonFile = None,
) -> None:
    """List artifacts, oldest first; or the runs, newest first."""
    from rich.table import Column, Table

    from convrec.artifacts.runs import find_run
    from convrec.artifacts.tables import KINDS
    from convrec.errors import InputError

    if kind is not None and kind not in KINDS:
        raise InputError(f"{kind!r} is no kind of artifact; the kinds are {', '.join(KINDS)}")
    if runs:
        print_runs(open_store(), json_file)
        return
    store = open_store()
    headers = store.headers(kind)
    if run:
        used = {one.artifact_id for one in find_run(store, run).artifacts}
        headers = [header for header in headers if header.ref.artifact_id in used]
    if json_file is not None:
        write_json([_plain(header) for header in headers], json_file)
    if not headers and not is_stdout(json_file):
        typer.echo(f"no {kind or 'artifact'} was made yet in {store.location}")
    elif not is_stdout(json_file):
        table = Table(
            Column("artifact", no_wrap=True),
            "stage",
            "rows",
            "created (UTC)",
            "seconds",
            "flow run",
        )
        for header in headers:
            partial = " (partial)" if header.ref.partial else ""
            table.add_row(
                header.ref.artifact_id,
                header.ref.stage,
                f"{header.ref.rows:,}{partial}",
                f"{header.created_at:%Y-%m-%d %H:%M:%S}",
                f"{header.seconds:.1f}",
                header.producer.flow_run_id[:8],
            )
        console().print(fold_cells(table))


@app.command()
def show(
    artifact_id: ArtifactId,
    rows: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many rows to show.")] = 5,
    context: Annotated[str, typer.Option(help="Only rows of this context_id.")] = "",
    json_file: JsonFile = None,
) -> None:
    """Show an artifact's header, figures, failures and first rows."""
    import polars as pl

    store = open_store()
    header = store.header(artifact_id)
    frame = store.read(artifact_id)
    if context and "context_id" in frame.columns:
        frame = frame.filter(pl.col("context_id") == context)
    failures = store.failures(artifact_id)
    if json_file is not None:
        value = {
            **_plain(header),
            "failures": failures.to_dicts(),
            "rows_shown": frame.head(rows).to_dicts(),
        }
        write_json(value, json_file)
        if is_stdout(json_file):
            return
    shown = console()
    for key, value in _plain(header).items():
        shown.print(
            f"{key:>12}  {json.dumps(value) if isinstance(value, dict) else value}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if failures.height:
        shown.print(
            f"{failures.height} contexts failed, the first: {failures.row(0)}", markup=False
        )
    _print_rows(frame.head(rows), shown)


WIDEST = 8
"""Columns up to which rows are shown as a table; wider ones are shown one below the other."""


def _print_rows(frame: Any, shown: Any) -> None:
    import polars as pl

    if frame.width <= WIDEST:
        with pl.Config(tbl_rows=frame.height, fmt_str_lengths=60, tbl_width_chars=shown.width):
            shown.print(str(frame), markup=False, highlight=False)
        return
    width = max(map(len, frame.columns))
    for row in frame.iter_rows(named=True):
        shown.print()
        for name, value in row.items():
            if value is not None and value != "":
                shown.print(f"{name:>{width}}  {value}", markup=False, highlight=False)


@app.command()
def export(
    artifact_id: ArtifactId,
    file: Annotated[
        Path, typer.Argument(help="A .parquet, .csv, .jsonl file; a folder for a checkpoint.")
    ],
) -> None:
    """Write an artifact's rows to a file, or a checkpoint's files to a folder."""
    import shutil

    from convrec.errors import InputError

    store = open_store()
    frame = store.read(artifact_id)
    folder = store.fetch_folder(artifact_id)
    if folder.is_dir() and not file.suffix:
        if file.exists():
            raise InputError(f"{file} exists already; give the name of a folder that does not")
        shutil.copytree(folder, file)
    else:
        _write_rows(frame, file)
    typer.echo(f"{artifact_id}: {frame.height:,} rows to {file}")


def _write_rows(frame: Any, file: Path) -> None:
    import polars as pl

    from convrec.errors import InputError

    if not file.parent.is_dir():
        raise InputError(f"the folder {file.parent} does not exist; make it first")
    if file.suffix == ".parquet":
        frame.write_parquet(file)
    elif file.suffix == ".jsonl":
        frame.write_ndjson(file)
    elif file.suffix == ".csv":
        nested = [
            pl.col(name).map_elements(
                lambda value: json.dumps(value.to_list(), ensure_ascii=False),
                return_dtype=pl.String,
            )
            for name, kind in frame.schema.items()
            if isinstance(kind, pl.List)
        ]
        frame.with_columns(nested).write_csv(file)
    else:
        raise InputError(f"{file} must end in .parquet, .csv or .jsonl")


@app.command()
def lineage(
    artifact_id: ArtifactId,
    json_file: JsonFile = None,
) -> None:
    """Show what an artifact was made from, what was made from it, and which runs made them."""
    from convrec.artifacts.lineage import ancestors, descendants, direct_edges

    store = open_store()
    above = ancestors(store, artifact_id)
    below = descendants(store, artifact_id)
    if json_file is not None:
        itself = {"relation": "itself", **_plain(above[0])}
        made_from = [{"relation": "made_from", **_plain(header)} for header in above[1:]]
        others = [header for header in below if header.ref.artifact_id != artifact_id]
        used_by = [{"relation": "used_by", **_plain(header)} for header in others]
        write_json([itself, *made_from, *used_by], json_file)
        if is_stdout(json_file):
            return
    parents = {h.ref.artifact_id: list(h.parents.items()) for h in above}
    children: dict[str, list[tuple[str, str]]] = {h.ref.artifact_id: [] for h in below}
    for parent, child in direct_edges(below):
        children[parent].append(("", child))
    shown = console()
    shown.print(_tree("made from", artifact_id, above, parents, inputs=True))
    shown.print(_tree("used by", artifact_id, below, children))


def _tree(
    title: str,
    root: str,
    members: list[ArtifactRecord],
    edges: dict[str, list[tuple[str, str]]],
    *,
    inputs: bool = False,
) -> Any:
    """A tree of artifacts, the branches under one that stands above already left out."""
    from rich.markup import escape
    from rich.tree import Tree

    headers = {header.ref.artifact_id: header for header in members}
    grown: set[str] = set()

    def grow(tree: Tree, name: str, role: str) -> None:
        header = headers[name]
        run = header.producer.flow_run_id[:8] or "no flow run"
        again = " (above)" if name in grown else ""
        prefix = "" if not role or name.startswith(role) else f"{role}: "
        branch = tree.add(escape(f"{prefix}{name}  {header.ref.rows:,} rows, run {run}{again}"))
        if name in grown:
            return
        grown.add(name)
        for source, value in header.inputs.items() if inputs else ():
            branch.add(escape(f"{source}: {value[:12]} (from outside)"))
        for next_role, other in edges[name]:
            grow(branch, other, next_role)

    tree = Tree(title)
    grow(tree, root, "")
    return tree

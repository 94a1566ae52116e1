"""`convrec artifacts`: lists, shows and exports artifacts, and their lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.maintenance import ArtifactId, copy, forget, gc, pin, pins, print_runs, unpin
from convrec.cli.output import JsonFile, console, open_store, print_table, write_json
from convrec.cli.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from rich.console import Console
    from rich.tree import Tree

    from convrec.artifacts.record import ArtifactRecord

app = typer.Typer(
    help="Artifacts in the warehouse: list, show, export, trace, pin and delete them.",
    no_args_is_help=True,
)

for command in (copy, gc, pin, pins, unpin):
    app.command()(command)


def _as_json(header: ArtifactRecord) -> dict[str, Any]:
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
    run: Annotated[str, typer.Option(help="Only artifacts of this run, by id or its start.")] = "",
    json_file: JsonFile = None,
) -> None:
    """List artifacts, oldest first, or runs, newest first."""
    from rich.table import Column

    from convrec.artifacts.runs import find_run
    from convrec.artifacts.tables import KINDS
    from convrec.errors import InputError

    if kind is not None and kind not in KINDS:
        raise InputError(f"{kind!r} is not a kind of artifact; the kinds are {', '.join(KINDS)}")
    if runs:
        print_runs(open_store(), json_file)
        return
    store = open_store()
    headers = store.headers(kind)
    if run:
        used = {artifact.artifact_id for artifact in find_run(store, run).artifacts}
        headers = [header for header in headers if header.ref.artifact_id in used]
    if write_json([_as_json(header) for header in headers], json_file):
        return
    if not headers:
        typer.echo(f"{store.location} has no {kind or 'artifact'} yet")
        return
    columns = ("stage", "rows", "created (UTC)", "seconds", "flow run")
    rows = [
        (
            header.ref.artifact_id,
            header.ref.stage,
            f"{header.ref.rows:,}{' (partial)' if header.ref.partial else ''}",
            f"{header.created_at:%Y-%m-%d %H:%M:%S}",
            f"{header.seconds:.1f}",
            header.producer.flow_run_id[:8],
        )
        for header in headers
    ]
    print_table((Column("artifact", no_wrap=True), *columns), rows)


@app.command()
def show(
    artifact_id: ArtifactId,
    rows: Annotated[int, typer.Option(min=0, max=1_000_000, help="Number of rows to show.")] = 5,
    context: Annotated[str, typer.Option(help="Only rows of this context_id.")] = "",
    json_file: JsonFile = None,
) -> None:
    """Show an artifact's header, figures, failures and first rows."""
    import polars as pl

    store = open_store()
    artifact_id = store.full_id(artifact_id)
    header = store.header(artifact_id)
    frame = store.read(artifact_id)
    if context and "context_id" in frame.columns:
        frame = frame.filter(pl.col("context_id") == context)
    failures = store.failures(artifact_id)
    properties = _as_json(header)
    shown = {"failures": failures.to_dicts(), "rows_shown": frame.head(rows).to_dicts()}
    if write_json({**properties, **shown}, json_file):
        return
    out = console()
    for key, value in properties.items():
        out.print(
            f"{key:>12}  {json.dumps(value) if isinstance(value, dict) else value}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if failures.height:
        out.print(f"{failures.height} contexts failed, the first: {failures.row(0)}")
    _print_rows(frame.head(rows), out)


MAX_TABLE_COLUMNS = 8
"""Frames with more columns are printed as one line per value."""


def _print_rows(frame: pl.DataFrame, out: Console) -> None:
    import polars as pl

    if frame.width <= MAX_TABLE_COLUMNS:
        with pl.Config(tbl_rows=frame.height, fmt_str_lengths=60, tbl_width_chars=out.width):
            out.print(str(frame))
        return
    width = max(map(len, frame.columns))
    for row in frame.iter_rows(named=True):
        out.print()
        for name, value in row.items():
            if value is not None and value != "":
                out.print(f"{name:>{width}}  {value}")


@app.command()
def export(
    artifact_id: ArtifactId,
    file: Annotated[Path, typer.Argument(help="A .parquet, .csv or .jsonl file, or a new folder.")],
) -> None:
    """Export an artifact's rows to a file, or a checkpoint's files to a folder."""
    import shutil

    from convrec.errors import InputError

    store = open_store()
    artifact_id = store.full_id(artifact_id)
    frame = store.read(artifact_id)
    folder = store.fetch_folder(artifact_id)
    if folder.is_dir() and not file.suffix:
        if file.exists():
            raise InputError(f"{file} already exists; give a folder that does not exist")
        shutil.copytree(folder, file)
    else:
        # A catalog's lists are written as catalog files have them, so that the file can be loaded.
        of_catalog = store.header(artifact_id).ref.kind == "catalog"
        _write_rows(frame, file, "|".join if of_catalog else _list_as_json)
    typer.echo(f"{artifact_id}: {frame.height:,} rows to {file}")


def _list_as_json(values: list[Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def _write_rows(frame: pl.DataFrame, file: Path, list_text: Callable[[list[Any]], str]) -> None:
    """Write a file; `list_text` makes one cell of a list, where the format has no lists."""
    import polars as pl

    from convrec.errors import InputError

    if not file.parent.is_dir():
        raise InputError(f"the folder {file.parent} does not exist; create it first")
    if file.suffix == ".parquet":
        frame.write_parquet(file)
    elif file.suffix == ".jsonl":
        frame.write_ndjson(file)
    elif file.suffix == ".csv":
        nested = [
            pl.col(name).map_elements(
                lambda value: list_text(value.to_list()), return_dtype=pl.String
            )
            for name, dtype in frame.schema.items()
            if isinstance(dtype, pl.List)
        ]
        frame.with_columns(nested).write_csv(file)
    else:
        raise InputError(
            f"{file} has an unknown format; give a name that ends in .parquet, .csv or .jsonl"
        )


@app.command()
def lineage(artifact_id: ArtifactId, json_file: JsonFile = None) -> None:
    """Show the ancestors and descendants of an artifact, and the runs that made them."""
    from convrec.artifacts.lineage import ancestors, descendants, direct_edges

    store = open_store()
    artifact_id = store.full_id(artifact_id)
    above = ancestors(store, artifact_id)
    below = descendants(store, artifact_id)
    relations = [("itself", above[0]), *(("made_from", header) for header in above[1:])]
    relations += [("used_by", h) for h in below if h.ref.artifact_id != artifact_id]
    if write_json([{"relation": name, **_as_json(h)} for name, h in relations], json_file):
        return
    parents = {h.ref.artifact_id: list(h.parents.items()) for h in above}
    children: dict[str, list[tuple[str, str]]] = {h.ref.artifact_id: [] for h in below}
    for parent, child in direct_edges(below):
        children[parent].append(("", child))
    out = console()
    out.print(_tree("made from", artifact_id, above, parents, with_inputs=True))
    out.print(_tree("used by", artifact_id, below, children))


def _tree(
    title: str,
    root: str,
    members: list[ArtifactRecord],
    edges: dict[str, list[tuple[str, str]]],
    *,
    with_inputs: bool = False,
) -> Tree:
    """A tree of artifacts. An artifact that appears again has no branches there."""
    from rich.tree import Tree

    headers = {header.ref.artifact_id: header for header in members}
    expanded: set[str] = set()

    def add_branch(tree: Tree, name: str, role: str) -> None:
        header = headers[name]
        run = header.producer.flow_run_id[:8] or "no flow run"
        above = " (above)" if name in expanded else ""
        prefix = "" if not role or name.startswith(role) else f"{role}: "
        branch = tree.add(f"{prefix}{name}  {header.ref.rows:,} rows, run {run}{above}")
        if name in expanded:
            return
        expanded.add(name)
        for source, value in header.inputs.items() if with_inputs else ():
            branch.add(f"{source}: {value[:12]} (from outside)")
        for next_role, other in edges[name]:
            add_branch(branch, other, next_role)

    tree = Tree(title)
    add_branch(tree, root, "")
    return tree


app.command()(forget)
app.command()(trace)

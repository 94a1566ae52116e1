"""`convrec artifacts copy`: copies a warehouse file into a lake."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from convrec.cli.output import JsonFile, write_json
from convrec.errors import InputError


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

"""`convrec artifacts copy`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from convrec.cli.output import JsonFile, is_stdout, write_json
from convrec.errors import InputError


def copy(
    to: Annotated[str, typer.Option("--to", help="The lake, as CONVREC_WAREHOUSE names it.")],
    data: Annotated[
        str, typer.Option(help="A folder or s3://bucket/prefix, where the lake is new.")
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Copy the warehouse file in CONVREC_HOME into a lake, and compare; can be run again."""
    from convrec.artifacts.ducklake.connection import ADDRESS_PREFIX
    from convrec.artifacts.store import Store
    from convrec.config import home
    from convrec.llm.response_store import ResponseStore
    from convrec.operations.migrate_to_ducklake import copy_warehouse

    if not to.startswith(ADDRESS_PREFIX):
        raise InputError(f'--to {to!r} names no lake; give "{ADDRESS_PREFIX}host=HOST dbname=NAME"')
    if not (home() / "warehouse.duckdb").exists():
        raise InputError(f"there is no warehouse file in {home()}; set CONVREC_HOME")
    source = Store(home(), ("", ""))
    ResponseStore(source).recover()
    target = Store(home(), (to, data))
    copied: dict[str, Any] = copy_warehouse(source, target)
    if json_file is not None:
        write_json({"to": target.location, "copied": copied}, json_file)
    if not is_stdout(json_file):
        for name, count in copied.items():
            typer.echo(f"{count:>12,}  {name}")
        typer.echo(f"Every row and file of {source.location} is in {target.location}.")

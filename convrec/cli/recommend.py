"""`convrec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convrec.cli.output import JsonFile, open_store, write_json
from convrec.errors import InputError


def recommend(
    text: Annotated[str, typer.Argument(help="The request, in the user's words.")],
    checkpoint: Annotated[str, typer.Option(help="Artifact id of a checkpoint.")],
    catalog: Annotated[
        Path | None,
        typer.Option(help="Catalog file to use instead of the one that the checkpoint has."),
    ] = None,
    n: Annotated[
        int | None, typer.Option(min=1, help="Number of items; default: as trained.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Recommend N different items from the catalog, none of them named in TEXT."""
    from convrec.serving.recommend import recommend_list

    if not text.strip():
        raise InputError("the text is empty; write what to recommend for")
    lines = recommend_list(open_store(), checkpoint, text, catalog=catalog, n=n)
    if not write_json({"checkpoint": checkpoint, "items": lines}, json_file):
        for rank, line in enumerate(lines, start=1):
            typer.echo(f"{rank}. {line}")

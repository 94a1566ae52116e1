"""`convrec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convrec.cli.output import JsonFile, takes_stdout, write_json
from convrec.errors import InputError


def recommend(
    text: Annotated[str, typer.Argument(help="What somebody asks for, in their words.")],
    checkpoint: Annotated[str, typer.Option(help="Artifact id of a checkpoint.")],
    catalog: Annotated[
        Path | None, typer.Option(help="Another catalog than the checkpoint was trained with.")
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="Items; default: as trained.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Recommend from a checkpoint: N lines, all in the catalog, none twice, none named in TEXT."""
    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.serving.recommend import recommend_list

    if not text.strip():
        raise InputError("the text is empty; write what somebody asks for")
    lines = recommend_list(Store(home()), checkpoint, text, catalog=catalog, n=n)
    if json_file is not None:
        write_json({"checkpoint": checkpoint, "items": lines}, json_file)
    if not takes_stdout(json_file):
        for rank, line in enumerate(lines, start=1):
            typer.echo(f"{rank}. {line}")

"""`convrec export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convrec.cli.output import open_store


def export(
    checkpoint: Annotated[str, typer.Argument(help="Id of a checkpoint, or a model folder.")],
    folder: Annotated[Path, typer.Argument(help="Folder to create; must be new or empty.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge a LoRA adapter into its base model.")
    ] = False,
) -> None:
    """Export a checkpoint as a plain transformers folder with its model card."""
    from convrec.serving.export import (
        TOKENIZER_WARNING,
        auto_tokenizer_agrees,
        export_checkpoint,
    )

    exported = export_checkpoint(open_store(), checkpoint, folder, merge=merge)
    files = sorted(exported.iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    typer.echo(f"{exported}: {', '.join(file.name for file in files)} ({size:,.1f} MB)")
    if not auto_tokenizer_agrees(exported):
        typer.echo(TOKENIZER_WARNING, err=True)

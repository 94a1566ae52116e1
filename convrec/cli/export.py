"""`convrec export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    checkpoint: Annotated[str, typer.Argument(help="Id of a checkpoint, or a model's folder.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; must not hold anything.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge a LoRA adapter into its base model.")
    ] = False,
) -> None:
    """Write a checkpoint as a plain transformers folder with its model card."""
    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.serving.export import OWN_TOKENIZER, auto_reads_alike, export_checkpoint

    made = export_checkpoint(Store(home()), checkpoint, folder, merge=merge)
    files = sorted(made.iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    typer.echo(f"{made}: {', '.join(file.name for file in files)} ({size:,.1f} MB)")
    if not auto_reads_alike(made):
        typer.echo(OWN_TOKENIZER, err=True)

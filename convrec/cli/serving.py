"""`convrec recommend` and `convrec export`: use a trained checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from convrec.cli.output import JsonFile, open_store, write_json
from convrec.errors import InputError


def recommend(
    text: Annotated[str, typer.Argument(help="The request, in the user's words.")],
    checkpoint: Annotated[str, typer.Option(help="Id of a checkpoint, or its beginning.")],
    catalog: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Catalog file, or published catalog (`catalog:NAME@VERSION`), to use instead of "
            "the one that the checkpoint has.",
        ),
    ] = "",
    n: Annotated[
        int | None, typer.Option(min=1, help="Number of items; default: as trained.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Recommend N different items from the catalog, none of them named in TEXT.

    Notes on how TEXT was understood go to stderr.
    """
    from convrec.serving.recommend import recommend as recommend_for

    if not text.strip():
        raise InputError("the text is empty; write what to recommend for")
    store = open_store()
    checkpoint = store.full_id(checkpoint)
    found = recommend_for(store, checkpoint, text, catalog=catalog, n=n)
    if found.seen:
        typer.echo(f"seen: {'; '.join(found.seen)}", err=True)
    if found.unknown_words:
        typer.echo(f"not in the training data: {', '.join(found.unknown_words)}", err=True)
    if not write_json({"checkpoint": checkpoint, **asdict(found)}, json_file):
        for rank, line in enumerate(found.items, start=1):
            typer.echo(f"{rank}. {line}")


def export(
    checkpoint: Annotated[str, typer.Argument(help="Id of a checkpoint, or a model folder.")],
    folder: Annotated[Path, typer.Argument(help="Folder to create; must be new or empty.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge a LoRA adapter into its base model.")
    ] = False,
    push: Annotated[
        str,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload the folder to the Hugging Face Hub; needs HF_TOKEN or `hf auth login`.",
        ),
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone read the uploaded model.")
    ] = False,
) -> None:
    """Export a checkpoint as a plain transformers folder with its model card."""
    from convrec.models.plain_tokenizer import auto_tokenizer_agrees
    from convrec.serving.export import TOKENIZER_WARNING, export_checkpoint
    from convrec.serving.push import check_push_name, push_folder

    if public and not push:
        raise InputError("--public says who may read an uploaded model; give --push OWNER/NAME too")
    if push:
        check_push_name(push)

    exported = export_checkpoint(open_store(), checkpoint, folder, merge=merge)
    files = sorted(exported.iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    typer.echo(f"{exported}: {', '.join(file.name for file in files)} ({size:,.1f} MB)")
    if not auto_tokenizer_agrees(exported):
        typer.echo(TOKENIZER_WARNING, err=True)
    if push:
        typer.echo(f"uploaded to {push_folder(exported, push, public=public)}")

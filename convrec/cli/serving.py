"""`convrec recommend`, `convrec serve` and `convrec export`: use a trained checkpoint."""

from __future__ import annotations

import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convrec.cli.output import JsonFile, open_store, write_json
from convrec.errors import InputError

if TYPE_CHECKING:
    from convrec.serving.endpoint.engine import Engine


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


class EngineName(StrEnum):
    """What computes the lists."""

    embedded = "embedded"
    vllm = "vllm"


def serve(
    checkpoint: Annotated[str, typer.Argument(help="Id of a checkpoint, or its beginning.")],
    catalog: Annotated[
        str,
        typer.Option(
            metavar="CATALOG",
            help="Published catalog (`catalog:NAME` follows its newest version) or catalog file; "
            "default: that of the checkpoint.",
        ),
    ] = "",
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free port.")] = 8000,
    engine: Annotated[
        EngineName, typer.Option(help="The model in this process, or a vLLM server.")
    ] = EngineName.embedded,
    vllm_url: Annotated[
        str, typer.Option(help="Base URL of the vLLM server, ending in /v1.")
    ] = "http://127.0.0.1:8001/v1",
    batch: Annotated[int, typer.Option(min=1, max=256, help="Requests answered together.")] = 16,
    window: Annotated[
        float, typer.Option(min=0, max=1000, help="Milliseconds that a batch waits to fill.")
    ] = 10.0,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests that may wait; more get status 429.")
    ] = 64,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a request may take.")
    ] = 60.0,
) -> None:
    """Serve lists to OpenAI clients: a conversation in, ranked items of the catalog out.

    If CONVREC_SERVE_KEY is set, clients must send it as their API key.
    """
    from convrec.serving.endpoint.app import Endpoint, Limits
    from convrec.serving.endpoint.server import check_host, listen
    from convrec.serving.endpoint.server import serve as serve_endpoint

    key = os.environ.get("CONVREC_SERVE_KEY", "").strip()
    check_host(host, key)
    store = open_store()
    checkpoint = store.full_id(checkpoint)
    listener = listen(host, port)
    if engine is EngineName.vllm:
        from convrec.serving.endpoint.vllm_engine import VllmEngine

        vllm_key = os.environ.get("CONVREC_VLLM_KEY", "")
        made: Engine = VllmEngine(store, checkpoint, vllm_url, catalog, key=vllm_key)
    else:
        from convrec.serving.endpoint.engine import EmbeddedEngine

        made = EmbeddedEngine(store, checkpoint, catalog)
    limits = Limits(batch=batch, window=window / 1000, waiting=queue, seconds=timeout)
    threads = VLLM_REQUESTS if engine is EngineName.vllm else 1
    endpoint = Endpoint(made, limits, key=key, threads=threads)
    address = f"http://{host}:{listener.getsockname()[1]}/v1"
    described = (
        f"{address}: {checkpoint}, catalog {made.catalog.name} ({len(made.catalog):,} items)"
    )
    serve_endpoint(endpoint, listener, lambda: typer.echo(described))


VLLM_REQUESTS = 32
"""Requests that are sent to a vLLM server at a time; it batches them itself."""


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

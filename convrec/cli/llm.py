"""`convrec llm`: the ledger, batches and the demo server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import (
    Assignments,
    JsonFile,
    console,
    fold_cells,
    open_store,
    print_table,
    write_json,
)

if TYPE_CHECKING:
    from convrec.llm.batch.store import BatchRecord
    from convrec.llm.response_store import ResponseStore

app = typer.Typer(
    no_args_is_help=True, help="LLM requests: ledger, imports, batches, and a demo server."
)

OPTIONAL_COLUMNS = ("cached_tokens", "reasoning_tokens")
"""Columns of the ledger that are shown only if a value is not 0."""


@app.command("serve-demo")
def serve_demo(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 means any free port.")] = 8800,
    faults: Annotated[
        str,
        typer.Option(
            help="Faults to simulate, as NAME:SHARE,...: 429, 500, drop, timeout, truncate, "
            "garbage, empty; for batches batch_expired, batch_failed, batch_cancelled."
        ),
    ] = "",
    latency_ms: Annotated[
        float, typer.Option(min=0, help="Milliseconds before each response.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 0,
    log: Annotated[
        Path | None,
        typer.Option(help="Append one JSON line per request, with its key and outcome."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder that keeps files and batches.")
    ] = None,
    batch_seconds: Annotated[float, typer.Option(min=0, help="Duration of a batch.")] = 2.0,
    rpm: Annotated[int | None, typer.Option(min=1, help="Limit of requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, help="Limit of tokens per minute.")] = None,
) -> None:
    """Serve the simulated teacher and judge through the OpenAI API, until Ctrl-C.

    Example: --faults 429:0.1,drop:0.05
    """
    from convrec.demo.faults import Faults, Limits
    from convrec.demo.server import serve

    serve(
        port,
        lambda url: print(url, flush=True),
        log=log,
        faults=Faults.parse(faults, latency_ms=latency_ms, seed=seed),
        state=state,
        batch_seconds=batch_seconds,
        limits=Limits(rpm, tpm) if rpm or tpm else None,
    )


@app.command()
def ledger(
    by: Annotated[
        str, typer.Option(help="Columns to group by: run, stage, model, day, origin.")
    ] = "run,stage,model,day,origin",
    json_file: JsonFile = None,
) -> None:
    """Show requests, tokens and US dollars that were billed."""
    from convrec.llm.ledger import ledger_rows, sum_rows

    rows = sum_rows(ledger_rows(_open_responses().store), by)
    if not write_json({"rows": rows}, json_file):
        _print_ledger(rows)


@app.command()
def batches(
    cancel: Annotated[
        str | None, typer.Option(metavar="KEY", help="Cancel this batch; its responses are kept.")
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Free the requests of a batch that the endpoint lost."),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Profile whose endpoint has the batch, for --cancel.")
    ] = "reddit-v2",
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Show the batches of the Batch API, open and ended."""
    from convrec.config import load, parse_overrides
    from convrec.llm.batch import BatchStore, cancel_batch, release_batch

    responses = _open_responses()
    if cancel is not None:
        cancel_batch(cancel, load(profile, parse_overrides(assignments or [])), responses)
    if release is not None:
        release_batch(release, responses)
    records = BatchStore(responses.store).records()
    if not write_json({"batches": [asdict(record) for record in records]}, json_file):
        _print_batches(records)


def _open_responses() -> ResponseStore:
    """The stored responses, including those that a crashed run left in the spool."""
    from convrec.llm.response_store import recovered_responses

    return recovered_responses(open_store())


def _print_ledger(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    if not rows:
        console().print("The ledger is empty: no request was billed yet.")
        return
    columns = [
        name for name in rows[0] if name not in OPTIONAL_COLUMNS or any(row[name] for row in rows)
    ]
    table = Table(*(name.replace("_", " ") for name in columns))
    for row in rows:
        table.add_row(*(_format_cell(name, row[name]) for name in columns))
    table.add_section()
    blank = [""] * (len(columns) - 1)
    table.add_row("total", *blank[1:], f"{sum(row['usd'] for row in rows):.4f}")
    console().print(fold_cells(table))


def _format_cell(name: str, value: object) -> str:
    if name == "run":
        return str(value)[:8]
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_batches(records: list[BatchRecord]) -> None:
    if not records:
        console().print("There are no batches yet.")
        return
    columns = ("batch", "stage", "state", "requests", "endpoint id", "note", "created")
    rows = [
        (
            record.batch_key,
            record.stage,
            record.state,
            f"{record.requests:,}",
            record.batch_id,
            record.note,
            f"{record.created_at:%Y-%m-%d %H:%M}",
        )
        for record in records
    ]
    print_table(columns, rows)

"""`convrec llm`: the demo's server, what was spent, imports and batches."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import Assignments, JsonFile, console, fold_cells, is_stdout, write_json

if TYPE_CHECKING:
    from convrec.llm.batch.store import BatchRecord
    from convrec.llm.response_store import ResponseStore

app = typer.Typer(
    no_args_is_help=True, help="Teacher and judge: the ledger, imports, batches, a demo server."
)

RARE = ("cached_tokens", "reasoning_tokens")
"""Columns of the ledger that are shown where one of them holds something."""


@app.command("serve-demo")
def serve_demo(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 8800,
    faults: Annotated[
        str,
        typer.Option(
            help="Misbehave: NAME:SHARE,... of 429, 500, drop, timeout, truncate, "
            "garbage, empty; of batches batch_expired, batch_failed, batch_cancelled."
        ),
    ] = "",
    latency_ms: Annotated[
        float, typer.Option(min=0, help="Milliseconds before each answer.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 0,
    log: Annotated[
        Path | None, typer.Option(help="Append one JSON line a request: its key and outcome.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder of files and batches; they outlive the server."),
    ] = None,
    batch_seconds: Annotated[float, typer.Option(min=0, help="Seconds that a batch takes.")] = 2.0,
    rpm: Annotated[
        int | None, typer.Option(min=1, help="Let through so many requests a minute.")
    ] = None,
    tpm: Annotated[
        int | None, typer.Option(min=1, help="Let through so many tokens a minute.")
    ] = None,
) -> None:
    """Serve the simulated teacher and judge, OpenAI-compatible, until Ctrl-C.

    For example: --faults 429:0.1,drop:0.05
    """
    from convrec.demo.server import Faults, Limits, serve

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
        str, typer.Option(help="Columns to sum by, of run, stage, model, day, origin.")
    ] = "run,stage,model,day,origin",
    json_file: JsonFile = None,
) -> None:
    """Show what was sent and billed: requests, tokens and US dollars."""
    from convrec.llm.ledger import ledger_rows, sum_rows

    rows = sum_rows(ledger_rows(_answers().store), by)
    if json_file is not None:
        write_json({"rows": rows}, json_file)
    if not is_stdout(json_file):
        _print_ledger(rows)


@app.command()
def batches(
    cancel: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="End this batch; what it did is kept."),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Give up a batch that the endpoint lost: send anew."),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Whose endpoint to ask, for --cancel.")
    ] = "reddit-v2",
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Show the batches of the Batch API: submitted, ended, and on the way."""
    from convrec.llm.batch import BatchStore, cancel_batch, release_batch

    answers = _answers()
    if cancel is not None:
        from convrec.config import load, parse_overrides

        cancel_batch(cancel, load(profile, parse_overrides(assignments or [])), answers)
    if release is not None:
        release_batch(release, answers)
    rows = BatchStore(answers.store).records()
    if json_file is not None:
        write_json({"batches": [asdict(row) for row in rows]}, json_file)
    if not is_stdout(json_file):
        _print_batches(rows)


def _answers() -> ResponseStore:
    """The stored answers, with what a crashed run left in the spool."""
    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.llm.response_store import ResponseStore

    return ResponseStore(Store(home()))


def _print_ledger(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    if not rows:
        console().print("Nothing was sent yet.")
        return
    shown = [name for name in rows[0] if name not in RARE or any(row[name] for row in rows)]
    table = Table(*(name.replace("_", " ") for name in shown))
    for row in rows:
        table.add_row(*(_cell(name, row[name]) for name in shown))
    table.add_section()
    blank = [""] * (len(shown) - 1)
    table.add_row("total", *blank[1:], f"{sum(row['usd'] for row in rows):.4f}")
    console().print(fold_cells(table))


def _cell(name: str, value: object) -> str:
    if name == "run":
        return str(value)[:8]
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_batches(rows: list[BatchRecord]) -> None:
    from rich.table import Table

    if not rows:
        console().print("No batch was made yet.")
        return
    table = Table("batch", "stage", "state", "requests", "at the endpoint", "note", "made")
    for row in rows:
        made = f"{row.created_at:%Y-%m-%d %H:%M}"
        cells = (row.batch_key, row.stage, row.state, f"{row.requests:,}", row.batch_id, row.note)
        table.add_row(*cells, made)
    console().print(fold_cells(table))

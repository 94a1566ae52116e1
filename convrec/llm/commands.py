"""`convrec llm`: the demo's server, and what was spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convrec.output import JsonFile, console, takes_stdout, write_json

if TYPE_CHECKING:
    from convrec.llm.ledger import LedgerRow

app = typer.Typer(no_args_is_help=True, help="The LLM endpoint: a demo server, and the ledger.")


@app.command("serve-demo")
def serve_demo(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 8800,
    faults: Annotated[
        str, typer.Option(help="Misbehave: shares of 429, 500, drop, garbage, truncate, empty.")
    ] = "",
    latency_ms: Annotated[float, typer.Option(help="Milliseconds before each answer.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 0,
    log: Annotated[
        Path | None, typer.Option(help="Append one JSON line a request: its digest and outcome.")
    ] = None,
) -> None:
    """Serve the simulated teacher and judge, OpenAI-compatible, until Ctrl-C.

    For example: --faults 429:0.1,drop:0.05
    """
    from convrec.llm.server import Faults, serve

    mischief = Faults.parse(faults, latency_ms=latency_ms, seed=seed)
    serve(port, mischief, log, lambda url: print(url, flush=True))


@app.command()
def ledger(json_file: JsonFile = None) -> None:
    """Show what was sent and billed, by run, stage and model."""
    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.llm.answers import AnswerStore
    from convrec.llm.ledger import ledger_rows

    store = Store(home())
    AnswerStore(store)  # saves what a crashed run left in the spool
    rows = ledger_rows(store)
    if json_file is not None:
        write_json({"rows": rows}, json_file)
    if not takes_stdout(json_file):
        _print_table(rows)


def _print_table(rows: list[LedgerRow]) -> None:
    from rich.table import Table

    if not rows:
        console().print("Nothing was sent yet.")
        return
    table = Table("run", "stage", "model", "requests", "prompt tokens", "completion tokens", "USD")
    for row in rows:
        table.add_row(
            row["run"],
            row["stage"],
            row["model"],
            f"{row['requests']:,}",
            f"{row['prompt_tokens']:,}",
            f"{row['completion_tokens']:,}",
            f"{row['usd']:.4f}",
        )
    table.add_section()
    table.add_row("total", "", "", "", "", "", f"{sum(row['usd'] for row in rows):.4f}")
    console().print(table)

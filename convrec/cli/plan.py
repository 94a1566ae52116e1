"""`convrec plan`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from convrec.cli.output import Assignments, JsonFile, ProfileName, console, print_table, write_json

if TYPE_CHECKING:
    from convrec.operations.durations import Duration


def plan(profile: ProfileName, assignments: Assignments = None, json_file: JsonFile = None) -> None:
    """Show what a run of PROFILE would do and cost; nothing is executed."""
    from convrec.artifacts import Store
    from convrec.catalog.selection import load_with_catalog, unpublished_edit
    from convrec.config import has_warehouse, home, parse_overrides
    from convrec.models.identity import base_error
    from convrec.operations.durations import estimate_durations
    from convrec.operations.feasibility import plan_warnings
    from convrec.pipeline.plan import make_plan

    config = load_with_catalog(profile, parse_overrides(assignments or []))
    for note in filter(None, (unpublished_edit(config), base_error(config.model.base))):
        typer.echo(f"convrec: {note}", err=True)
    with tempfile.TemporaryDirectory() as empty:
        store = Store(home() if has_warehouse() else Path(empty))
        run_plan = make_plan(config, store)
        if write_json(run_plan, json_file):
            return
        durations = estimate_durations(run_plan, config, store)
    rows = [
        (x["stage"], x["kind"], x["state"], f"{x['contexts']:,}" if x["contexts"] else "")
        for x in run_plan["stages"]
    ]
    print_table(("stage", "kind", "state", "contexts"), rows)
    _print_costs(run_plan)
    _print_durations(durations)
    for warning in plan_warnings(run_plan, config, durations):
        typer.echo(f"warning: {warning}")


def _print_costs(run_plan: Mapping[str, Any]) -> None:
    """Print the requests, tokens and dollars of each role."""
    from convrec.pipeline.cost import most_requests, requests_text

    for role, figures in run_plan["llm"].items():
        if figures["requests"] is None:
            typer.echo(f"{role}: unknown until the data are downloaded, which `convrec run` does")
            continue
        console().print(
            f"{role}: {requests_text(figures['requests'], most_requests(figures))} requests to "
            "send, about "
            f"{figures['prompt_tokens']:,} prompt and {figures['completion_tokens']:,} completion "
            f"tokens, {figures['usd_low']:.4f} to {figures['usd_high']:.4f} USD"
        )
        if assumed := figures.get("assumed_titles"):
            typer.echo(
                f"{role}: {assumed:,} of these requests are assumed, for titles that the teacher "
                "has yet to name and the catalog lacks"
            )
        if most_requests(figures) > figures["requests"]:
            typer.echo(f"{role}: items without a description may become candidates of more lists")


def _print_durations(durations: Sequence[Duration]) -> None:
    """Print how long the long parts take, and all of them together."""
    from convrec.operations.durations import format_seconds

    if not durations:
        return
    total = format_seconds(sum(part.seconds for part in durations))
    typer.echo(f"time: about {total}, and seconds for what is not listed")
    for part, seconds, basis in durations:
        typer.echo(f"  {part:<12} {format_seconds(seconds):<10} {basis}")

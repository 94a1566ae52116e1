"""`convrec llm import` and `convrec llm reparse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from convrec.cli.output import Assignments, JsonFile, ProfileName, console, takes_stdout, write_json
from convrec.errors import InputError


def import_answers(
    file: Annotated[Path, typer.Argument(help="Output file of the OpenAI Batch API, JSON lines.")],
    profile: Annotated[
        str, typer.Option(help="Whose requests the lines answer; needed for files made elsewhere.")
    ] = "",
    stage: Annotated[str, typer.Option(help="recommend (teacher) or reflect (judge).")] = "",
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Take answers that were paid for elsewhere, at no cost in the ledger.

    A line is bound to a request by `custom_id`: our request key, or with --profile the id of the
    conversation.
    """
    from convrec.artifacts import Store
    from convrec.config import home, load, parse_overrides
    from convrec.pipeline.reparse import import_file

    if stage not in ("", "recommend", "reflect"):
        raise InputError(f"--stage {stage!r} asks no LLM; allowed are recommend and reflect")
    config = load(profile, parse_overrides(assignments or [])) if profile else None
    done = import_file(file, config, stage, Store(home()))
    figures = {
        "imported": sum(one.imported for one in done),
        "known": sum(one.bound - one.imported - one.unusable for one in done),
        "unusable": sum(one.unusable for one in done),
        "lines": done[0].lines,
        "unreadable": list(done[0].unreadable),
        "unknown": done[0].lines - sum(one.bound for one in done),
    }
    if json_file is not None:
        write_json(figures, json_file)
    if not takes_stdout(json_file):
        typer.echo(
            "{imported} answers imported, {known} were known before, {unusable} unusable; "
            "{unknown} of {lines} lines are for no request of ours".format(**figures)
        )
        if numbers := done[0].unreadable:
            typer.echo(f"{len(numbers)} more cannot be read, the first is line {numbers[0]}")


def reparse(
    profile: ProfileName,
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Read the stored answers of PROFILE again, as after a change of the parser; sends nothing."""
    from rich.table import Table

    from convrec.artifacts import Store
    from convrec.config import home, load, parse_overrides
    from convrec.pipeline.reparse import read_again

    readings = read_again(load(profile, parse_overrides(assignments or [])), Store(home()))
    rows: list[dict[str, Any]] = [vars(reading) for reading in readings]
    if json_file is not None:
        write_json({"stages": rows}, json_file)
    if takes_stdout(json_file):
        return
    table = Table("stage", "state", "contexts", "failed", "changed", "artifact")
    for r in readings:
        figures = (f"{number:,}" for number in (r.contexts, r.failed, r.changed))
        table.add_row(r.stage, r.state, *figures, r.artifact_id)
    shown = console()
    shown.print(table)
    if any(reading.state == "unversioned" for reading in readings):
        shown.print(
            "The parser changed but its step's version did not: raise `version` of that Step, or "
            f"run `convrec run {profile} --refresh recommend`."
        )
    elif any(reading.state == "new" for reading in readings):
        shown.print(f"`convrec run {profile}` goes on from here; no answer is bought again.")

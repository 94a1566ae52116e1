"""`convrec llm import` and `convrec llm reparse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convrec.cli.output import (
    Assignments,
    JsonFile,
    ProfileName,
    console,
    open_store,
    print_table,
    write_json,
)
from convrec.errors import InputError


def import_responses(
    file: Annotated[Path, typer.Argument(help="Output file of the OpenAI Batch API (JSON Lines).")],
    profile: Annotated[
        str, typer.Option(help="Profile whose requests the lines answer; needed for foreign files.")
    ] = "",
    stage: Annotated[str, typer.Option(help="recommend (teacher) or reflect (judge).")] = "",
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Import LLM responses that were paid for elsewhere, at no cost in the ledger.

    A line belongs to a request by `custom_id`: our request key or, with --profile, the id of the
    conversation.
    """
    from convrec.config import load, parse_overrides
    from convrec.pipeline.reparse import import_file

    if stage not in ("", "recommend", "reflect"):
        raise InputError(f"--stage {stage!r} has no LLM requests. Use recommend or reflect")
    config = load(profile, parse_overrides(assignments or [])) if profile else None
    results = import_file(file, config, stage, open_store())
    lines, unreadable = results[0].lines, results[0].unreadable
    figures = {
        "imported": sum(result.imported for result in results),
        "known": sum(result.matched - result.imported - result.unusable for result in results),
        "unusable": sum(result.unusable for result in results),
        "lines": lines,
        "unreadable": list(unreadable),
        "unknown": lines - sum(result.matched for result in results),
    }
    if write_json(figures, json_file):
        return
    typer.echo(
        "{imported} responses imported, {known} already stored, {unusable} unusable; "
        "{unknown} of {lines} lines match no request".format(**figures)
    )
    if unreadable:
        typer.echo(f"{len(unreadable)} more are unreadable, the first in line {unreadable[0]}")


def reparse(
    profile: ProfileName, assignments: Assignments = None, json_file: JsonFile = None
) -> None:
    """Parse the stored responses of PROFILE again, after a change of the parser; sends nothing."""
    from convrec.config import load, parse_overrides
    from convrec.pipeline.reparse import reparse_responses

    results = reparse_responses(load(profile, parse_overrides(assignments or [])), open_store())
    if write_json({"stages": [vars(result) for result in results]}, json_file):
        return
    rows = [
        (x.stage, x.state, f"{x.contexts:,}", f"{x.failed:,}", f"{x.changed:,}", x.artifact_id)
        for x in results
    ]
    print_table(("stage", "state", "contexts", "failed", "changed", "artifact"), rows)
    states = {result.state for result in results}
    if "unversioned" in states:
        console().print(
            "The parser changed but the version of its Step did not. Raise `version`, or run "
            f"`convrec run {profile} --refresh recommend`."
        )
    elif "new" in states:
        console().print(f"Continue with `convrec run {profile}`; no response is bought again.")

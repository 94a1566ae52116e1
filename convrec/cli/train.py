"""`convrec train plan` and `convrec train check`: what a training needs, before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import Assignments, JsonFile, ProfileName, console, is_stdout, write_json
from convrec.errors import ConvrecError, InputError

if TYPE_CHECKING:
    from convrec.operations.sizing.plan import StagePlan

app = typer.Typer(help="Plan a training and check its settings; trains nothing.")

PART_LABELS = {"again": "recomputation"}
"""Labels of parts of memory in the table that differ from their names in JSON."""


@app.command()
def plan(
    model: Annotated[
        str, typer.Option(help="A model whose configuration ships, or a folder with a config.json.")
    ],
    gpus: Annotated[str, typer.Option(help="Number and name of the GPUs, such as 8xH100.")],
    profile: Annotated[
        str, typer.Option(help="Profile with the lengths, batch and steps to plan for.")
    ] = "reddit-v2",
    rows: Annotated[int, typer.Option(min=1, help="Number of demonstrations for sft.")] = 100_000,
    assignments: Assignments = None,
    write: Annotated[
        Path | None, typer.Option(help="Folder to write each stage's accelerate file to.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Estimate memory by part, batch, steps and hours of sft and rank_grpo; needs no GPU."""
    from convrec.config import load, parse_overrides
    from convrec.operations.sizing.gpus import parse_machine
    from convrec.operations.sizing.plan import plan_stage
    from convrec.training.memory.model_shape import model_shape

    config = load(profile, parse_overrides(assignments or []))
    machine, shape = parse_machine(gpus), model_shape(model)
    stages: list[dict[str, Any]] = []
    for stage in ("sft", "rank_grpo"):
        try:
            stages.append(_plan_entry(plan_stage(stage, shape, machine, config, rows)))
        except InputError as error:
            stages.append({"stage": stage, "fits": False, "reason": str(error)})
    if not any(entry["fits"] for entry in stages):
        raise InputError(stages[0]["reason"])
    values = {
        "model": model,
        "parameters": shape.parameters,
        "gpus": {"name": machine.name, "count": machine.count, "gb": machine.memory / 1e9},
        "rows": rows,
        "stages": stages,
    }
    _print_plan(values, stderr=is_stdout(json_file))
    if write is not None:
        _write_launch_files(write, values, machine.count)
    write_json(values, json_file)


@app.command()
def check(
    profile: ProfileName, assignments: Assignments = None, json_file: JsonFile = None
) -> None:
    """Check the base model, and how sft and rank_grpo would be launched, vLLM included.

    Settings that cannot work exit with code 2. What this machine lacks is listed.
    """
    from convrec.config import load, parse_overrides
    from convrec.operations.sizing.preflight import check_training

    config = load(profile, parse_overrides(assignments or []))
    findings = check_training(config)
    out = console(stderr=is_stdout(json_file))
    for finding in findings:
        out.print(f"{finding.part}: {finding.state}, {finding.text}", soft_wrap=True)
    write_json([finding._asdict() for finding in findings], json_file)


def _plan_entry(plan: StagePlan) -> dict[str, Any]:
    parts = {name: round(value / 1e9, 2) for name, value in plan.memory.parts().items()}
    return {
        "stage": plan.stage,
        "fits": True,
        "parallel": plan.parallel,
        "settings": plan.settings,
        "gb": {**parts, "peak": round(plan.memory.peak / 1e9, 2)},
        "steps": plan.steps,
        "seconds_a_step": {name: round(value, 3) for name, value in plan.seconds.items()},
        "hours": round(plan.hours, 2),
    }


def _print_plan(values: dict[str, Any], *, stderr: bool) -> None:
    from rich.table import Table

    out, gpus = console(stderr=stderr), values["gpus"]
    fitting = [entry for entry in values["stages"] if entry["fits"]]
    table = Table(title=f"{values['model']} on {gpus['count']}x{gpus['name']}, GB on each GPU")
    table.add_column("part")
    for entry in fitting:
        table.add_column(f"{entry['stage']} ({entry['parallel']})", justify="right")
    for part in fitting[0]["gb"]:
        label = PART_LABELS.get(part, part)
        table.add_row(label, *(f"{entry['gb'][part]:.2f}" for entry in fitting))
    table.add_row("steps", *(f"{entry['steps']:,}" for entry in fitting))
    table.add_row("hours", *(f"{entry['hours']:.1f}" for entry in fitting))
    out.print(table)
    for entry in values["stages"]:
        if entry["fits"]:
            options = " ".join(f"--set {key}={value}" for key, value in entry["settings"].items())
            out.print(f"{entry['stage']}: {options}", soft_wrap=True)
        else:
            out.print(f"{entry['stage']}: {entry['reason']}", soft_wrap=True)
    out.print(
        "an estimate; docs/internals/scale.md has the formula and its assumptions", style="dim"
    )


def _write_launch_files(folder: Path, values: dict[str, Any], gpus: int) -> None:
    """Write a file for `accelerate launch --config_file` for each stage that fits."""
    from convrec.config import Config
    from convrec.training.launch_settings import launch_settings

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in values["stages"]:
            if entry["fits"]:
                train = {"parallel": entry["parallel"], "processes": gpus}
                settings = launch_settings(Config.model_validate({"train": train}), gpus)
                path = folder / f"{entry['stage']}.json"
                text = json.dumps(settings.accelerate, indent=2) + "\n"
                path.write_text(text, encoding="utf-8")
                entry["file"] = str(path)
    except OSError as error:
        raise ConvrecError(
            f"{folder} cannot be written ({error.strerror}); give --write another folder"
        ) from None

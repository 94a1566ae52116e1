"""`convrec train plan` and `convrec train check`: what a training needs, before it starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import Assignments, JsonFile, ProfileName, console, is_stdout, write_json
from convrec.errors import ConvrecError, InputError

if TYPE_CHECKING:
    from convrec.config import Config
    from convrec.operations.sizing.plan import StagePlan
    from convrec.training.memory.micro_batch import TrainingStage
    from convrec.training.memory.model_shape import ModelShape

app = typer.Typer(help="Plan a training and check its settings; trains nothing.")

TRAINED: tuple[TrainingStage, ...] = ("sft", "rank_grpo")

PART_LABELS = {"again": "recomputation"}
"""Labels of parts of memory in the table that differ from their names in JSON."""

STEP_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "rows or lists a step": lambda entry: f"{entry['rows_a_step']:,}",
    "micro-batch": lambda entry: f"{entry['micro_batch']:,}",
    "recomputed activations": lambda entry: "yes" if entry["recompute"] else "no",
    "steps": lambda entry: f"{entry['steps']:,}",
    "seconds a step": lambda entry: f"{sum(entry['seconds_a_step'].values()):.1f}",
    "hours": lambda entry: f"{entry['hours']:.1f}",
}
"""Rows of the table below the memory, from the entry of a stage."""


@app.command()
def plan(
    gpus: Annotated[str, typer.Option(help="Number and name of the GPUs, such as 8xH100.")],
    model: Annotated[
        str,
        typer.Option(
            help="A model whose configuration ships, or a folder with a config.json. Default: "
            "the profile's model.base."
        ),
    ] = "",
    profile: Annotated[
        str, typer.Option(help="Profile with the lengths, batch and steps to plan for.")
    ] = "reddit-v2",
    rows: Annotated[int, typer.Option(min=1, help="Number of demonstrations for sft.")] = 100_000,
    samples: Annotated[
        int,
        typer.Option(min=1, help="Number of training samples for rank_grpo.epochs."),
    ] = 383_013,
    assignments: Assignments = None,
    write: Annotated[
        Path | None, typer.Option(help="Folder to write each stage's accelerate file to.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Estimate memory by part, batch, steps and hours of sft and rank_grpo; needs no GPU."""
    from convrec.config import load, parse_overrides
    from convrec.operations.sizing.gpus import parse_machine
    from convrec.operations.sizing.overrides import run_commands
    from convrec.operations.sizing.plan import plan_stage

    config = load(profile, parse_overrides(assignments or []))
    machine, shape = parse_machine(gpus), _shape(model, config)
    stages: list[dict[str, Any]] = []
    settings: dict[TrainingStage, dict[str, Any]] = {}
    for stage in TRAINED:
        try:
            planned = plan_stage(stage, shape, machine, config, rows, samples)
            settings[stage] = planned.settings
            stages.append(_plan_entry(planned))
        except InputError as error:
            stages.append({"stage": stage, "fits": False, "reason": str(error)})
    if not settings:
        raise InputError(stages[0]["reason"])
    given = [*([f"model.base={model}"] if model not in ("", config.model.base) else [])]
    values = {
        "profile": config.profile,
        "model": shape.name,
        "parameters": shape.parameters,
        "gpus": {"name": machine.name, "count": machine.count, "gb": machine.memory / 1e9},
        "rows": rows,
        "samples": samples,
        "stages": stages,
        "commands": run_commands(profile, [*given, *(assignments or [])], settings),
    }
    _print_plan(values, stderr=is_stdout(json_file))
    if write is not None:
        _write_launch_files(write, values, machine.count)
    write_json(values, json_file)


def _shape(model: str, config: Config) -> ModelShape:
    """The shape of the model that `--model` or the profile names."""
    from convrec.models.gguf import gguf_folder, is_gguf_package
    from convrec.training.memory.model_shape import model_shape

    base = config.model.base
    if not model and is_gguf_package(base):
        return model_shape(str(gguf_folder(base)))
    return model_shape(model) if model else model_shape(base, "model.base=")


@app.command()
def check(
    profile: ProfileName, assignments: Assignments = None, json_file: JsonFile = None
) -> None:
    """Check the base model, and how sft and rank_grpo would be launched, vLLM included.

    Settings that cannot work exit with code 2. What this machine lacks is listed.
    """
    from convrec.config import load, parse_overrides
    from convrec.operations.sizing.finding import REFUSED
    from convrec.operations.sizing.preflight import check_training

    config = load(profile, parse_overrides(assignments or []))
    findings = check_training(config)
    out = console(stderr=is_stdout(json_file))
    for finding in findings:
        out.print(f"{finding.part}: {finding.state}, {finding.text}", soft_wrap=True)
    write_json([finding._asdict() for finding in findings], json_file)
    if any(finding.state == REFUSED for finding in findings):
        raise typer.Exit(InputError.exit_code)


def _plan_entry(plan: StagePlan) -> dict[str, Any]:
    parts = {name: round(value / 1e9, 2) for name, value in plan.memory.parts().items()}
    return {
        "stage": plan.stage,
        "fits": True,
        "parallel": plan.parallel,
        "settings": plan.settings,
        "notes": list(plan.notes),
        "gb": {**parts, "peak": round(plan.memory.peak / 1e9, 2)},
        "rows_a_step": plan.rows,
        "micro_batch": plan.setup.at_once,
        "recompute": plan.setup.recompute,
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
    parts = [part for part in fitting[0]["gb"] if any(entry["gb"][part] for entry in fitting)]
    for part in parts:
        label = PART_LABELS.get(part, part)
        table.add_row(label, *(f"{entry['gb'][part]:.2f}" for entry in fitting))
    table.add_section()
    for label, text in STEP_ROWS.items():
        table.add_row(label, *(text(entry) for entry in fitting))
    out.print(table)
    for entry in values["stages"]:
        for sentence in (
            entry["notes"] if entry["fits"] else [f"{entry['stage']}: {entry['reason']}"]
        ):
            out.print(sentence, soft_wrap=True)
    for command in values["commands"]:
        out.print(command, soft_wrap=True, highlight=False)
    out.print(
        f"an estimate for {values['rows']:,} demonstrations (--rows), {values['samples']:,} "
        "samples (--samples), prompts and lists of maximum length (most are shorter); "
        "docs/internals/scale.md has the formula",
        style="dim",
        soft_wrap=True,
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

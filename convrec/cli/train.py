"""`convrec train plan` and `convrec train check`: what a training needs, before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import Assignments, JsonFile, ProfileName, console, takes_stdout, write_json
from convrec.errors import ConvrecError, InputError

if TYPE_CHECKING:
    from convrec.operations.sizing.plan import StagePlan

app = typer.Typer(help="Plan a training for its size, and check its settings; trains nothing.")


@app.command()
def plan(
    model: Annotated[
        str, typer.Option(help="A model that ships as configuration, or a folder with config.json.")
    ],
    gpus: Annotated[str, typer.Option(help="How many of which, as 8xH100.")],
    profile: Annotated[
        str, typer.Option(help="Whose lengths, batch and steps are planned with.")
    ] = "reddit-v2",
    rows: Annotated[int, typer.Option(min=1, help="Demonstrations that sft learns.")] = 100_000,
    assignments: Assignments = None,
    write: Annotated[
        Path | None, typer.Option(help="Folder for each stage's accelerate file.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Memory by part, batch, steps and hours of sft and rank_grpo on GPUs that are not here."""
    from convrec.config import load, parse_overrides
    from convrec.operations.sizing.gpus import machine
    from convrec.operations.sizing.model_shape import model_shape
    from convrec.operations.sizing.plan import plan_stage

    config = load(profile, parse_overrides(assignments or []))
    on, shape = machine(gpus), model_shape(model)
    plans: dict[str, StagePlan | str] = {}
    for stage in ("sft", "rank_grpo"):
        try:
            plans[stage] = plan_stage(stage, shape, on, config, rows)
        except InputError as error:
            plans[stage] = str(error)
    if all(isinstance(made, str) for made in plans.values()):
        raise InputError(next(made for made in plans.values() if isinstance(made, str)))
    values = {
        "model": model,
        "parameters": shape.parameters,
        "gpus": {"name": on.name, "count": on.count, "gb": on.memory / 1e9},
        "rows": rows,
        "stages": [_entry(stage, made) for stage, made in plans.items()],
    }
    _show(values, quiet=takes_stdout(json_file))
    if write is not None:
        _write(write, values, on.count)
    if json_file is not None:
        write_json(values, json_file)


@app.command()
def check(
    profile: ProfileName,
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Check how sft and rank_grpo would be started, vLLM and accelerate in it; starts nothing.

    Settings that cannot work end with exit code 2; what this machine lacks is listed.
    """
    from convrec.config import load, parse_overrides
    from convrec.operations.sizing.preflight import check_training

    config = load(profile, parse_overrides(assignments or []))
    found = check_training(config)
    out = console(stderr=takes_stdout(json_file))
    for line in found:
        out.print(f"{line.part}: {line.state}, {line.text}", soft_wrap=True)
    if json_file is not None:
        write_json([line._asdict() for line in found], json_file)


def _entry(stage: str, made: StagePlan | str) -> dict[str, Any]:
    if isinstance(made, str):
        return {"stage": stage, "fits": False, "reason": made}
    parts = {name: round(value / 1e9, 2) for name, value in made.memory.parts().items()}
    return {
        "stage": stage,
        "fits": True,
        "parallel": made.parallel,
        "settings": made.settings,
        "gb": {**parts, "peak": round(made.memory.peak / 1e9, 2)},
        "steps": made.steps,
        "seconds_a_step": {name: round(value, 3) for name, value in made.seconds.items()},
        "hours": round(made.hours, 2),
    }


def _show(values: dict[str, Any], *, quiet: bool) -> None:
    from rich.table import Table

    out, gpus = console(stderr=quiet), values["gpus"]
    fitting = [entry for entry in values["stages"] if entry["fits"]]
    table = Table(title=f"{values['model']} on {gpus['count']}x{gpus['name']}, GB on each GPU")
    table.add_column("part")
    for entry in fitting:
        table.add_column(f"{entry['stage']} ({entry['parallel']})", justify="right")
    for part in fitting[0]["gb"]:
        table.add_row(part, *(f"{entry['gb'][part]:.2f}" for entry in fitting))
    table.add_row("steps", *(f"{entry['steps']:,}" for entry in fitting))
    table.add_row("hours", *(f"{entry['hours']:.1f}" for entry in fitting))
    out.print(table)
    for entry in values["stages"]:
        if entry["fits"]:
            said = " ".join(f"--set {key}={value}" for key, value in entry["settings"].items())
            out.print(f"{entry['stage']}: {said}", soft_wrap=True)
        else:
            out.print(f"{entry['stage']}: {entry['reason']}", soft_wrap=True)
    out.print("an estimate; docs/scale.md has the formula and what it assumes", style="dim")


def _write(folder: Path, values: dict[str, Any], gpus: int) -> None:
    """Write what `accelerate launch --config_file` takes, one file a stage that fits."""
    import json

    from convrec.config import Config
    from convrec.training.parallel import parallel

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in values["stages"]:
            if entry["fits"]:
                train = {"parallel": entry["parallel"], "processes": gpus}
                settings = parallel(Config.model_validate({"train": train}), gpus).settings
                path = folder / f"{entry['stage']}.json"
                path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
                entry["file"] = str(path)
    except OSError as error:
        raise ConvrecError(
            f"{folder} cannot be written ({error.strerror}); give --write another folder"
        ) from None

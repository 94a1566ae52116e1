"""A training as trackers know it: its name, its tags, and where it can be watched.

Imports no tracker and no torch: a run's page reads where a training in another process reports to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from convrec.config import Config, StageName
from convrec.config.overrides import flatten, format_override
from convrec.utils.files import atomic_path
from convrec.utils.warn_once import warn_once

FIGURE_PREFIX = "tracking_"
"""Prefix of a checkpoint's figures that tell where its training was reported to."""

STATE_FILE = "tracking.json"
"""File of a working folder: tracker → `TrackerState`."""

PACKAGES = {
    "azure_ml": ("azureml",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "tensorboard": ("tensorboard", "tensorboardX"),
}
"""Tracker → the packages of which one must be installed, where it is not the tracker's name."""

_HASH_LENGTH = 8

_CONNECTION_KEYS = ("base_url", "endpoint", "max_usd", "max_concurrency", "max_attempts")
"""Keys of section `llm` that no tracker gets: addresses may hold a password."""


@dataclass(frozen=True)
class RunIds:
    """The artifact that a training makes, the flow run behind it, and the trackers' own folder."""

    artifact_id: str = ""
    flow_run_id: str = ""
    folder: str = ""


NO_IDS = RunIds()
"""A training outside of a pipeline."""


@dataclass(frozen=True)
class TrackedRun:
    """A training as trackers know it.

    Attributes:
        tags: Names and ids by which the run can be found.
        parameters: The configuration by dotted key, as text.
        folder: Where trackers write by default, if their environment variables name no place.
        resumed_step: The step from which the training resumes; 0 if it starts.
    """

    name: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    folder: Path
    resumed_step: int = 0


@dataclass
class TrackerState:
    """What survives a crash: the tracker's id of the run, its place, and the last steps reported.

    `reported` has a step for each kind of report: `train`, `eval` and `samples`.
    """

    run_id: str = ""
    location: str = ""
    reported: dict[str, int] = field(default_factory=dict)


def tracked_run(
    config: Config, stage: StageName, ids: RunIds, working_folder: Path, resumed_step: int
) -> TrackedRun:
    """The run of a stage's training, named `convrec-PROFILE-STAGE-HASH`."""
    short = ids.artifact_id.rpartition("-")[2][:_HASH_LENGTH]
    parts = ("convrec", config.profile, stage, short)
    named = {"artifact_id": ids.artifact_id, "flow_run_id": ids.flow_run_id}
    tags = {"profile": config.profile, "stage": stage, **named}
    return TrackedRun(
        name="-".join(part for part in parts if part),
        tags={f"convrec.{name}": value for name, value in tags.items() if value},
        parameters=_parameters(config),
        folder=Path(ids.folder) if ids.folder else working_folder / "tracking",
        resumed_step=resumed_step,
    )


def _parameters(config: Config) -> dict[str, str]:
    values = config.model_dump(mode="json", exclude={"runner"})
    values["llm"] = {k: v for k, v in values["llm"].items() if k not in _CONNECTION_KEYS}
    return {f"convrec.{key}": format_override(value) for key, value in flatten(values).items()}


def read_states(working_folder: Path) -> dict[str, TrackerState]:
    """Tracker → its state as the last process of the training wrote it; empty without one."""
    with suppress(OSError, ValueError, TypeError):
        values = json.loads((working_folder / STATE_FILE).read_text(encoding="utf-8"))
        return {name: TrackerState(**state) for name, state in values.items()}
    return {}


def write_states(working_folder: Path, states: Mapping[str, TrackerState]) -> None:
    """Write the state of each tracker for a process that resumes, and for the run's page."""
    values = {name: vars(state) for name, state in states.items()}
    with atomic_path(working_folder / STATE_FILE) as part:
        part.write_text(json.dumps(values), encoding="utf-8")


def read_locations(figures: Mapping[str, Any]) -> dict[str, str]:
    """Tracker → URL or command, from the figures of a checkpoint."""
    return {
        name.removeprefix(FIGURE_PREFIX): str(value)
        for name, value in figures.items()
        if name.startswith(FIGURE_PREFIX)
    }


def missing_package(tracker: str) -> str:
    """The package that a tracker lacks; empty if it is installed or needs none."""
    packages = PACKAGES.get(tracker, (tracker,))
    is_installed = not packages or any(find_spec(package) for package in packages)
    return "" if is_installed else packages[0]


def installed_trackers(names: Iterable[str]) -> list[str]:
    """The trackers among `names` that are installed; one warning for each of the others."""
    installed = []
    for name in (name for name in names if name not in ("all", "none")):
        if package := missing_package(name):
            warn_once(
                f"train.report_to={name}: the package {package} is not installed, so trainings "
                f"are not reported to {name}; install it, or leave it out of train.report_to"
            )
        else:
            installed.append(name)
    return installed

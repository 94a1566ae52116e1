"""A run for `convrec compare`: its settings, its artifacts, and the metrics of its systems."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError

from convrec.artifacts import ArtifactRecord, Store
from convrec.artifacts.runs import RunRecord, find_run, list_runs
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.evaluate.report.tables import Cell, system_cells

METRICS_PREFIX = "metrics-"


class ComparedRun(NamedTuple):
    """A run: its name, the header of its metrics, its configuration, and system → metric → row."""

    name: str
    header: ArtifactRecord
    config: dict[str, Any]
    systems: dict[str, dict[str, Cell]]

    @property
    def settings(self) -> Config | None:
        """The configuration as an object; None if it is not recorded or no longer valid."""
        try:
            return Config.model_validate(self.config) if self.config else None
        except ValidationError:
            return None

    @property
    def algorithm(self) -> str:
        """The setting `rank_grpo.algorithm`."""
        return str(self.config.get("rank_grpo", {}).get("algorithm", "rank_grpo"))


def read_run(store: Store, name: str) -> ComparedRun:
    """Read the metrics of a run. Raises InputError if there is no such run or it has no metrics.

    `name` is the id of a flow run or of metrics, or the beginning of one.
    """
    if name.startswith(METRICS_PREFIX):
        artifact_id = title = store.full_id(name)
        users = (run for run in list_runs(store) if artifact_id in _metrics_ids(run))
        config = next((run.config for run in users if run.config), {})
    else:
        run = find_run(store, name)
        ids = _metrics_ids(run)
        if not ids:
            raise InputError(
                f"run {run.run_id} has no metrics; choose a run that completed stage evaluate"
            )
        artifact_id, config = ids[-1], run.config
        title = f"{run.profile or 'run'} {run.run_id[:8]}"
    systems = system_cells(store.read(artifact_id))
    return ComparedRun(title, store.header(artifact_id), config, systems)


def _metrics_ids(run: RunRecord) -> list[str]:
    ids = (artifact.artifact_id for artifact in run.artifacts)
    return [each for each in ids if each.startswith(METRICS_PREFIX)]

"""Events in the OpenLineage standard: runs, their artifacts, and what those were made from.

CONVREC_OPENLINEAGE is a file, which gets one JSON event per line, or the address of a server such
as Marquez, DataHub or OpenMetadata. Empty: no events. A sink that fails gives one warning and gets
no more events of that run; it never ends a run. Events hold names, ids, columns and counts, and no
text of a post, title or response.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec import __version__
from convrec.artifacts.record import ArtifactRecord
from convrec.artifacts.tables import KINDS
from convrec.config.paths import is_http_url
from convrec.utils.error_text import first_line

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent

SETTING = "CONVREC_OPENLINEAGE"
INTERRUPTIONS = ("KeyboardInterrupt", "CancelledRun", "TerminationSignal", "SystemExit")
"""Names of errors of a run that was stopped on purpose."""

_PRODUCER = f"https://pypi.org/project/convrec/{__version__}"
_TIMEOUT_SECONDS = 5.0
_LOGGER = logging.getLogger("convrec")
_failed: set[tuple[str, str]] = set()
"""(sink, run) pairs that get no more events."""


class RunName(NamedTuple):
    """What identifies a run: its id, the flow, and the profile."""

    run_id: str
    flow: str
    profile: str


def is_enabled() -> bool:
    """Whether events are wanted."""
    return bool(_setting())


def run_started(run: RunName) -> None:
    """A run begins."""
    _emit(run, lambda: [_event("START", _run_of(run), _job(run))])


def run_finished(run: RunName, outcome: str, *, completed: bool) -> None:
    """A run ends; `outcome` is the name of its error."""

    def events() -> list[RunEvent]:
        from openlineage.client.facet_v2 import error_message_run

        if completed:
            return [_event("COMPLETE", _run_of(run), _job(run))]
        facet = error_message_run.ErrorMessageRunFacet(outcome, "PYTHON")
        kind = "ABORT" if outcome in INTERRUPTIONS else "FAIL"
        return [_event(kind, _run_of(run, errorMessage=facet), _job(run))]

    _emit(run, events)


def artifact_used(
    run: RunName,
    node: str,
    artifact: ArtifactRecord,
    parents: Iterable[ArtifactRecord],
    nodes: Mapping[str, str],
    *,
    state: str,
    seconds: float,
) -> None:
    """A run made or found an artifact; `nodes` maps ids of parents to their names in the run."""

    def events() -> list[RunEvent]:
        from openlineage.client.facet_v2 import parent_run, tags_run

        above = parent_run.ParentRunFacet(
            run=parent_run.Run(_uuid(run.run_id)),
            job=parent_run.Job(_namespace(), _job(run).name),
        )
        tag = tags_run.TagsRunFacetFields("state", state, "CONVREC")
        this = _run_of(
            run._replace(run_id=str(uuid.uuid5(_ID_SPACE, f"{run.run_id}/{node}"))),
            parent=above,
            tags=tags_run.TagsRunFacet([tag]),
        )
        job = _job(run, f"{artifact.ref.stage}.{node}")
        inputs = [_input(run, nodes.get(p.ref.artifact_id, ""), p) for p in parents]
        inputs += _data_inputs(run, artifact)
        outputs = [_output(run, node, artifact)]
        began = datetime.now(UTC) - timedelta(seconds=seconds)
        return [
            _event("START", this, job, inputs, began=began),
            _event("COMPLETE", this, job, inputs, outputs),
        ]

    _emit(run, events)


# -- the parts of events -----------------------------------------------------------------------

_ID_SPACE = uuid.UUID("6b1f6d0e-5b5e-4b0c-9d0f-6f1c3c2f9a26")


def _event(
    kind: str,
    run: Run,
    job: Job,
    inputs: list[InputDataset] | None = None,
    outputs: list[OutputDataset] | None = None,
    began: datetime | None = None,
) -> RunEvent:
    from openlineage.client.event_v2 import RunEvent, RunState

    return RunEvent(
        eventType=RunState(kind),
        eventTime=(began or datetime.now(UTC)).isoformat(),
        run=run,
        job=job,
        inputs=inputs or [],
        outputs=outputs or [],
        producer=_PRODUCER,
    )


def _run_of(run: RunName, **facets: Any) -> Run:
    from openlineage.client.event_v2 import Run
    from openlineage.client.facet_v2 import processing_engine_run

    engine = processing_engine_run.ProcessingEngineRunFacet(version=__version__, name="convrec")
    return Run(_uuid(run.run_id), facets={"processing_engine": engine, **facets})


def _job(run: RunName, node: str = "") -> Job:
    """The job of a flow with a profile, or of one of its nodes."""
    from openlineage.client.event_v2 import Job
    from openlineage.client.facet_v2 import job_type_job

    kind = job_type_job.JobTypeJobFacet("BATCH", "CONVREC", "TASK" if node else "FLOW")
    name = ".".join(filter(None, [run.flow, run.profile, node]))
    return Job(_namespace(), name, facets={"jobType": kind})


def _input(run: RunName, node: str, artifact: ArtifactRecord) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset

    name, facets = _dataset(run, node, artifact)
    return InputDataset(_namespace(), name, facets=facets)


def _output(run: RunName, node: str, artifact: ArtifactRecord) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    name, facets = _dataset(run, node, artifact)
    rows = statistics.OutputStatisticsOutputDatasetFacet(rowCount=artifact.ref.rows)
    return OutputDataset(_namespace(), name, facets=facets, outputFacets={"outputStatistics": rows})


def _dataset(run: RunName, node: str, artifact: ArtifactRecord) -> tuple[str, dict[str, Any]]:
    """The name of an artifact's data set, of which the artifact is a version, and its facets."""
    from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

    columns = KINDS[artifact.ref.kind].items()
    fields = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in columns]
    version = dataset_version_dataset.DatasetVersionDatasetFacet(artifact.ref.artifact_id)
    facets = {"schema": schema_dataset.SchemaDatasetFacet(fields), "version": version}
    return f"{run.profile}.{node or _usual_node(artifact)}", facets


def _usual_node(artifact: ArtifactRecord) -> str:
    """The node of an artifact that another run made."""
    ref = artifact.ref
    return f"{ref.kind}_{ref.stage}" if ref.kind in ("checkpoint", "generations") else ref.kind


def _data_inputs(run: RunName, artifact: ArtifactRecord) -> list[InputDataset]:
    """The files that ingest read, as versions by their digest or commit."""
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset

    if artifact.ref.stage != "ingest":
        return []
    found = []
    for role, value in artifact.inputs.items():
        source, at, commit = value.removeprefix("hub:").rpartition("@")
        is_hub = value.startswith("hub:") and at
        version = dataset_version_dataset.DatasetVersionDatasetFacet(commit if is_hub else value)
        namespace = "hf://datasets" if is_hub else _namespace()
        name = source if is_hub else f"{run.profile}.files.{role}"
        found.append(InputDataset(namespace, name, facets={"version": version}))
    return found


def _uuid(run_id: str) -> str:
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(_ID_SPACE, run_id))


def _namespace() -> str:
    return os.environ.get("OPENLINEAGE_NAMESPACE", "").strip() or "convrec"


# -- the sink ----------------------------------------------------------------------------------


def _setting() -> str:
    return os.environ.get(SETTING, "").strip()


def _emit(run: RunName, events: Any) -> None:
    """Send what `events` makes, unless there is no sink or it failed in this run."""
    sink = _setting()
    if not sink or (sink, run.run_id) in _failed:
        return
    try:
        transport = _transport(sink)
        for event in events():
            transport.emit(event)
    except ModuleNotFoundError as error:
        _warn(sink, run, f"{error.name} is not installed; `pip install 'convrec[lineage]'`")
    except Exception as error:  # whatever a sink does, the run goes on
        is_silent = type(error).__name__ in ("ConnectionError", "ConnectTimeout", "ReadTimeout")
        _warn(sink, run, "the server does not answer" if is_silent else first_line(error))


def _warn(sink: str, run: RunName, reason: str) -> None:
    _failed.add((sink, run.run_id))
    _LOGGER.warning("this run sends no more OpenLineage events (%s): %s", SETTING, reason)


@lru_cache(maxsize=4)
def _transport(sink: str) -> Any:
    if not is_http_url(sink):
        from openlineage.client.transport.file import FileConfig, FileTransport

        file = Path(sink).expanduser()
        return FileTransport(FileConfig(log_file_path=str(file), append=True))
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    settings: dict[str, Any] = {
        "url": f"{sink.rstrip('/')}/",
        "endpoint": os.environ.get("OPENLINEAGE_ENDPOINT", "").strip("/ ") or "api/v1/lineage",
        "timeout": _TIMEOUT_SECONDS,
        "retry": {"total": 0, "connect": 0, "read": 0},
    }
    if key := os.environ.get("OPENLINEAGE_API_KEY", "").strip():
        settings["auth"] = {"type": "api_key", "apiKey": key}
    return HttpTransport(HttpConfig.from_dict(settings))

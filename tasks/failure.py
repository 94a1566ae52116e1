"""What a failed run shows in the Prefect UI: the reason, the rows, and the command to resume."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import deployment, flow_run

from convrec.config import STAGES
from convrec.config.overrides import format_override
from convrec.errors import ConvrecError, WarehouseError
from convrec.utils import markdown
from convrec.utils.error_text import type_and_first_line
from tasks.publish import publish_first

if TYPE_CHECKING:
    from prefect import Flow, State
    from prefect.client.schemas.objects import FlowRun

    from convrec.artifacts import ArtifactRef, Store
    from convrec.pipeline.graph import Node

FAILURE = {"key": "failure", "description": "Why it stopped, how to go on"}
"""The Prefect artifact of a failed run."""

SHOWN_ROWS = 20
MAX_CELL = 200
"""Characters shown of a cell; the warehouse has all of it."""

LAST_STAGE = {"build-sft-data": "adjust", "train": "rank_grpo", "evaluate": ""}
"""Flow → the `--until` with which `convrec run` does the same."""


def sentence(error: BaseException) -> str:
    """One sentence about an error; for an unexpected one its type and first line."""
    if isinstance(error, ConvrecError):
        return str(error)
    return type_and_first_line(error)


def publish_failure(
    error: BaseException,
    node: Node | None,
    parents: Mapping[str, ArtifactRef],
    *,
    store: Store,
    profile: str,
) -> None:
    """Write the `failure` artifact; its history is at /v2/artifacts/key/failure."""
    command = resume_command(profile, node)
    if isinstance(error, ConvrecError):
        error.resume = command
    rows = offending_rows(error, parents, store)
    publish_first(page(node, error, rows, command, retried=bool(deployment.id)), **FAILURE)


def page(
    node: Node | None,
    error: BaseException,
    rows: list[tuple[str, str]],
    command: str,
    *,
    retried: bool = False,
) -> str:
    """The markdown of the artifact; `rows` are (row, reason)."""
    where = f"{node.stage}: {node.name}" if node else "the run"
    parts = [f"## {where} failed", markdown.escape(sentence(error))]
    if rows:
        count = f"the first {SHOWN_ROWS} of {len(rows):,}" if len(rows) > SHOWN_ROWS else len(rows)
        parts += [
            f"### Rows that could not be used ({count})",
            markdown.escaped_table(("row", "reason"), rows[:SHOWN_ROWS], MAX_CELL),
        ]
    return "\n\n".join([*parts, *_resume_section(command, retried=retried)])


def crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Publish the failure of a run whose process was killed.

    A flow's `on_crashed` hook; the worker calls it, outside of the run.
    """
    if flow_run.deployment_id is None:
        return
    with get_client(sync_client=True) as client:
        name = client.read_deployment(flow_run.deployment_id).name
        command = _deployment_command(f"{flow.name}/{name}", flow_run.parameters or {})
        artifact = ArtifactCreate(
            **FAILURE,
            type="markdown",
            data="\n\n".join(
                [
                    "## The process of this run ended",
                    markdown.escape(state.message or "Nothing is known of why."),
                    *_resume_section(command, retried=True),
                    "Training goes on from its last saved step.",
                ]
            ),
            flow_run_id=flow_run.id,
        )
        client.create_artifact(artifact)


def _resume_section(command: str, *, retried: bool) -> list[str]:
    note = "What is made already comes from the cache."
    if retried:
        note = f"or press **Retry** on this run. {note}"
    return ["### To go on from here", markdown.code_block(command), note]


def offending_rows(
    error: BaseException, parents: Mapping[str, ArtifactRef], store: Store
) -> list[tuple[str, str]]:
    """The rows that the error names; else the failures recorded with the node's parents."""
    if isinstance(error, ConvrecError) and error.rows:
        return list(error.rows)
    if isinstance(error, WarehouseError):  # of a warehouse that cannot be read
        return []
    rows = []
    for ref in parents.values():
        failed = store.failures(ref.artifact_id).select("context_id", "reason")
        rows += [(f"{ref.kind} {context}", reason) for context, reason in failed.iter_rows()]
    return rows


def resume_command(profile: str, node: Node | None) -> str:
    """The command that resumes a run with the same parameters."""
    parameters: dict[str, Any] = dict(flow_run.parameters or {})
    if parameters.get("refresh") and node is not None:
        asked, failed = (STAGES.index(stage) for stage in (parameters["refresh"], node.stage))
        parameters["refresh"] = STAGES[max(asked, failed)]
    flow = str(flow_run.flow_name or "pipeline")
    if deployment.id:
        return _deployment_command(f"{flow}/{deployment.name}", parameters)
    if parameters.get("checkpoint"):
        options = (("--profile", profile), ("--checkpoint", parameters["checkpoint"]))
        return convrec_command(["evaluate"], options, parameters.get("overrides"))
    until = parameters.get("until") if flow == "pipeline" else LAST_STAGE.get(flow)
    options = (("--until", until), ("--refresh", parameters.get("refresh")))
    return convrec_command(["run", profile], options, parameters.get("overrides"))


def _deployment_command(name: str, parameters: Mapping[str, Any]) -> str:
    words = ["prefect", "deployment", "run", name]
    for key, value in parameters.items():
        if value not in (None, "", {}):
            words += ["--param", f"{key}={format_override(value)}"]
    return shlex.join(words)


def convrec_command(
    command: list[str], options: Iterable[tuple[str, Any]], overrides: Mapping[str, Any] | None
) -> str:
    """A `convrec` command as it is typed in a shell."""
    words = ["convrec", *command]
    for option, value in options:
        if value:
            words += [option, str(value)]
    for key, value in dict(overrides or {}).items():
        words += ["--set", f"{key}={format_override(value)}"]
    return shlex.join(words)

"""What a run that fails leaves in the Prefect UI: the sentence, the rows, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prefect import get_client
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import deployment, flow_run

from convrec.config import STAGES
from convrec.config.overrides import as_override
from convrec.errors import ConvrecError, WarehouseError
from convrec.utils import markdown

if TYPE_CHECKING:
    from prefect import Flow, State
    from prefect.client.schemas.objects import FlowRun

    from convrec.artifacts import ArtifactRef, Store
    from convrec.pipeline.graph import Node

LEFT = {"key": "failure", "description": "why this run stopped, and how to go on"}
"""The artifact of a run that did not end well."""

SHOWN_ROWS = 20
LONGEST = 200
"""Signs of a cell; the whole of it is in the warehouse."""

UNTIL = {"build-sft-data": "adjust", "train": "rank_grpo", "evaluate": ""}
"""Up to which stage `convrec run` makes what a flow makes."""


def sentence(error: BaseException) -> str:
    """One sentence for a person; of an error that nobody expected its type and its first line."""
    if isinstance(error, ConvrecError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def leave(
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
    create_markdown_artifact(
        page(node, error, rows, command, retried=bool(deployment.id)),
        **LEFT,
    )


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
    parts = [f"## {where} failed", markdown.text(sentence(error))]
    if rows:
        count = f"the first {SHOWN_ROWS} of {len(rows):,}" if len(rows) > SHOWN_ROWS else len(rows)
        parts += [
            f"### Rows that could not be used ({count})",
            markdown.table(("row", "reason"), rows[:SHOWN_ROWS], LONGEST),
        ]
    return "\n\n".join([*parts, *_going_on(command, retried=retried)])


def crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """The same artifact where the run's process was killed: the hook `on_crashed` of a flow.

    It is the worker that calls it, outside of the run.
    """
    if flow_run.deployment_id is None:
        return
    with get_client(sync_client=True) as client:
        name = client.read_deployment(flow_run.deployment_id).name
        command = _deployed(f"{flow.name}/{name}", flow_run.parameters or {})
        left = ArtifactCreate(
            **LEFT,
            type="markdown",
            data="\n\n".join(
                [
                    "## The process of this run ended",
                    markdown.text(state.message or "Nothing is known of why."),
                    *_going_on(command, retried=True),
                    "Training goes on from its last saved step.",
                ]
            ),
            flow_run_id=flow_run.id,
        )
        client.create_artifact(left)


def _going_on(command: str, *, retried: bool) -> list[str]:
    told = "What is made already comes from the cache."
    if retried:
        told = f"or press **Retry** on this run. {told}"
    return ["### To go on from here", markdown.code(command), told]


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
    """The command that does the rest of a run, with the same parameters."""
    parameters: dict[str, Any] = dict(flow_run.parameters or {})
    if parameters.get("refresh") and node is not None:
        asked, failed = (STAGES.index(stage) for stage in (parameters["refresh"], node.stage))
        parameters["refresh"] = STAGES[max(asked, failed)]
    flow = str(flow_run.flow_name or "pipeline")
    if deployment.id:
        return _deployed(f"{flow}/{deployment.name}", parameters)
    if parameters.get("checkpoint"):
        options = (("--profile", profile), ("--checkpoint", parameters["checkpoint"]))
        return typed(["evaluate"], options, parameters.get("overrides"))
    until = parameters.get("until") if flow == "pipeline" else UNTIL.get(flow)
    options = (("--until", until), ("--refresh", parameters.get("refresh")))
    return typed(["run", profile], options, parameters.get("overrides"))


def _deployed(name: str, parameters: Mapping[str, Any]) -> str:
    words = ["prefect", "deployment", "run", name]
    for key, value in parameters.items():
        if value not in (None, "", {}):
            words += ["--param", f"{key}={as_override(value)}"]
    return shlex.join(words)


def typed(
    command: list[str], options: Iterable[tuple[str, Any]], overrides: Mapping[str, Any] | None
) -> str:
    """A command of convrec as somebody would type it."""
    words = ["convrec", *command]
    for option, value in options:
        if value:
            words += [option, str(value)]
    for key, value in dict(overrides or {}).items():
        words += ["--set", f"{key}={as_override(value)}"]
    return shlex.join(words)

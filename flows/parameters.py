"""The typed parameters that flows share; the Prefect UI builds its form from them.

Prefect takes the description of a parameter from the flow's docstring, so it is written there.
"""

from typing import Annotated, Any

from prefect.runtime import flow_run
from pydantic import Field, WithJsonSchema

from convrec.config import STAGES, StageName

Profile = Annotated[str, Field(min_length=1, examples=["demo", "reddit-v2"])]
Overrides = Annotated[dict[str, Any], Field(examples=[{"seed": 7, "rank_grpo.steps": 40}])]


def _stage_or(none: str) -> WithJsonSchema:
    """The form's choice between a stage and `none`, which names the choice of no stage."""
    stage = {"type": "string", "enum": list(STAGES), "title": "a stage"}
    return WithJsonSchema({"anyOf": [stage, {"type": "null", "title": none}]})


Until = Annotated[StageName | None, _stage_or("all stages")]
Refresh = Annotated[StageName | None, _stage_or("nothing")]


def run_name() -> str:
    """The name of a flow run: what is run, such as `pipeline demo until adjust`."""
    parameters = flow_run.parameters
    words = [str(flow_run.flow_name), str(parameters["profile"])]
    for option in ("until", "refresh", "checkpoint"):
        if value := parameters.get(option):
            words += [option, str(value)]
    return " ".join(words)

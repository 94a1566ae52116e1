"""The typed parameters that flows share; the Prefect UI builds its form from them.

Prefect takes the description of a parameter from the flow's docstring, so it is written there.
"""

from typing import Annotated, Any

from prefect.runtime import flow_run
from pydantic import Field

from convrec.config import StageName

Profile = Annotated[str, Field(min_length=1, examples=["demo", "reddit-v2"])]
Overrides = Annotated[dict[str, Any], Field(examples=[{"seed": 7, "rank_grpo.steps": 40}])]
Until = StageName | None
Refresh = StageName | None


def run_name() -> str:
    """The name of a flow run: what is run, such as `pipeline demo until adjust`."""
    parameters = flow_run.parameters
    words = [str(flow_run.flow_name), str(parameters["profile"])]
    for option in ("until", "refresh", "checkpoint"):
        if value := parameters.get(option):
            words += [option, str(value)]
    return " ".join(words)

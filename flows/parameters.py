"""The typed parameters that flows share; the Prefect UI builds its form from them.

Prefect takes the description of a parameter from the flow's docstring, so it is written there.
"""

from collections.abc import Callable
from typing import Annotated, Any

from coolname.data import config as name_parts
from prefect.runtime import flow_run
from pydantic import Field, WithJsonSchema

from convrec.config import STAGES, StageName
from tasks.flow_names import change_title, flow_run_title

Profile = Annotated[str, Field(min_length=1, examples=["demo", "reddit-v2"])]
Overrides = Annotated[dict[str, Any], Field(examples=[{"seed": 7, "rank_grpo.steps": 40}])]


def _stage_or(none: str) -> WithJsonSchema:
    """The form's choice between a stage and `none`, which names the choice of no stage."""
    stage = {"type": "string", "enum": list(STAGES), "title": "a stage"}
    return WithJsonSchema({"anyOf": [stage, {"type": "null", "title": none}]})


Until = Annotated[StageName | None, _stage_or("all stages")]
Refresh = Annotated[StageName | None, _stage_or("nothing")]


_PARTS: dict[str, Any] = dict(name_parts)
NAME_WORDS = frozenset(word for part in _PARTS.values() for word in part.get("words", ()))
"""The words of which Prefect makes the name of a run that got none, such as `proud-otter`."""


def given_name() -> str:
    """The name that a user gave to this run, in the UI or with a command; empty if none."""
    name = str(flow_run.name or "")
    words = name.split("-")
    return "" if len(words) == 2 and NAME_WORDS.issuperset(words) else name


def named(template: str) -> Callable[[], str]:
    """What names a run unless a user did: the template, filled with the parameters."""
    return lambda: given_name() or template.format_map(flow_run.parameters)


def run_name() -> str:
    """The given name of a flow run, else what is run, such as `pipeline · demo · until adjust`."""
    return given_name() or flow_run_title(str(flow_run.flow_name), flow_run.parameters)


def change_name() -> str:
    """The given name of a flow run, else `catalog change · demo · catalog v2 · 6 edits`."""
    return given_name() or change_title(flow_run.parameters)

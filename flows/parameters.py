"""The typed parameters that every flow shares; the Prefect UI makes its form from them."""

from typing import Annotated, Any

from pydantic import Field

from convrec.config import StageName

Profile = Annotated[
    str,
    Field(
        title="Profile",
        description="A shipped profile (demo, reddit-v2, inspired-replay, redial) or a .toml path.",
        examples=["demo"],
    ),
]
Overrides = Annotated[
    dict[str, Any],
    Field(
        title="Overrides",
        description='Keys to set on top of the profile: {"seed": 7, "rank_grpo.steps": 40}.',
        examples=[{"seed": 7, "rank_grpo.steps": 40}],
    ),
]
Until = Annotated[
    StageName | None,
    Field(title="Until", description="Last stage to run; empty runs all."),
]
Refresh = Annotated[
    StageName | None,
    Field(
        title="Refresh",
        description="Recompute this stage and all after it. Stored answers are never bought again.",
    ),
]

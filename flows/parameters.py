"""The typed parameters that every flow shares; the Prefect UI makes its form from them.

Prefect takes what the form says about a parameter from the flow's docstring, so it stands there.
"""

from typing import Annotated, Any

from pydantic import Field

from convrec.config import StageName

Profile = Annotated[str, Field(min_length=1, examples=["demo", "reddit-v2"])]
Overrides = Annotated[dict[str, Any], Field(examples=[{"seed": 7, "rank_grpo.steps": 40}])]
Until = StageName | None
Refresh = StageName | None

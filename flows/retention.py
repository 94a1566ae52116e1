"""retention: deletes the artifacts and folders that are no longer needed."""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from convrec.operations.gc import ABANDONED_DAYS, KEEP_RUNS
from flows.parameters import named
from tasks.retention import run_gc


@flow(name="retention", flow_run_name=named("retention, keep {keep_runs} runs"))
def retention(
    keep_runs: Annotated[int, Field(ge=0)] = KEEP_RUNS,
    days: Annotated[float, Field(ge=0)] = ABANDONED_DAYS,
    delete: bool = False,
) -> dict[str, Any]:
    """Delete what no pin and none of the last runs needs; the same as `convrec artifacts gc`.

    Args:
        keep_runs: Keep everything used by this many last runs of each flow and profile.
        days: Delete unfinished training workspaces older than this.
        delete: Delete; otherwise only list in the artifact `garbage` what would be deleted.
    """
    return run_gc(keep_runs, days, delete).as_json()

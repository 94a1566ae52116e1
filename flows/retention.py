"""retention: deletes the artifacts and folders that nobody needs any more."""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from convrec.operations.gc import DAYS, KEEP_RUNS
from tasks.retention import tidy


@flow(name="retention", flow_run_name="retention, keep {keep_runs} runs")
def retention(
    keep_runs: Annotated[int, Field(ge=0)] = KEEP_RUNS,
    days: Annotated[float, Field(ge=0)] = DAYS,
    delete: bool = False,
) -> dict[str, Any]:
    """Delete what no pin and none of the last runs needs; the same as `convrec artifacts gc`.

    Args:
        keep_runs: So many runs of each flow and profile keep all that they used.
        days: A training that nobody has touched for so long is given up.
        delete: Without it the artifact `garbage` lists what would go, and nothing goes.
    """
    return tidy(keep_runs, days, delete).plain()

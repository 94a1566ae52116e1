"""Approval of a cost: the flow run pauses in the UI with a form until somebody answers."""

from __future__ import annotations

from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from convrec.operations.catalog_change.plan import ChangePlan
from tasks.run import Run

TIMEOUT = 7 * 24 * 3600
"""Seconds that a plan waits for an answer; after that the run fails and nothing was sent."""

POLL_SECONDS = 3


class Approval(RunInput):
    """The form in the UI."""

    accept: bool = Field(
        default=False, description="Rebuild at this cost. Without it nothing is sent."
    )
    max_usd: float | None = Field(
        default=None, ge=0, description="Stop before it costs more; empty: as the profile says."
    )
    note: str = Field(default="", description="Why; kept in the log of the run.")


def approved(run: Run, plan: ChangePlan) -> bool:
    """Wait for the form and apply its budget. Returns whether the plan was accepted."""
    low, high = plan.usd
    affected = "?" if plan.affected_contexts is None else f"{plan.affected_contexts:,}"
    form = Approval.with_initial_data(
        description=f"{plan.requests} requests, {low:.4f} to {high:.4f} USD, {affected} of "
        f"{plan.contexts:,} contexts affected. The artifact change-plan of this run says more.",
    )
    answer = pause_flow_run(wait_for_input=form, timeout=TIMEOUT, poll_interval=POLL_SECONDS)
    if answer.accept and answer.max_usd is not None:
        run.limit_budget(answer.max_usd)
    return bool(answer.accept)

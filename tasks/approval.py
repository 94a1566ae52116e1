"""Approval of a cost: the flow run pauses in the UI with a form until somebody answers."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from convrec.operations.catalog_change.plan import ChangePlan
from convrec.utils.markdown import escape
from tasks.publish import artifact_page, as_uuid, of_flow_run
from tasks.run import Run

DAYS = 7
TIMEOUT = DAYS * 24 * 3600
"""Seconds that a plan waits for an answer; after that the run fails and nothing was sent."""

POLL_SECONDS = 3


class Approval(RunInput):
    """The form in the UI."""

    accept: bool = Field(
        default=False,
        title="Rebuild at this cost",
        description="On: the run goes on. Off: it ends as cancelled, and nothing is sent.",
    )
    max_usd: float | None = Field(
        default=None,
        ge=0,
        title="Stop before it costs more than (US dollars)",
        description="Empty: llm.max_usd of the profile. What is paid until then is kept.",
    )
    note: str = Field(default="", title="Why", description="Kept with this run.")


def approved(run: Run, plan: ChangePlan, title: str) -> bool:
    """Wait for the form and apply its budget. Returns whether the plan was accepted."""
    with get_client(sync_client=True) as client:
        found = of_flow_run(client, as_uuid(flow_run.id))
    pages = [artifact_page(one.id) for one in found if one.key == "change-plan"]
    text = form_text(plan, title, pages[-1] if pages else "", run.config.llm.max_usd)
    form = Approval.with_initial_data(description=text)
    answer = pause_flow_run(wait_for_input=form, timeout=TIMEOUT, poll_interval=POLL_SECONDS)
    if answer.accept and answer.max_usd is not None:
        run.limit_budget(answer.max_usd)
    return bool(answer.accept)


def form_text(plan: ChangePlan, title: str, page: str, max_usd: float | None) -> str:
    """Why the run waits, what going on costs, and what each answer does, in markdown."""
    low, high = plan.usd
    edits = "" if plan.diff is None else f" {edits_text(plan)}"
    affected = "It is not known yet how many contexts change"
    if plan.affected_contexts is not None:
        affected = f"{plan.affected_contexts:,} of {plan.contexts:,} contexts change"
    limit = "the profile sets no limit" if max_usd is None else f"the profile stops at ${max_usd:g}"
    more = f" [The plan]({page}) has the details." if page else ""
    return "\n\n".join(
        [
            f"**Why it waits.** {escape(title)}.{edits} The rebuild was started with *approve*, so "
            "nothing is sent before somebody accepts its cost.",
            f"**What it costs.** {plan.requests} requests, **${low:.4f} to ${high:.4f}**; "
            f"{limit}. {affected}.{more}",
            "**What your answer does.**",
            "- *Rebuild at this cost* on, then Resume: the demonstrations are rebuilt.\n"
            "- *Rebuild at this cost* off, then Resume: the run ends as cancelled. Nothing is "
            "sent, and the last build stays in use.\n"
            f"- No answer within {DAYS} days: the run fails. Nothing is sent.",
        ]
    )


def edits_text(plan: ChangePlan) -> str:
    """How many items were edited since the last build."""
    frames = plan.diff.by_change if plan.diff else {}
    counts = [f"{frame.height:,} {name}" for name, frame in frames.items() if frame.height]
    return f"Items: {', '.join(counts)}." if counts else "No item differs."

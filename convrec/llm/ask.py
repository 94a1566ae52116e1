"""Getting the answers that a step still lacks: live, or from a file that was paid for before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convrec.artifacts import Job, Step
    from convrec.llm.fetch import Fetched


def ask(
    step: Step,
    job: Job,
    *,
    run: str,
    spent_usd: float,
    progress: Callable[[int, int, str], None],
) -> Fetched:
    """Make sure that the answers to `step.requests(job)` are stored, sending none twice.

    With recommend.source=replay the teacher's answers come from the Batch output file instead.
    Raises EndpointError, TooManyFailures, BudgetExceeded, or InputError for an unusable file.
    """
    if step.requests is None:
        raise ValueError(f"the step of {step.kind} asks nobody")
    requests = step.requests(job)
    recommend = job.config.recommend
    if step.stage == "recommend" and recommend.source == "replay":
        from convrec.llm.replay import import_batch_output

        return import_batch_output(Path(recommend.replay), requests, job.store)
    from convrec.llm.fetch import fetch

    return fetch(
        requests,
        config=job.config,
        store=job.store,
        stage=step.stage,
        run=run,
        progress=progress,
        spent_usd=spent_usd,
    )

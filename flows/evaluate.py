"""evaluate: checkpoints that are already trained are scored and reported."""

from typing import Any

from prefect import flow

from convrec.config import STAGES
from flows.parameters import Overrides, Profile, Refresh, run_name
from tasks.evaluate import evaluate as evaluate_stage
from tasks.evaluate import evaluate_checkpoint
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import run_stage
from tasks.summary import summarize


@flow(name="evaluate", flow_run_name=run_name, on_crashed=[crashed])
def evaluate(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
    checkpoint: str = "",
) -> dict[str, Any]:
    """Score the stored checkpoints on the test split; trains nothing and sends no LLM request.

    Args:
        profile: A profile that ships (demo, demo-books, inspired-replay, local-llm, reddit-v2,
            redial, redial-smollm2, smollm2, paper-qwen2.5-0.5b, paper-llama-3.2-1b,
            paper-llama-3.2-3b), or the path of a .toml file.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored responses are never bought again.
        checkpoint: A model's folder, or the id of any checkpoint, to score together with what the
            profile has stored; only the conversations and the catalog are required.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        if checkpoint:
            run_stage(run, "ingest")
            run.take_stored(*STAGES[1:])
            evaluate_checkpoint(run, checkpoint)
        else:
            run.require_stored(*STAGES[:-1])
            evaluate_stage(run)
        lineage(run)
        summarize(run)
    return run.summary()

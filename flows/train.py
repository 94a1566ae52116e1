"""train: demonstrations that are already built become checkpoints."""

from typing import Any

from prefect import flow

from convrec.config import DATA_STAGES
from flows.parameters import Overrides, Profile, Refresh, run_name
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import check_training, run_stage
from tasks.summary import summarize


@flow(name="train", flow_run_name=run_name, on_crashed=[crashed])
def train(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Train on the stored demonstrations; sends no LLM request and fails if there are none.

    Args:
        profile: A profile that ships (demo, demo-books, inspired-replay, local-llm, reddit-v2,
            redial, redial-smollm2, smollm2, paper-qwen2.5-0.5b, paper-llama-3.2-1b,
            paper-llama-3.2-3b), or the path of a .toml file.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored responses are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        check_training(run)
        run.require_stored(*DATA_STAGES)
        run_stage(run, "sft")
        run_stage(run, "rank_grpo")
        lineage(run)
        summarize(run)
    return run.summary()
